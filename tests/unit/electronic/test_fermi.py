"""Fermi levels, smearing, and gaps."""

import numpy as np
import pytest
import torch

from adiabat.core.errors import ElectronicError
from adiabat.electronic.bands import BandStates, solve_bands
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.fermi import Smearing, SmearingKind, fill
from adiabat.electronic.gap import band_gap
from adiabat.electronic.kpoints import monkhorst_pack
from known_crystals import chain, cubic, graphene

SMEARED: list[SmearingKind] = ["fermi-dirac", "gaussian", "methfessel-paxton", "cold"]


@pytest.mark.parametrize("kind", SMEARED)
def test_smearing_is_consistent(kind: SmearingKind) -> None:
    smearing = Smearing(kind, 0.1)
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64, requires_grad=True)
    f, e = smearing.occupation(x), smearing.entropy(x)
    (slope,) = torch.autograd.grad(f.sum(), x, retain_graph=True)
    (entropy_slope,) = torch.autograd.grad(e.sum(), x)
    torch.testing.assert_close(slope, smearing.delta(x), atol=1e-12, rtol=0)
    # e′ = x f′ makes the free energy stationary; e vanishes far away.
    torch.testing.assert_close(entropy_slope, x.detach() * smearing.delta(x), atol=1e-12, rtol=0)
    torch.testing.assert_close(f.detach()[[0, -1]], torch.tensor([0.0, 1.0], dtype=torch.float64), atol=1e-3, rtol=0)
    torch.testing.assert_close(e.detach()[[0, -1]], torch.zeros(2, dtype=torch.float64), atol=1e-2, rtol=0)


@pytest.mark.parametrize("kind", SMEARED)
@pytest.mark.parametrize("n_electrons", [0.3, 1.0, 1.7])
def test_a_metal_is_filled_to_the_count(kind: SmearingKind, n_electrons: float) -> None:
    mesh = monkhorst_pack((10, 10, 10))
    energies = solve_bands(cubic(), mesh.k_frac).energies
    filling = fill(energies, mesh.weights, n_electrons, 2, Smearing(kind, 0.2))
    assert filling.n_electrons == pytest.approx(n_electrons, abs=1e-8)
    assert float((filling.occupations.sum(dim=(0, 2)) * mesh.weights).sum()) == pytest.approx(n_electrons, abs=1e-8)
    assert not filling.is_insulator
    assert filling.entropy_energy < 0 or kind in ("methfessel-paxton", "cold")


def test_half_filling_of_a_symmetric_band_is_its_middle() -> None:
    mesh = monkhorst_pack((400, 1, 1))
    energies = solve_bands(chain(onsite=0.3), mesh.k_frac).energies
    assert fill(energies, mesh.weights, 1.0, 2, Smearing("fermi-dirac", 0.05)).fermi_level == pytest.approx(
        0.3, abs=1e-9
    )


@pytest.mark.parametrize("kind", ["none", *SMEARED])
def test_an_insulator_has_its_level_in_the_middle_of_the_gap(kind: SmearingKind) -> None:
    mesh = monkhorst_pack((12, 12, 1))
    energies = solve_bands(graphene(mass=1.0), mesh.k_frac).energies
    filling = fill(energies, mesh.weights, 2.0, 2, Smearing(kind, 0.02))
    assert filling.is_insulator
    # Bands are symmetric about 0, so the level is 0, to where 1e-9 electrons begin to be thermally excited.
    assert filling.fermi_level == pytest.approx(0.0, abs=1e-6)


def test_a_metal_without_smearing_is_refused_with_the_overlap() -> None:
    mesh = monkhorst_pack((6, 6, 1))
    energies = solve_bands(graphene(), mesh.k_frac).energies
    energies[0, 0, 1] = energies[..., 0].max() - 0.123
    with pytest.raises(ElectronicError, match=r"overlap by 0\.123 eV.*\n.*\n.*smearing"):
        fill(energies, mesh.weights, 2.0, 2)
    with pytest.raises(ElectronicError, match=r"fill 1\.5 bands, not a whole number"):
        fill(energies, mesh.weights, 3.0, 2)


@pytest.mark.parametrize("n_electrons", [0.0, 4.1])
def test_an_impossible_count_is_refused(n_electrons: float) -> None:
    with pytest.raises(ElectronicError, match="states that hold 4"):
        fill(torch.zeros(1, 1, 2, dtype=torch.float64), torch.ones(1, dtype=torch.float64), n_electrons, 2)


def test_dropped_states_hold_no_electrons() -> None:
    energies = torch.tensor([[[-1.0, 1.0, torch.inf]]], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    for kind in SMEARED:
        filling = fill(energies, one, 2.0, 2, Smearing(kind, 0.3))
        assert float(filling.occupations[0, 0, 2]) == 0.0
        assert np.isfinite(filling.entropy_energy)
    with pytest.raises(ElectronicError, match="hold 4"):
        fill(energies, one, 5.0, 2)


def magnetic(splitting: float) -> Crystal:
    """A chain whose ↓ is raised."""
    plain = chain(n_electrons=1.0)
    h = plain.hamiltonian
    values = np.stack([h.values, h.values + splitting * plain.overlap.values])
    return Crystal(h.with_values(values, "collinear"), plain.overlap, plain.cell, plain.periodic, 1.0)


def test_channels_share_the_electrons_as_the_energies_say() -> None:
    # A band of width 4: ↑ is full and ↓ empty from a splitting of 4 eV on.
    states = solve_bands(magnetic(5.0), monkhorst_pack((8, 1, 1)).k_frac)
    gap = band_gap(states, 1.0, 1)
    assert gap.n_occupied == (1, 0)
    assert gap.gap == pytest.approx(1.0)
    assert (gap.vbm_channel, gap.cbm_channel) == (0, 1)
    assert (gap.k_vbm[0], gap.k_cbm[0]) == (0.5, 0.0)
    assert not gap.is_direct
    assert gap.direct_gap == pytest.approx(5.0)
    with pytest.raises(ElectronicError, match=r"gap of a metal.*1 \+ 0 occupied.*overlap by 1 eV|overlap by 1 eV"):
        band_gap(solve_bands(magnetic(3.0), states.k_frac), 1.0, 1)


def test_a_direct_gap_is_told_by_energy_not_by_the_first_k() -> None:
    k = torch.tensor([[0.0, 0, 0], [1 / 3, 0, 0], [2 / 3, 0, 0]], dtype=torch.float64)
    energies = torch.tensor([[[-1.0, 2.0], [0.0, 1.0], [0.0, 1.0]]], dtype=torch.float64)
    energies[0, 1, 1] += 1e-9
    ones = torch.ones(3)
    gap = band_gap(BandStates(k, energies, None, ones, ones.long()), 2.0, 2)
    assert gap.is_direct
    assert gap.fermi_level == pytest.approx(0.5)


def test_full_bands_have_no_gap() -> None:
    with pytest.raises(ElectronicError, match="fill all 1 bands"):
        band_gap(solve_bands(chain(), np.zeros((1, 3))), 2.0, 2)


def test_smearing_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ElectronicError, match="did you mean 'gaussian'"):
        Smearing("gauss", 0.1)  # type: ignore[arg-type]
    with pytest.raises(ElectronicError, match="width of 0 eV"):
        Smearing("cold", 0.0)
