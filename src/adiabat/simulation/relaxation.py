"""Relaxation of a structure on a model's surface, by ASE."""

from dataclasses import replace
from typing import Any

import numpy as np
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from adiabat.core.errors import SimulationError
from adiabat.data.structure import Structure
from adiabat.models.model import Model
from adiabat.simulation.calculator import AdiabatCalculator


def relax(
    model: Model, structure: Structure, *, largest_force: float = 0.01, steps: int = 500, cell: bool = False
) -> Structure:
    """The nearest minimum; a structure whose forces are small enough already stays as it is.

    Args:
        model: gives forces.
        structure: where to begin.
        largest_force: on any atom at the end [eV/Å].
        steps: before giving up.
        cell: let the cell follow its stress.

    Raises:
        SimulationError: not there after so many steps.
    """
    atoms = structure.to_ase()
    atoms.calc = AdiabatCalculator(model)
    moved: Any = FrechetCellFilter(atoms) if cell else atoms
    if not BFGS(moved, logfile=None).run(fmax=largest_force, steps=steps):
        force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        raise SimulationError(
            f"a largest force of {force:.3g} eV/Å on {structure.formula} after {steps} steps of relaxation",
            expected=f"at most {largest_force:g} eV/Å",
            suggestion="begin nearer to a minimum, or train the model on more structures like this",
        )
    return replace(structure, positions=atoms.get_positions(), cell=np.array(atoms.cell.array))
