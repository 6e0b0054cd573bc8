"""The typed border to ``torch.linalg``, which ships without annotations."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import torch
from jaxtyping import Float, Num
from torch import Tensor


def eigh(matrix: Num[Tensor, "*batch n n"]) -> tuple[Float[Tensor, "*batch n"], Num[Tensor, "*batch n n"]]:
    """Eigenvalues, ascending, and eigenvectors, in columns, of a Hermitian matrix."""
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    return eigenvalues, vectors


def eigvalsh(matrix: Num[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n"]:
    """Eigenvalues of a Hermitian matrix, ascending."""
    return torch.linalg.eigvalsh(matrix)


def cholesky(matrix: Num[Tensor, "*batch n n"]) -> Num[Tensor, "*batch n n"]:
    """Lower triangle L with L L† equal to a positive definite matrix."""
    return torch.linalg.cholesky(matrix)


def solve_triangular(
    triangle: Num[Tensor, "*batch n n"], right: Num[Tensor, "*batch n m"], *, upper: bool
) -> Num[Tensor, "*batch n m"]:
    """X with triangle · X = right."""
    return torch.linalg.solve_triangular(triangle, right, upper=upper)
