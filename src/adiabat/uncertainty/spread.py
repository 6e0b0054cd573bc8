"""Standard deviations of a prediction."""

from dataclasses import dataclass

from torch import Tensor

from adiabat.models.operator_layout import OperatorBlocks


@dataclass(frozen=True, eq=False)
class Spread:
    """Standard deviations of a prediction, one a number, in the number's unit; the rest is None.

    Attributes:
        energy: (n_structures,) in eV.
        atomic_energies: (n_atoms,) in eV, where an atom's own energy has one.
        forces: (n_atoms, 3) in eV/Å.
        stress: (n_structures, 3, 3) in eV/Å³.
        hamiltonian: padded blocks in eV.
    """

    energy: Tensor | None = None
    atomic_energies: Tensor | None = None
    forces: Tensor | None = None
    stress: Tensor | None = None
    hamiltonian: OperatorBlocks | None = None
