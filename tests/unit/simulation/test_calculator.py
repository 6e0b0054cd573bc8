import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from adiabat.core.errors import ElectronicError, ModelError, StructureError
from adiabat.data.structure import Structure
from adiabat.physics.basis import overlap
from adiabat.simulation.calculator import AdiabatCalculator
from known_models import EPSILON, HYDROGEN_LEVEL, SIGMA, WOLFSBERG_HELMHOLZ, HuckelHydrogen, LennardJones


def dimer(distance: float, symbols: str = "Ar2", **info: int) -> Atoms:
    atoms = Atoms(symbols, [[0, 0, 0], [0, 0, distance]], info=info)
    atoms.calc = AdiabatCalculator(HuckelHydrogen() if symbols == "H2" else LennardJones())
    return atoms


def test_energy_and_forces_at_the_minimum_of_a_dimer() -> None:
    atoms = dimer(2 ** (1 / 6) * SIGMA)
    assert atoms.get_potential_energy() == pytest.approx(-EPSILON, rel=1e-13)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.get_forces(), 0.0, atol=1e-15)


def test_results_are_kept_until_the_atoms_move() -> None:
    atoms = dimer(4.0)
    first = atoms.get_potential_energy()
    graph = atoms.calc.graph
    atoms.get_forces()
    assert atoms.calc.graph is graph
    atoms.positions[1, 2] += 0.5
    assert atoms.get_potential_energy() != first


def test_compression_gives_negative_stress() -> None:
    crystal = bulk("Ar", cubic=True, a=4.8)
    crystal.calc = AdiabatCalculator(LennardJones())
    assert crystal.get_stress().shape == (6,)
    assert (crystal.get_stress()[:3] < 0).all()


def test_stress_of_a_molecule_is_refused() -> None:
    with pytest.raises(StructureError, match="stress"):
        dimer(4.0).get_stress()


def test_unknown_element_is_refused() -> None:
    with pytest.raises(StructureError, match="elements"):
        dimer(4.0, "ArKr").get_potential_energy()


def test_overlapping_atoms_are_refused() -> None:
    with pytest.raises(StructureError, match="distance"):
        dimer(0.01).get_potential_energy()


def test_hydrogen_orbitals_are_those_of_extended_huckel() -> None:
    atoms = dimer(0.74, "H2")
    s = overlap(Structure.from_ase(atoms), "sto-3g").to_dense()[0, 1]
    beta = WOLFSBERG_HELMHOLZ * HYDROGEN_LEVEL * s
    expected = [(HYDROGEN_LEVEL + beta) / (1 + s), (HYDROGEN_LEVEL - beta) / (1 - s)]
    assert atoms.calc.get_orbital_energies(atoms).tolist() == pytest.approx(expected, rel=1e-12)
    assert atoms.calc.get_gap(atoms) == pytest.approx(expected[1] - expected[0], rel=1e-12)
    assert atoms.calc.get_hamiltonian(atoms).to_dense()[0, 1] == pytest.approx(beta, rel=1e-12)
    assert atoms.calc.get_overlap(atoms).to_dense()[0, 1] == s
    electrons = atoms.calc.get_electrons(atoms)
    np.testing.assert_allclose(electrons.charges, 0.0, atol=1e-12)
    np.testing.assert_allclose(electrons.dipole, 0.0, atol=1e-12)
    assert (electrons.density_matrix.to_dense() * electrons.overlap.to_dense()).sum() == pytest.approx(2.0, rel=1e-12)


def test_electrons_follow_the_atoms_and_are_kept_meanwhile() -> None:
    atoms = dimer(0.74, "H2")
    first = atoms.calc.get_electrons(atoms)
    assert atoms.calc.get_electrons(atoms) is first
    atoms.positions[1, 2] += 0.2
    assert atoms.calc.get_gap(atoms) < float(first.orbitals.gap)


def test_hamiltonian_of_a_model_without_operator_head_is_refused() -> None:
    atoms = dimer(4.0)
    with pytest.raises(ModelError, match="request for H"):
        AdiabatCalculator(LennardJones()).get_hamiltonian(atoms)


@pytest.mark.parametrize(("symbols", "info"), [("H2", {"spin": 2}), ("H2", {"charge": 1, "spin": 1})])
def test_open_shells_are_refused(symbols: str, info: dict[str, int]) -> None:
    atoms = dimer(0.74, symbols, **info)
    with pytest.raises(ElectronicError, match="unpaired"):
        atoms.calc.get_gap(atoms)
