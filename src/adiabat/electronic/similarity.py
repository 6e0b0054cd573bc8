"""How alike two sets of orbitals are."""

import torch
from jaxtyping import Float
from torch import Tensor

from adiabat.core.errors import ElectronicError

DEGENERACY = 1e-3
"""eV; reference orbitals nearer than this are compared as a subspace, since any mixture of them is as good."""


def orbital_similarity(
    predicted_coefficients: Float[Tensor, "n_orb n_orb"],
    reference_coefficients: Float[Tensor, "n_orb n_orb"],
    reference_energies: Float[Tensor, " n_orb"],
    overlap: Float[Tensor, "n_orb n_orb"],
    n_occupied: int,
    *,
    degeneracy: float = DEGENERACY,
) -> Float[Tensor, " n_occupied"]:
    """Overlap |⟨ψ_pred|ψ_ref⟩| of each occupied orbital with its counterpart.

    Orbitals degenerate in the reference (neighbors within ``degeneracy``) are compared as a subspace: the
    length of ψ_ref's projection on the span of its predicted group. The sign of an orbital has no meaning.

    Args:
        predicted_coefficients: columns C with Cᵀ S C = 1, in order of energy.
        reference_coefficients: the same of the reference.
        reference_energies: ε of the reference [eV], ascending.
        overlap: S.
        n_occupied: how many of the lowest orbitals to compare.
        degeneracy: energy difference [eV] that counts as none.

    Returns: a number from 0 to 1 for each occupied orbital; 1 is the same orbital.

    Raises:
        ElectronicError: ``n_occupied`` is not between 1 and the number of orbitals.
    """
    if not 1 <= n_occupied <= reference_coefficients.shape[-1]:
        raise ElectronicError(
            f"{n_occupied} occupied orbitals of {reference_coefficients.shape[-1]}",
            expected="at least one, and no more than there are",
            suggestion="pass half the number of electrons",
        )
    predicted = predicted_coefficients[:, :n_occupied]
    reference = reference_coefficients[:, :n_occupied]
    products = (predicted.mT @ overlap @ reference).square()
    steps = torch.diff(reference_energies[:n_occupied]) > degeneracy
    group = torch.cat([steps.new_zeros(1, dtype=torch.int64), steps.cumsum(dim=0)])
    same_group = group.unsqueeze(0) == group.unsqueeze(1)
    return (products * same_group).sum(dim=0).sqrt()


def coefficient_cosine(
    predicted_coefficients: Float[Tensor, "n_orb n_orb"],
    reference_coefficients: Float[Tensor, "n_orb n_orb"],
    n_occupied: int,
) -> Float[Tensor, " n_occupied"]:
    """Cosine |c_pred·c_ref| / (|c_pred| |c_ref|) of each occupied orbital's coefficient vector.

    The measure in which Hamiltonian models are published. Unlike :func:`orbital_similarity` it leaves the
    overlap out and punishes rotations among degenerate orbitals.

    Args:
        predicted_coefficients: columns C, in order of energy.
        reference_coefficients: the same of the reference.
        n_occupied: how many of the lowest orbitals to compare.

    Source: [yu2023qhnet] ψ similarity.
    """
    predicted = predicted_coefficients[:, :n_occupied]
    reference = reference_coefficients[:, :n_occupied]
    cosine: Tensor = torch.nn.functional.cosine_similarity(predicted, reference, dim=0)
    return cosine.abs()
