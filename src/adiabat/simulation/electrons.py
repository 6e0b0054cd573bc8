"""The electrons of one molecule, from the Hamiltonian that a model predicts for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import reorder_matrix
from adiabat.core.units import BOHR
from adiabat.data.structure import Structure
from adiabat.electronic.charges import mulliken_charges
from adiabat.electronic.dipole import dipole_moment
from adiabat.electronic.molecule import MolecularOrbitals, solve_molecule
from adiabat.models.model import Model
from adiabat.physics.basis import orbital_basis, pyscf_molecule


@dataclass(frozen=True, eq=False)
class Electrons:
    """Hamiltonian, overlap and what follows from them.

    Attributes:
        structure: the molecule.
        hamiltonian: H [eV].
        overlap: S.
        basis: name of the orbital basis.
        orbitals: orbitals, occupations and gap.
    """

    structure: Structure
    hamiltonian: BlockOperator
    overlap: BlockOperator
    basis: str
    orbitals: MolecularOrbitals

    @property
    def charges(self) -> npt.NDArray[np.float64]:
        """Mulliken charges [e], (n_atoms,)."""
        return mulliken_charges(
            self.orbitals.density_matrix, dense(self.overlap), self.orbital_atoms, self._nuclear_charges
        ).numpy()

    @property
    def dipole(self) -> npt.NDArray[np.float64]:
        """Dipole moment [e·Å], (3,)."""
        integrals = _position_integrals(self.structure, self.basis)
        positions = torch.from_numpy(self.structure.positions)
        return dipole_moment(self.orbitals.density_matrix, integrals, self._nuclear_charges, positions).numpy()

    @property
    def density_matrix(self) -> BlockOperator:
        """Density matrix, spin-summed."""
        return BlockOperator.from_dense(self.orbitals.density_matrix.numpy(), self.hamiltonian.n_orbitals)

    @property
    def orbital_atoms(self) -> Tensor:
        """Atom that each orbital sits on, (n_orb,)."""
        n_orbitals = torch.from_numpy(self.hamiltonian.n_orbitals)
        return torch.repeat_interleave(torch.arange(len(n_orbitals)), n_orbitals)

    @property
    def _nuclear_charges(self) -> Tensor:
        return torch.from_numpy(self.structure.atomic_numbers).to(torch.float64)


def predict_electrons(model: Model, structure: Structure) -> Electrons:
    """Predict the Hamiltonian of a molecule and solve for its orbitals.

    Raises:
        ModelError: the model has no operator head.
        ElectronicError: an open shell or an odd number of electrons.
        LabelError: a periodic structure, whose Hamiltonian reaches into other cells.
    """
    basis = model.require_operator().basis
    return solve_electrons(structure, model.hamiltonian(structure), model.overlap(structure), basis)


def predict_member_electrons(members: Sequence[Model], structure: Structure) -> list[Electrons]:
    """What each member of an uncertain model predicts; H0 and S, which none of them learns, are computed once.

    Raises:
        ModelError, ElectronicError, LabelError: see :func:`predict_electrons`.
    """
    first = members[0]
    basis = first.require_operator().basis
    overlap = first.overlap(structure)
    h0 = first.h0(structure)
    deltas = [member.delta_hamiltonian(structure) for member in members]
    return [solve_electrons(structure, d if h0 is None else d + h0, overlap, basis) for d in deltas]


def solve_electrons(structure: Structure, hamiltonian: BlockOperator, overlap: BlockOperator, basis: str) -> Electrons:
    """Orbitals of a molecule from a Hamiltonian that is already there.

    Raises:
        ElectronicError: an open shell or an odd number of electrons, or matrices that define no orbitals.
    """
    if structure.spin:
        raise ElectronicError(
            f"{structure.formula} with {structure.spin} unpaired electrons",
            expected="a closed shell: one Hamiltonian for both spins",
            suggestion="use energy and forces only for open shells",
        )
    orbitals = solve_molecule(dense(hamiltonian), dense(overlap), structure.n_electrons)
    return Electrons(structure, hamiltonian, overlap, basis, orbitals)


def dense(operator: BlockOperator) -> Tensor:
    """Dense (n_orb, n_orb) float64 tensor of a molecule's operator."""
    return torch.from_numpy(operator.to_dense())


def _position_integrals(structure: Structure, basis: str) -> Tensor:
    """⟨μ|r|ν⟩ [Å] in our orbital order, (3, n_orb, n_orb)."""
    integrals = pyscf_molecule(structure, basis).intor("int1e_r") * BOHR
    shells = orbital_basis([structure], basis).shell_sequence(structure.atomic_numbers)
    return torch.from_numpy(reorder_matrix(integrals, "pyscf", shells))
