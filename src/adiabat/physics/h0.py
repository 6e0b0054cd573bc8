"""H0: the Hamiltonian of superposed free-atom densities, the part of H that is not learned.

H0 = T + V_nuc + J[ρ₀] + v_xc[ρ₀] with ρ₀ = Σ_A ρ_A, spherical free atoms in a minimal basis (PySCF's ``minao``).
On ethanol (PBE/def2-SVP) mean |H − H0| is 6.6 mHa, half of what ``atom`` densities leave, and 14 times below |H|.
"""

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import StructureError
from adiabat.core.operators import BlockOperator
from adiabat.core.units import HARTREE
from adiabat.data.structure import Structure
from adiabat.physics.basis import operator_from_pyscf, orbital_basis, pyscf_molecule
from adiabat.physics.mean_field import MeanField, mean_field

H0_KIND = "minao"
"""Written into the provenance of every h0 label: which ρ₀ it stands for."""


def superposed_density_hamiltonian(
    structure: Structure, xc: str, basis: str, grid_level: int, *, density_fit: bool = False
) -> BlockOperator:
    """H0 of a closed-shell molecule, all pairs, in eV.

    Call it with the settings of the labels (``Provenance.settings`` holds all four): it then repeats their h0 to
    rounding, so that H0 + ΔH is consistent between training and use.

    Raises:
        StructureError: an open shell, whose H has two spin blocks; or not a molecule.
        BasisError, EngineError: see ``pyscf_molecule`` and ``mean_field``.
    """
    if structure.spin:
        raise StructureError(
            f"{structure.formula} with {structure.spin} unpaired electrons",
            expected="a closed shell: one block of H for both spins",
            suggestion="learn energy and forces only for open shells",
        )
    field = mean_field(pyscf_molecule(structure, basis), xc, grid_level=grid_level, density_fit=density_fit)
    return operator_from_pyscf(h0_matrix(field) * HARTREE, structure, orbital_basis([structure], basis))


def h0_matrix(field: MeanField) -> npt.NDArray[np.float64]:
    """H0 in Hartree and PySCF's orbital order, shape (n_orb, n_orb), from one Fock build of a restricted field."""
    density = field.init_guess_by_minao()
    return np.asarray(field.get_hcore() + field.get_veff(dm=density))
