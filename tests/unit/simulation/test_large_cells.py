"""Methods for large cells give what diagonalization gives, where that can still be done."""

from dataclasses import replace

import numpy as np
import pytest

from adiabat.core.errors import ElectronicError
from adiabat.electronic.bands import solve_bands
from adiabat.electronic.kpm import KpmSettings
from adiabat.engines.tight_binding import TightBindingEngine
from adiabat.simulation.crystal_electrons import CrystalElectrons, crystal_from_record
from adiabat.simulation.crystal_kpm import compute_dos_kpm, compute_fermi_kpm
from adiabat.simulation.crystal_sparse import compute_fermi_states
from adiabat.simulation.orbital_groups import OrbitalGroup, projection_groups
from labelled_crystals import TARGETS, boron_nitride
from shipped_crystal import hbn_record


def large() -> CrystalElectrons:
    """Eight atoms, 32 orbitals, in a cell that is just wider than the 4 Å that they reach."""
    structure = boron_nitride(seed=1, size=(2, 2, 1))
    return crystal_from_record(TightBindingEngine(cutoff=4.0).label(structure, TARGETS))


def at_gamma(electrons: CrystalElectrons) -> np.ndarray:
    return solve_bands(electrons.crystal, np.zeros((1, 3))).energies[:, 0].numpy()


def test_states_around_the_level_are_those_of_diagonalization() -> None:
    electrons = large()
    energies = at_gamma(electrons)
    every = np.sort(energies.ravel())
    n_occupied = round(electrons.crystal.n_electrons / electrons.crystal.max_occupation)
    found = compute_fermi_states(electrons, 6)
    assert found.homo == pytest.approx(every[n_occupied - 1], abs=1e-7)
    assert found.lumo == pytest.approx(every[n_occupied], abs=1e-7)
    for channel, states in zip(energies, found.states, strict=True):
        first = np.searchsorted(channel, states[0] - 1e-6)
        np.testing.assert_allclose(states, channel[first : first + len(states)], atol=1e-7)


def test_a_stochastic_density_holds_all_electrons_and_its_parts() -> None:
    electrons = large()
    told: list[int] = []
    groups = projection_groups(electrons, "element")
    settings = KpmSettings(resolution=0.5, n_vectors=24, batch=12)
    dos = compute_dos_kpm(electrons, settings, groups=groups, watch=lambda task, steps: told.append)
    energies = at_gamma(electrons)[0]
    counted = 2 * (energies[None] < dos.grid[:, None]).sum(axis=1)
    # The count is smeared over half an eV, in which a few states lie, and uncertain by one electron.
    assert np.abs(dos.integrated - counted).max() < 6
    assert dos.integrated[-1] == pytest.approx(counted[-1], abs=0.5)
    np.testing.assert_allclose(sum(dos.projections.values()), dos.total, atol=2e-3 * dos.total.max())
    assert dos.fermi_level is not None
    assert np.interp(dos.fermi_level, dos.grid, dos.integrated) == pytest.approx(32.0, abs=0.3)
    assert "24 random vectors" in dos.notes[-1]
    assert told == sorted(told)
    level = compute_fermi_kpm(electrons, settings)
    assert level.fermi_level == pytest.approx(dos.fermi_level, abs=1e-6)
    assert level.low is not None
    assert level.high is not None
    assert level.low - 1.0 < (energies[15] + energies[16]) / 2 < level.high + 1.0


def test_a_cell_that_is_too_small_and_groups_that_overlap() -> None:
    small = crystal_from_record(hbn_record())
    for compute in (compute_dos_kpm, compute_fermi_kpm):
        with pytest.raises(ElectronicError, match="fall on their own images"):
            compute(small, KpmSettings())
    with pytest.raises(ElectronicError, match="fall on their own images"):
        compute_fermi_states(small, 4)
    electrons = large()
    everything = OrbitalGroup("all", np.ones(32, dtype=bool))
    with pytest.raises(ElectronicError, match="overlap"):
        compute_dos_kpm(electrons, KpmSettings(), groups=[everything, replace(everything, name="again")])
