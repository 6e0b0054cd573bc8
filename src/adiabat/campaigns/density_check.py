"""What a predicted density is worth to PySCF: its energy, and the SCF cycles that it saves."""

from dataclasses import asdict, dataclass
from typing import Any

from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import restore_matrix
from adiabat.core.units import HARTREE
from adiabat.data.structure import Structure
from adiabat.engines.pyscf_molecule import PyscfEngine
from adiabat.models.config import OperatorReference
from adiabat.physics.basis import orbital_basis, pyscf_molecule
from adiabat.physics.mean_field import mean_field


@dataclass(frozen=True)
class DensityCheck:
    """One molecule's predicted density in PySCF.

    Attributes:
        index: of the structure in the evaluation.
        cycles_from_prediction: SCF cycles when started from the predicted density.
        cycles_from_minao: SCF cycles when started from PySCF's default guess.
        converged: whether both got there.
        energy_error: E[D_pred] − E_SCF [eV], of second order in the density's error.
    """

    index: int
    cycles_from_prediction: int
    cycles_from_minao: int
    converged: bool
    energy_error: float

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return asdict(self)


def reference_engine(reference: OperatorReference) -> PyscfEngine:
    """The engine whose Hamiltonians a model has learned."""
    return PyscfEngine(**reference.level)


def check_density(index: int, structure: Structure, density: BlockOperator, engine: PyscfEngine) -> DensityCheck:
    """Evaluate a predicted density, and start PySCF's SCF from it and from ``minao``.

    Args:
        index: carried into the result.
        structure: a closed-shell molecule.
        density: predicted density matrix, spin-summed.
        engine: method of the reference.
    """
    predicted, minao = engine.scf_cycles(structure, density), engine.scf_cycles(structure, None)
    return DensityCheck(
        index=index,
        cycles_from_prediction=predicted.cycles,
        cycles_from_minao=minao.cycles,
        converged=predicted.converged and minao.converged,
        energy_error=energy_of_density(structure, density, engine) - minao.energy,
    )


def energy_of_density(structure: Structure, density: BlockOperator, engine: PyscfEngine) -> float:
    """Total energy E[D] of a density matrix [eV], from one evaluation of the functional without any SCF."""
    field = mean_field(
        pyscf_molecule(structure, engine.basis),
        engine.xc,
        grid_level=engine.grid_level,
        density_fit=engine.density_fit,
    )
    shells = orbital_basis([structure], engine.basis).shell_sequence(structure.atomic_numbers)
    return float(field.energy_tot(dm=restore_matrix(density.to_dense(), "pyscf", shells))) * HARTREE
