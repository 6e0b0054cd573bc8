"""The label-free error of a predicted Hamiltonian: its density, one Fock build, what is left to self-consistency."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from adiabat.core.errors import ModelError
from adiabat.data.structure import Structure
from adiabat.models.model import Model
from adiabat.physics.density_residual import DensityResidual, density_residual
from adiabat.simulation.electrons import Electrons, predict_electrons


@dataclass(frozen=True, eq=False)
class HamiltonianResidual:
    """What a predicted Hamiltonian leaves.

    Attributes:
        electrons: orbitals and density of the prediction.
        density: residual of that density.
        hamiltonian: mean of |F[D] − H| over all entries in eV; zero where H is self-consistent, and of the size of the
            error of H where it is not, as far as its density is.
    """

    electrons: Electrons
    density: DensityResidual
    hamiltonian: float

    def to_json(self) -> dict[str, Any]:
        """The numbers as a plain dictionary."""
        return {**self.density.to_json(), "hamiltonian": self.hamiltonian}


def hamiltonian_residual(model: Model, structure: Structure) -> HamiltonianResidual:
    """Predict, and judge the prediction by its own density; the cost is that of one SCF cycle.

    Args:
        model: with an operator head that learned labels of PySCF, whose functional can be evaluated.
        structure: a closed-shell molecule.

    Raises:
        ModelError: the model has no operator head, or one whose functional is not known.
        ElectronicError, StructureError: an open shell or an odd number of electrons.
    """
    reference = model.require_operator()
    if reference.baseline != "minao":
        raise ModelError(
            f"the residual of a Hamiltonian of {reference.method or reference.basis!r}, labels of another code",
            expected="a model of molecules, whose functional and basis PySCF can evaluate",
            suggestion="judge crystals by the spread of an ensemble or of the last layer",
        )
    electrons = predict_electrons(model, structure)
    return residual_of(electrons, **reference.level)


def residual_of(electrons: Electrons, **level: Any) -> HamiltonianResidual:
    """The same for electrons that are there; ``level`` are the settings of ``density_residual``."""
    found = density_residual(electrons.structure, electrons.density_matrix, **level)
    difference = found.fock.to_dense() - electrons.hamiltonian.to_dense()
    return HamiltonianResidual(electrons, found, float(np.abs(difference).mean()))
