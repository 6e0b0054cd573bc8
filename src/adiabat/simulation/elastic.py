"""Elastic constants of a crystal, from finite strains of the analytic stress.

C_ij = ∂σ_i/∂ε_j in Voigt order (xx, yy, zz, yz, xz, xy), ε_4 = 2 ε_yz and so on.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from ase.stress import full_3x3_to_voigt_6_stress

from adiabat.core.errors import StructureError
from adiabat.core.units import GPA
from adiabat.core.voigt import VOIGT
from adiabat.data.structure import Structure
from adiabat.models.model import Model, to_numpy
from adiabat.simulation.relaxation import relax

Array = npt.NDArray[np.float64]

_OUTPUTS: Final = ("energy", "forces", "stress")


@dataclass(frozen=True, eq=False)
class ElasticTensor:
    """Elastic constants about a structure.

    Attributes:
        constants: (6, 6) symmetric [eV/Å³].
        asymmetry: largest |C_ij − C_ji| before they were made symmetric [eV/Å³].
        stress: (6,) of the structure itself [eV/Å³]. Where it is not zero, constants are slopes of stress against
            strain, not second derivatives of the energy.
        structure: the structure that was strained.
    """

    constants: Array
    asymmetry: float
    stress: Array
    structure: Structure

    @property
    def gigapascal(self) -> Array:
        """(6, 6) constants in GPa."""
        return self.constants / GPA

    @property
    def bulk_modulus(self) -> float:
        """Voigt average of the bulk modulus [GPa]."""
        return float(self.gigapascal[:3, :3].mean())

    @property
    def shear_modulus(self) -> float:
        """Voigt average of the shear modulus [GPa]."""
        c = self.gigapascal
        return float((np.trace(c[:3, :3]) - (c[0, 1] + c[0, 2] + c[1, 2]) + 3 * np.trace(c[3:, 3:])) / 15)


def elastic_tensor(
    model: Model,
    structure: Structure,
    *,
    strain: float = 2e-3,
    relax_cell: bool = False,
    relax_atoms: bool = True,
    largest_force: float = 1e-3,
) -> ElasticTensor:
    """Strain a crystal along each of six components, both ways, and take slopes of the stress.

    Args:
        model: gives stress.
        structure: periodic in three directions, and best free of stress.
        strain: ε of each component; shears are 2 ε_yz = ε.
        relax_cell: make it free of stress first.
        relax_atoms: let atoms follow each strain; False gives constants of clamped ions.
        largest_force: on any atom at the end of a relaxation [eV/Å].

    Raises:
        StructureError: not periodic in three directions.
        SimulationError: a relaxation that does not end.
    """
    if not structure.pbc.all():
        raise StructureError(
            f"elastic constants of {structure.formula}, periodic along {structure.pbc.tolist()}",
            expected="three periodic directions: stress is force per area of a cell",
            suggestion="give the crystal's cell and pbc along all three vectors",
        )
    if relax_cell or relax_atoms:
        structure = relax(model, structure, largest_force=largest_force, cell=relax_cell)
    slopes = np.zeros((6, 6))
    for column in range(6):
        stresses = []
        for sign in (1.0, -1.0):
            strained = _strained(structure, column, sign * strain)
            if relax_atoms:
                strained = relax(model, strained, largest_force=largest_force)
            stresses.append(_stress(model, strained))
        slopes[:, column] = (stresses[0] - stresses[1]) / (2 * strain)
    return ElasticTensor(
        constants=(slopes + slopes.T) / 2,
        asymmetry=float(np.abs(slopes - slopes.T).max()),
        stress=_stress(model, structure),
        structure=structure,
    )


def _strained(structure: Structure, component: int, amount: float) -> Structure:
    i, j = VOIGT[component]
    deformation = np.eye(3)
    deformation[i, j] += amount / (1 if i == j else 2)
    deformation[j, i] = deformation[i, j]
    return replace(structure, positions=structure.positions @ deformation, cell=structure.cell @ deformation)


def _stress(model: Model, structure: Structure) -> Array:
    graph = model.graph(structure, _OUTPUTS).to(next(model.parameters()).device)
    with torch.no_grad():
        return full_3x3_to_voigt_6_stress(to_numpy(model(graph, _OUTPUTS).stress)[0])
