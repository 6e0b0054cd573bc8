import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.cluster import Octahedron
from ase.data import atomic_masses

from adiabat.core.errors import SimulationError
from adiabat.core.units import BOLTZMANN, HBAR, WAVENUMBER
from adiabat.data.structure import Structure
from adiabat.simulation.normal_modes import hessian, mode_variance, normal_modes, rigid_motions
from adiabat.simulation.relaxation import relax
from known_models import EPSILON, SIGMA, LennardJones

DIMER = Structure.from_ase(Atoms("Ar2", [[0, 0, 0], [0, 0, 2 ** (1 / 6) * SIGMA]]))
CURVATURE = 72 * EPSILON / (2 ** (1 / 3) * SIGMA**2)
"""d²V/dr² at the minimum of the pair potential: 72 ε/r², r = 2^(1/6) σ [eV/Å²]."""


def test_the_dimer_has_one_mode_of_the_known_frequency() -> None:
    modes = normal_modes(LennardJones(), DIMER)
    reduced = atomic_masses[18] / 2
    assert modes.squared_frequencies == pytest.approx([CURVATURE / reduced], rel=1e-3)
    assert modes.wavenumbers[0] == pytest.approx(np.sqrt(CURVATURE / reduced) * HBAR / WAVENUMBER, rel=1e-3)
    assert 20 < modes.wavenumbers[0] < 35


def test_the_hessian_is_that_of_automatic_differentiation() -> None:
    model = LennardJones()
    structure = Structure.from_ase(Octahedron("Ar", 2, latticeconstant=5.2))
    graph = model.graph(structure, ("energy",))
    strain = torch.zeros_like(graph.cell)

    def energy(positions: torch.Tensor) -> torch.Tensor:
        return model._atomic_energies(graph, positions, strain).sum()

    exact = torch.autograd.functional.hessian(energy, graph.positions).reshape(18, 18).numpy()
    np.testing.assert_allclose(hessian(model, structure, difference=1e-3), exact, atol=1e-6)


@pytest.mark.parametrize(("name", "n"), [("H2O", 6), ("CO2", 5), ("C2H6", 6)])
def test_rigid_motions_leave_all_other_directions_to_vibrations(name: str, n: int) -> None:
    structure = Structure.from_ase(molecule(name))
    assert np.linalg.matrix_rank(rigid_motions(structure)) == n
    assert np.linalg.matrix_rank(rigid_motions(Structure.from_ase(bulk("Ar", cubic=True)))) == 3


def test_thermal_samples_have_the_mean_energy_of_equipartition() -> None:
    model = LennardJones()
    structure = relax(model, Structure.from_ase(Octahedron("Ar", 2, latticeconstant=5.3)), largest_force=1e-5)
    modes = normal_modes(model, structure, difference=1e-3)
    assert modes.vectors.shape == (6, 3, 12)
    generator = np.random.default_rng(0)
    matrix = hessian(model, structure, difference=1e-3)
    moves = [(modes.sample(1.0, generator, lowest_wavenumber=1.0) - structure.positions).ravel() for _ in range(2000)]
    mean = np.mean([0.5 * move @ matrix @ move for move in moves])
    # Twelve modes of k_B T/2 each; 24000 squared normal numbers give 1 %.
    assert mean == pytest.approx(6 * BOLTZMANN, rel=0.03)
    masses = np.repeat(atomic_masses[structure.atomic_numbers], 3)
    drift = np.abs(np.array(moves) @ (masses[:, None] * rigid_motions(structure))).max()
    assert drift < 1e-9


def test_quantum_amplitudes_go_from_zero_point_motion_to_the_classical_limit() -> None:
    frequency = np.array([1000.0]) * WAVENUMBER / HBAR
    assert mode_variance(frequency, 1.0, "quantum") == pytest.approx(HBAR / (2 * frequency))
    hot = 20_000.0
    assert mode_variance(frequency, hot, "quantum") == pytest.approx(
        mode_variance(frequency, hot, "classical"), rel=1e-3
    )
    assert mode_variance(frequency, 300.0, "quantum") > 2 * mode_variance(frequency, 300.0, "classical")


def test_soft_modes_are_drawn_no_wider_than_the_lowest_frequency() -> None:
    stretched = Structure.from_ase(Atoms("Ar2", [[0, 0, 0], [0, 0, 5.0]]))
    modes = normal_modes(LennardJones(), stretched)
    assert modes.wavenumbers[0] < 0
    width = np.std([modes.sample(10.0, np.random.default_rng(k))[0, 2] for k in range(400)])
    frequency = 50.0 * WAVENUMBER / HBAR
    expected = np.sqrt(BOLTZMANN * 10.0 / frequency**2 / atomic_masses[18] / 2)
    assert width == pytest.approx(expected, rel=0.15)


def test_a_relaxation_that_does_not_end_is_an_error() -> None:
    with pytest.raises(SimulationError, match="after 1 steps"):
        relax(LennardJones(), Structure.from_ase(Atoms("Ar2", [[0, 0, 0], [0, 0, 3.3]])), steps=1)
