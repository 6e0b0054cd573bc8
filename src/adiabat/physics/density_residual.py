"""How far a density is from self-consistency, from one Fock build and no label.

    R = S^{-1/2} (F D S − S D F) S^{-1/2},   F = F[D]

is zero exactly where D is a stationary point of the energy functional: then D is made of eigenvectors of its own F. A
predicted Hamiltonian gives a D, and R tells of its error without any self-consistent calculation.
Source: [pulay1982], where it steers the convergence of SCF.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from adiabat.core.errors import StructureError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import restore_matrix
from adiabat.core.units import HARTREE
from adiabat.data.structure import Structure
from adiabat.physics.basis import operator_from_pyscf, orbital_basis, pyscf_molecule
from adiabat.physics.mean_field import mean_field


@dataclass(frozen=True, eq=False)
class DensityResidual:
    """What one Fock build says of a density.

    Attributes:
        norm: ‖R‖ in eV, the Frobenius norm.
        per_electron: ‖R‖/√n in eV, n the number of electrons, which does not grow with the molecule.
        energy: E[D] in eV, above the converged one by the square of the density's error.
        fock: F[D] in eV, the Hamiltonian that a self-consistent D would have come from.
    """

    norm: float
    per_electron: float
    energy: float
    fock: BlockOperator

    def to_json(self) -> dict[str, Any]:
        """The numbers as a plain dictionary."""
        return {"norm": self.norm, "per_electron": self.per_electron, "energy": self.energy}


def density_residual(
    structure: Structure, density: BlockOperator, xc: str, basis: str, grid_level: int, *, density_fit: bool = False
) -> DensityResidual:
    """Build F[D] once, and commute it with D.

    Args:
        structure: a closed-shell molecule.
        density: spin-summed density matrix, in our orbital order.
        xc: functional, as of ``mean_field``; as all that follow, that of the labels.
        basis: orbital basis.
        grid_level: PySCF's.
        density_fit: fit the Coulomb integrals.

    Raises:
        StructureError: an open shell.
        BasisError, EngineError: see ``pyscf_molecule`` and ``mean_field``.
    """
    if structure.spin:
        raise StructureError(
            f"{structure.formula} with {structure.spin} unpaired electrons",
            expected="a closed shell: one density matrix for both spins",
            suggestion="leave the residual out for open shells",
        )
    molecule = pyscf_molecule(structure, basis)
    orbitals = orbital_basis([structure], basis)
    field = mean_field(molecule, xc, grid_level=grid_level, density_fit=density_fit)
    matrix = restore_matrix(density.to_dense(), "pyscf", orbitals.shell_sequence(structure.atomic_numbers))
    core, overlap = field.get_hcore(), field.get_ovlp()
    potential = field.get_veff(dm=matrix)
    fock = np.asarray(core + potential)
    eigenvalues, vectors = np.linalg.eigh(overlap)
    root = (vectors * eigenvalues**-0.5) @ vectors.T
    product = fock @ matrix @ overlap
    norm = float(np.linalg.norm(root @ (product - product.T) @ root)) * HARTREE
    return DensityResidual(
        norm=norm,
        per_electron=norm / molecule.nelectron**0.5,
        energy=float(field.energy_tot(dm=matrix, h1e=core, vhf=potential)) * HARTREE,
        fock=operator_from_pyscf(fock * HARTREE, structure, orbitals),
    )
