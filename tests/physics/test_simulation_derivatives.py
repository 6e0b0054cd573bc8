"""Forces and stress that reach ASE are derivatives of the energy that reaches ASE."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from adiabat.simulation.calculator import AdiabatCalculator
from known_models import LennardJones

# Central differences over h = 1e-4 Å err by h² E'''/6, about 1e-9 eV/Å at argon's contact distance.
STEP = 1e-4
DIFFERENCE_ERROR = 1e-7


class HalvedForces(AdiabatCalculator):
    """Negative control: forces and stress that are no derivative of the energy."""

    def calculate(self, *args, **kwargs) -> None:
        super().calculate(*args, **kwargs)
        self.results["forces"] = self.results["forces"] / 2
        self.results["stress"] = self.results["stress"] / 2


def sheared_crystal(calculator: AdiabatCalculator) -> Atoms:
    crystal = bulk("Ar", cubic=True, a=5.1)
    deformation = np.array([[1.01, 0.03, 0.0], [0.0, 0.98, 0.01], [0.0, 0.0, 1.02]])
    crystal.set_cell(crystal.cell @ deformation, scale_atoms=True)
    crystal.rattle(0.1, seed=4)
    crystal.calc = calculator
    return crystal


def largest_errors(crystal: Atoms) -> tuple[float, float]:
    numeric = calculate_numerical_forces(crystal, eps=STEP)
    force_error = np.abs(crystal.get_forces() - numeric).max()
    stress_error = np.abs(crystal.get_stress() - calculate_numerical_stress(crystal, eps=1e-5)).max()
    return float(force_error), float(stress_error)


def test_forces_and_stress_are_derivatives_of_the_energy() -> None:
    force_error, stress_error = largest_errors(sheared_crystal(AdiabatCalculator(LennardJones())))
    assert force_error < DIFFERENCE_ERROR
    assert stress_error < DIFFERENCE_ERROR


@pytest.mark.parametrize("part", [0, 1], ids=["forces", "stress"])
def test_a_calculator_with_wrong_derivatives_is_noticed(part: int) -> None:
    assert largest_errors(sheared_crystal(HalvedForces(LennardJones())))[part] > 100 * DIFFERENCE_ERROR
