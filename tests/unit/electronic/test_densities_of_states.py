"""Densities of states: counts, projections, and closed forms, by Gaussians and by simplices."""

import math

import numpy as np
import pytest
import torch

from adiabat.core.errors import ElectronicError
from adiabat.electronic.bands import BandStates, solve_bands
from adiabat.electronic.crystal import Crystal, crystal_from_matrices
from adiabat.electronic.dos import density_of_states
from adiabat.electronic.kpoints import KMesh, monkhorst_pack
from adiabat.electronic.projections import orbital_weights
from adiabat.electronic.tetrahedron import (
    Simplices,
    cut_zone,
    integrated_states,
    tetrahedron_dos,
    tetrahedron_fermi_level,
    tetrahedron_occupations,
)
from known_crystals import chain, cubic, graphene, spin_orbit_crystal


def solved(crystal: Crystal, size: tuple[int, int, int], **options: bool) -> tuple[KMesh, BandStates, Simplices]:
    mesh = monkhorst_pack(size, **options)
    states = solve_bands(crystal, mesh.k_frac, coefficients=True)
    return mesh, states, cut_zone(mesh, crystal.cell, crystal.periodic)


def grid(low: float, high: float, n: int) -> torch.Tensor:
    return torch.linspace(low, high, n, dtype=torch.float64)


CASES = [
    (chain(overlap=0.1), (12, 1, 1)),
    (graphene(mass=0.5), (6, 6, 1)),
    (cubic(), (5, 6, 4)),
    (spin_orbit_crystal(), (5, 5, 1)),
]


@pytest.mark.parametrize(("crystal", "size"), CASES)
def test_both_methods_count_all_states_and_projections_add_up(crystal: Crystal, size: tuple[int, int, int]) -> None:
    mesh, states, simplices = solved(crystal, size)
    energies = grid(float(states.energies.min()) - 2, float(states.energies.max()) + 2, 601)
    shares = orbital_weights(states, crystal)
    step, g = float(energies[1] - energies[0]), crystal.max_occupation
    capacity = 2 * crystal.n_orb
    smooth = density_of_states(states.energies, mesh.weights, energies, width=0.1, max_occupation=g)
    assert float(smooth.sum()) * step == pytest.approx(capacity, abs=1e-9)
    linear = tetrahedron_dos(states.energies, simplices, energies, max_occupation=g)
    assert float(linear.sum()) * step == pytest.approx(capacity, abs=1e-9)
    smooth_parts = density_of_states(
        states.energies, mesh.weights, energies, width=0.1, max_occupation=g, projections=shares
    )
    linear_parts = tetrahedron_dos(states.energies, simplices, energies, max_occupation=g, projections=shares)
    assert linear_parts.shape == (1, crystal.n_orb, 601)
    torch.testing.assert_close(smooth_parts.sum(1), smooth, atol=1e-10, rtol=0)
    torch.testing.assert_close(linear_parts.sum(1), linear, atol=1e-10, rtol=0)
    assert float(linear.min()) > -1e-12


@pytest.mark.parametrize(("crystal", "size"), CASES)
@pytest.mark.parametrize("n_electrons", [0.4, 1.0, 1.9])
def test_the_fermi_level_of_linear_bands_holds_the_electrons(
    crystal: Crystal, size: tuple[int, int, int], n_electrons: float
) -> None:
    _, states, simplices = solved(crystal, size)
    g = crystal.max_occupation
    level = tetrahedron_fermi_level(states.energies, simplices, n_electrons, g)
    at = torch.tensor([level], dtype=torch.float64)
    assert float(integrated_states(states.energies, simplices, at, max_occupation=g)) == pytest.approx(n_electrons)
    for corrected in (False, True):
        occupations = tetrahedron_occupations(states.energies, simplices, level, g, corrected=corrected)
        assert float(occupations.sum()) == pytest.approx(n_electrons, abs=1e-7)


def test_a_chain_has_its_van_hove_form() -> None:
    _, states, simplices = solved(chain(), (400, 1, 1))
    energies = grid(-1.5, 1.5, 301)
    exact = 2 / (math.pi * torch.sqrt(4 - energies**2))
    dos = tetrahedron_dos(states.energies, simplices, energies, max_occupation=2)[0]
    # Linear segments of 1/400 of the zone and bins of 0.01 eV: errors of (π/400)² and of the bin squared.
    torch.testing.assert_close(dos, exact, atol=2e-3, rtol=0)
    assert tetrahedron_fermi_level(states.energies, simplices, 1.5, 2) == pytest.approx(math.sqrt(2), abs=1e-4)


def test_graphene_is_linear_about_the_dirac_point() -> None:
    crystal = graphene()
    _, states, simplices = solved(crystal, (120, 120, 1))
    energies = grid(0.4, 0.8, 41)
    speed = 1.5 * 2.7 * 1.42
    # Spin and two valleys: 4 A E / (2π v²), to the order of (E/t)².
    exact = 4 * crystal.measure * energies / (2 * math.pi * speed**2)
    dos = tetrahedron_dos(states.energies, simplices, energies, max_occupation=2)[0]
    assert float(((dos - exact) / exact).abs().mean()) < 0.04


