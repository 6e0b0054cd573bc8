"""The calculator of a model that knows its uncertainty."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.cluster import Octahedron
from ase.stress import full_3x3_to_voigt_6_stress

from adiabat.core.errors import ModelError, StructureError
from adiabat.data.structure import Structure
from adiabat.simulation.calculator import AdiabatCalculator
from adiabat.simulation.settings import BiasSettings
from known_committees import Committee, argon_committee
from known_models import HuckelHydrogen, LennardJones


class ShiftedHydrogen(HuckelHydrogen):
    """Hückel hydrogen whose levels are scaled: the gap is in proportion."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def hamiltonian(self, structure: Structure):
        plain = super().hamiltonian(structure)
        return plain.with_values(self.factor * plain.values)


def predicted(committee: Committee, atoms, outputs):
    return committee.predict(committee.model.graph(Structure.from_ase(atoms), outputs), outputs)


def test_mean_and_spread_come_from_one_evaluation() -> None:
    committee = argon_committee((0.9, 1.2), sigmas=(3.4, 3.45))
    crystal = bulk("Ar", cubic=True, a=5.2)
    crystal.rattle(0.1, seed=0)
    expected = predicted(committee, crystal, ("energy", "forces", "stress"))
    crystal.calc = AdiabatCalculator(committee)
    assert crystal.get_potential_energy() == float(expected.mean.energy)
    results = crystal.calc.results
    assert results["energy_uncertainty"] == float(expected.spread.energy)
    np.testing.assert_array_equal(results["forces_uncertainty"], expected.spread.forces.numpy())
    voigt = full_3x3_to_voigt_6_stress(expected.spread.stress[0].numpy())
    np.testing.assert_array_equal(results["stress_uncertainty"], voigt)
    graph = crystal.calc.graph
    largest = np.linalg.norm(results["forces_uncertainty"], axis=1).max()
    assert crystal.calc.get_largest_force_uncertainty(crystal) == largest
    crystal.get_forces(), crystal.get_stress()
    assert crystal.calc.graph is graph


def test_ase_can_ask_for_an_uncertainty_by_name() -> None:
    atoms = Octahedron("Ar", 2, latticeconstant=5.3)
    atoms.calc = AdiabatCalculator(argon_committee())
    assert atoms.calc.get_property("energy_uncertainty", atoms) > 0
    atoms.calc = AdiabatCalculator(LennardJones())
    with pytest.raises(PropertyNotImplementedError):
        atoms.calc.get_property("energy_uncertainty", atoms)
    assert "energy_uncertainty" not in AdiabatCalculator.implemented_properties


def test_the_central_model_alone_drives_and_members_are_asked_on_demand() -> None:
    committee = argon_committee((0.9, 1.2))
    atoms = Octahedron("Ar", 2, latticeconstant=5.3)
    atoms.calc = AdiabatCalculator(committee, drive="central")
    central = predicted(Committee(committee.members[:1] * 2), atoms, ("energy", "forces")).mean
    assert atoms.get_potential_energy() == float(central.energy)
    assert "forces_uncertainty" not in atoms.calc.results
    spread = predicted(committee, atoms, ("energy", "forces")).spread
    largest = float(spread.forces.norm(dim=1).max())
    assert atoms.calc.get_largest_force_uncertainty(atoms) == pytest.approx(largest, rel=1e-12)
    assert atoms.get_potential_energy() == float(central.energy)


def test_the_gap_has_the_spread_of_the_members() -> None:
    factors = (0.9, 1.0, 1.2)
    hydrogen = molecule("H2")
    gap = AdiabatCalculator(HuckelHydrogen()).get_gap(hydrogen)
    calculator = AdiabatCalculator(Committee([ShiftedHydrogen(factor) for factor in factors]))
    assert calculator.get_gap_uncertainty(hydrogen) == pytest.approx(gap * np.std(factors, ddof=1), rel=1e-9)
    levels = AdiabatCalculator(HuckelHydrogen()).get_orbital_energies(hydrogen)
    found = calculator.get_orbital_energies_uncertainty(hydrogen)
    np.testing.assert_allclose(found, np.abs(levels) * np.std(factors, ddof=1), rtol=1e-9)


def test_a_single_model_has_no_uncertainty_to_give() -> None:
    calculator = AdiabatCalculator(HuckelHydrogen())
    for ask in (calculator.get_gap_uncertainty, calculator.get_largest_force_uncertainty):
        with pytest.raises(ModelError, match="single model"):
            ask(molecule("H2"))
    with pytest.raises(ModelError, match="single model"):
        AdiabatCalculator(LennardJones(), bias=BiasSettings(strength=1.0))


def test_a_bias_needs_two_members() -> None:
    atoms = Octahedron("Ar", 2, latticeconstant=5.3)
    atoms.calc = AdiabatCalculator(Committee([LennardJones()]), bias=BiasSettings(strength=1.0))
    with pytest.raises(ModelError, match="1 member"):
        atoms.get_potential_energy()


def test_the_uncertainty_of_a_molecules_stress_is_refused() -> None:
    atoms = Octahedron("Ar", 2, latticeconstant=5.3)
    atoms.calc = AdiabatCalculator(argon_committee())
    with pytest.raises(StructureError, match="stress"):
        atoms.calc.get_property("stress_uncertainty", atoms)
