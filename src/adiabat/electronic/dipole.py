"""Dipole moment of a molecule from its density matrix."""

import torch
from jaxtyping import Float
from torch import Tensor


def dipole_moment(
    density_matrix: Float[Tensor, "*batch n_orb n_orb"],
    position_integrals: Float[Tensor, "*batch 3 n_orb n_orb"],
    nuclear_charges: Float[Tensor, "*batch n_atoms"],
    positions: Float[Tensor, "*batch n_atoms 3"],
) -> Float[Tensor, "*batch 3"]:
    """Dipole moment p = Σ_A Z_A R_A − Tr(D r), pointing from negative to positive charge.

    For a charged molecule it depends on the origin, which is that of ``positions`` and of the integrals.

    Args:
        density_matrix: D, spin-summed.
        position_integrals: ⟨μ|r|ν⟩ [Å].
        nuclear_charges: Z [e], less the electrons of an effective core potential.
        positions: R [Å].

    Returns: p [e·Å].
    """
    electronic = torch.einsum("...xmn,...nm->...x", position_integrals, density_matrix)
    nuclear = torch.einsum("...a,...ax->...x", nuclear_charges.to(positions.dtype), positions)
    return nuclear - electronic