def counts_below(levels: torch.Tensor, n: int) -> torch.Tensor:
    _, states, simplices = solved(cubic(), (n, n, n))
    return integrated_states(states.energies, simplices, levels, max_occupation=2)[0]


def test_a_free_electron_band_in_a_cube() -> None:
    # At the bottom of a cosine band, m* = ħ²/(2 t a²): states below ε are 2/(6π²) (ε/t a²)^(3/2) a³, and 3ε/(40 t) of
    # that more because the band is flatter than a parabola.
    above = torch.tensor([0.6, 0.8, 1.0], dtype=torch.float64)
    exact = 2 / (6 * math.pi**2) * above**1.5 * (1 + 0.075 * above)
    coarse, fine = counts_below(above - 6.0, 14), counts_below(above - 6.0, 28)
    # Linear tetrahedra err with the square of the step, which two meshes eliminate.
    np.testing.assert_allclose((4 * fine - coarse) / 3, exact, rtol=0.01)
    assert bool((fine < exact).all())


def test_three_dimensions_agree_with_a_dense_sum() -> None:
    levels = grid(-5.0, 5.0, 11)
    fine = (torch.arange(160, dtype=torch.float64) + 0.5) / 160
    cosine = -2 * torch.cos(2 * math.pi * fine)
    dense = (cosine[:, None, None] + cosine[None, :, None] + cosine[None, None, :]).flatten()
    exact = 2 * torch.stack([(dense <= level).double().mean() for level in levels])
    errors = [float((counts_below(levels, n) - exact).abs().max()) for n in (8, 16)]
    # (2π/16)²/12 of the band's width times the density, and the square of the step.
    assert errors[1] < 0.01
    assert 3.0 < errors[0] / errors[1] < 5.0


def test_the_correction_for_curvature_improves_the_energy() -> None:
    errors: dict[bool, float] = {}
    converged = -1.7249  # of 24 points with the correction; 12 points agree to 1e-4
    _, states, simplices = solved(cubic(), (12, 12, 12))
    level = tetrahedron_fermi_level(states.energies, simplices, 0.6, 2)
    for corrected in (False, True):
        occupations = tetrahedron_occupations(states.energies, simplices, level, 2, corrected=corrected)
        errors[corrected] = abs(float((occupations * states.energies).sum()) - converged)
    assert errors[True] < 3e-4
    assert errors[False] > 100 * errors[True]


def test_flat_bands_are_counted() -> None:
    crystal = crystal_from_matrices([(0, 0, 0)], [[[0.5]]], np.eye(3), 1.0)
    _, states, simplices = solved(crystal, (2, 2, 2))
    dos = tetrahedron_dos(states.energies, simplices, grid(0, 1, 11), max_occupation=2)
    assert float(dos.sum()) * 0.1 == pytest.approx(2.0)


def test_the_result_does_not_depend_on_where_the_cell_is_cut() -> None:
    # A skew cell: other diagonals, other tetrahedra, the same count to the accuracy of the mesh; half and whole mesh
    # alike to rounding.
    skew = np.array([[3.0, 0, 0], [3.0, 3.0, 0], [0, 0, 3.0]])
    images = [(0, 0, 0), (1, 0, 0), (-1, 1, 0), (0, 0, 1)]
    sheared = crystal_from_matrices(images, [[[0.0]], *[[[-1.0]]] * 3], skew, 1.0)
    levels = grid(-4, 4, 9)
    counts = []
    for crystal, half in ((cubic(), True), (cubic(), False), (sheared, True)):
        _, states, simplices = solved(crystal, (12, 12, 12), time_reversal=half)
        counts.append(integrated_states(states.energies, simplices, levels, max_occupation=2))
    torch.testing.assert_close(counts[1], counts[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(counts[2], counts[0], atol=0.03, rtol=0)


def test_dropped_states_are_not_counted() -> None:
    mesh, states, simplices = solved(graphene(mass=0.5), (4, 4, 1))
    energies = states.energies.clone()
    energies[..., 1] = torch.inf
    levels = grid(-20, 20, 3)
    assert float(integrated_states(energies, simplices, levels, max_occupation=2)[0, -1]) == pytest.approx(2.0)
    smooth = density_of_states(energies, mesh.weights, grid(-20, 20, 4001), width=0.1, max_occupation=2)
    assert float(smooth.sum()) * 0.01 == pytest.approx(2.0)
    occupations = tetrahedron_occupations(energies, simplices, -1.0, 2)
    assert bool(torch.isfinite(occupations).all())


def test_what_cannot_be_meant_is_refused() -> None:
    crystal = graphene()
    mesh, states, simplices = solved(crystal, (4, 4, 1))
    with pytest.raises(ElectronicError, match="broadening of 0 eV"):
        density_of_states(states.energies, mesh.weights, grid(0, 1, 2), width=0.0, max_occupation=2)
    with pytest.raises(ElectronicError, match="k-mesh of size"):
        cut_zone(monkhorst_pack((4, 1, 1)), crystal.cell, crystal.periodic)
    with pytest.raises(ElectronicError, match="does not ascend"):
        tetrahedron_dos(states.energies, simplices, grid(1, 0, 5), max_occupation=2)
    with pytest.raises(ElectronicError, match="5 electrons"):
        tetrahedron_fermi_level(states.energies, simplices, 5.0, 2)
