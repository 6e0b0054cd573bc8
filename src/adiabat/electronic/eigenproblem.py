"""The generalized eigenproblem H C = S C ε, in float64, for one matrix pair or a batch of them."""

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.electronic.linear_algebra import cholesky, eigh, eigvalsh, solve_triangular

LINEAR_DEPENDENCE: Final = 1e-8
"""Eigenvalue of S below which a combination of orbitals is dropped: rounding of H grows by its inverse."""

NEGATIVE_OVERLAP: Final = -1e-10
"""Eigenvalue of S below which S is wrong. A Gram matrix is never negative; integral rounding stays above this."""

HERMITICITY: Final = 1e-6
"""Largest |H − H†| relative to the largest |H|; beyond it half of the matrix contradicts the other half."""


@dataclass(frozen=True)
class Eigenstates:
    """Solutions of H C = S C ε.

    Attributes:
        energies: (…, n_orb) ε [unit of H], ascending; +∞ for each dropped combination of orbitals.
        coefficients: (…, n_orb, n_orb) columns C with C† S C = 1; zero for each dropped combination.
        smallest_overlap: (…,) λ_min(S). Errors of H reach the energies amplified by up to 1/λ_min.
        n_dropped: (…,) number of nearly dependent combinations of orbitals that were dropped.
    """

    energies: Float[Tensor, "*batch n_orb"]
    coefficients: Num[Tensor, "*batch n_orb n_orb"]
    smallest_overlap: Float[Tensor, "*batch"]
    n_dropped: Int[Tensor, "*batch"]


def solve_generalized(
    hamiltonian: Num[Tensor, "*batch n_orb n_orb"],
    overlap: Num[Tensor, "*batch n_orb n_orb"],
    *,
    linear_dependence: float = LINEAR_DEPENDENCE,
) -> Eigenstates:
    """Solve H C = S C ε.

    A well-conditioned S is factorized (Cholesky). If any S of the batch has an eigenvalue below
    ``linear_dependence`` the batch goes through canonical orthogonalization, which drops those combinations
    and counts them in ``n_dropped``. Energies are differentiable; coefficients only of non-degenerate states.

    Args:
        hamiltonian: H, real symmetric or complex Hermitian; single precision is raised to double.
        overlap: S, in the same layout.
        linear_dependence: smallest eigenvalue of S that is kept.

    Raises:
        ElectronicError: shapes that do not match, a matrix that is not Hermitian or not finite, or an S that
            is not positive.

    Source: [loewdin1970] for canonical orthogonalization.
    """
    hamiltonian, overlap = _double(hamiltonian), _double(overlap)
    _check_shapes(hamiltonian, overlap)
    check_hermitian(hamiltonian, "Hamiltonian")
    check_hermitian(overlap, "overlap")
    with torch.no_grad():
        eigenvalues = eigvalsh(overlap)
    smallest = eigenvalues[..., 0]
    check_positive(smallest)
    n_dropped = (eigenvalues < linear_dependence).sum(dim=-1)
    if n_dropped.any():
        energies, coefficients = _solve_canonical(hamiltonian, overlap, linear_dependence)
    else:
        energies, coefficients = _solve_cholesky(hamiltonian, overlap)
    return Eigenstates(energies, coefficients, smallest, n_dropped)


def _solve_cholesky(hamiltonian: Tensor, overlap: Tensor) -> tuple[Tensor, Tensor]:
    """With S = L L†: eigenpairs of L⁻¹ H L⁻†, and C = L⁻† U."""
    lower = cholesky(overlap)
    half = solve_triangular(lower, hamiltonian, upper=False)
    transformed = solve_triangular(lower, half.mH, upper=False)
    energies, vectors = eigh(transformed)
    return energies, solve_triangular(lower.mH, vectors, upper=True)


def _solve_canonical(hamiltonian: Tensor, overlap: Tensor, linear_dependence: float) -> tuple[Tensor, Tensor]:
    """With S = U s U†: eigenpairs of X† H X where X = U s^(−1/2) over the eigenvalues that are kept."""
    eigenvalues, vectors = eigh(overlap)
    kept = eigenvalues >= linear_dependence
    scale = torch.where(kept, eigenvalues, torch.ones_like(eigenvalues)).rsqrt() * kept
    basis = vectors * scale.unsqueeze(-2)
    transformed = basis.mH @ hamiltonian @ basis
    # Dropped rows are zero. Lifting them above the spectrum (the norm bounds it) sorts them last, so that a
    # batch whose members drop different numbers of combinations still fits one array.
    ceiling = 2.0 * transformed.detach().abs().square().sum(dim=(-2, -1)).sqrt() + 1.0
    transformed = transformed + torch.diag_embed(~kept * ceiling.unsqueeze(-1)).to(transformed.dtype)
    energies, rotation = eigh(transformed)
    n_kept = kept.sum(dim=-1, keepdim=True)
    is_state = torch.arange(energies.shape[-1], device=energies.device) < n_kept
    energies = torch.where(is_state, energies, torch.full_like(energies, torch.inf))
    return energies, (basis @ rotation) * is_state.unsqueeze(-2)


def _double(matrix: Tensor) -> Tensor:
    return matrix.to(torch.complex128 if matrix.is_complex() else torch.float64)


def _check_shapes(hamiltonian: Tensor, overlap: Tensor) -> None:
    if hamiltonian.shape != overlap.shape or hamiltonian.dim() < 2 or overlap.shape[-1] != overlap.shape[-2]:
        raise ElectronicError(
            f"H of shape {tuple(hamiltonian.shape)} and S of shape {tuple(overlap.shape)}",
            expected="two square matrices, or batches of them, of one shape",
            suggestion="take H and S from the same structure and basis",
        )


def check_hermitian(matrix: Num[Tensor, "*batch n_orb n_orb"], name: str) -> None:
    """Refuse a matrix whose two triangles disagree.

    Raises:
        ElectronicError: the matrix is not finite or not Hermitian.
    """
    detached = matrix.detach()
    if not bool(torch.isfinite(detached).all()):
        raise ElectronicError(
            f"a {name} with elements that are not finite",
            expected="finite matrix elements",
            suggestion="the model or the calculation that made it has diverged; do not use this structure",
        )
    difference = float((detached - detached.mH).abs().max())
    scale = float(detached.abs().max())
    if difference > HERMITICITY * scale:
        raise ElectronicError(
            f"a {name} with |M − M†| up to {difference:.3g}, its largest element being {scale:.3g}",
            expected=f"a Hermitian matrix, to {HERMITICITY:g} of its largest element",
            suggestion="symmetrize it as (M + M†)/2 if the difference is noise; else check the orbital order",
        )


def check_positive(smallest_overlap: Float[Tensor, "*batch"]) -> None:
    """Refuse an overlap with a negative eigenvalue.

    Raises:
        ElectronicError: λ_min(S) is below :data:`NEGATIVE_OVERLAP`.
    """
    smallest = float(smallest_overlap.min())
    if smallest < NEGATIVE_OVERLAP:
        raise ElectronicError(
            f"an overlap that is not positive definite, λ_min(S) = {smallest:.3g}",
            expected=f"λ_min(S) of at least {NEGATIVE_OVERLAP:g}: an overlap is a Gram matrix",
            suggestion="check that S is exact, untruncated and in the orbital order of H, and that no atoms overlap",
        )
