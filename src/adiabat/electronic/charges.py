"""Partial charges of atoms from a density matrix."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from adiabat.electronic.eigenproblem import check_hermitian, check_positive
from adiabat.electronic.linear_algebra import eigh


def mulliken_charges(
    density_matrix: Float[Tensor, "*batch n_orb n_orb"],
    overlap: Float[Tensor, "*batch n_orb n_orb"],
    orbital_atoms: Int[Tensor, " n_orb"],
    nuclear_charges: Float[Tensor, "*batch n_atoms"],
) -> Float[Tensor, "*batch n_atoms"]:
    """Charge of each atom, q_A = Z_A − Σ_{μ∈A} (D S)_μμ.

    Args:
        density_matrix: D, spin-summed.
        overlap: S.
        orbital_atoms: atom that each orbital sits on.
        nuclear_charges: Z [e], less the electrons of an effective core potential.

    Returns: q [e]; they add up to the total charge.

    Source: [mulliken1955].
    """
    populations = (density_matrix * overlap).sum(dim=-1)
    return _nuclear_minus_electronic(populations, orbital_atoms, nuclear_charges)


def loewdin_charges(
    density_matrix: Float[Tensor, "*batch n_orb n_orb"],
    overlap: Float[Tensor, "*batch n_orb n_orb"],
    orbital_atoms: Int[Tensor, " n_orb"],
    nuclear_charges: Float[Tensor, "*batch n_atoms"],
) -> Float[Tensor, "*batch n_atoms"]:
    """Charge of each atom, q_A = Z_A − Σ_{μ∈A} (S^½ D S^½)_μμ.

    Arguments and result are those of :func:`mulliken_charges`. The result is differentiable with respect to
    D; with respect to S only where its eigenvalues are distinct.

    Raises:
        ElectronicError: S is not Hermitian or not positive.

    Source: [loewdin1950].
    """
    root = _square_root(overlap)
    populations = torch.diagonal(root @ density_matrix @ root, dim1=-2, dim2=-1)
    return _nuclear_minus_electronic(populations, orbital_atoms, nuclear_charges)


def _square_root(overlap: Tensor) -> Tensor:
    check_hermitian(overlap, "overlap")
    eigenvalues, vectors = eigh(overlap)
    check_positive(eigenvalues.detach()[..., 0])
    return (vectors * eigenvalues.clamp(min=0.0).sqrt().unsqueeze(-2)) @ vectors.mT


def _nuclear_minus_electronic(populations: Tensor, orbital_atoms: Tensor, nuclear_charges: Tensor) -> Tensor:
    return nuclear_charges.to(populations.dtype).index_add(-1, orbital_atoms, -populations)
