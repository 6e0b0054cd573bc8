"""Posterior of the weights of a linear model, which every last layer is.

With rows φ̃ = φ/σ, each divided by the standard deviation of its label's noise, and labels ỹ = y/σ:

    p(w | data) = N(w̄, Λ⁻¹),   Λ = diag(α) + Σ φ̃ φ̃ᵀ,   w̄ = Λ⁻¹ Σ φ̃ ỹ

It stands here, below `uncertainty`, so that models which are linear themselves can be fitted by it.
Source: [bishop2006] sections 3.3 and 3.5.
"""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from adiabat.core.errors import ModelError

_MAX_ITERATIONS: Final = 200
_TOLERANCE: Final = 1e-8


class Posterior:
    """A Gaussian over n weights, held as the Cholesky factor L of its precision, Λ = L Lᵀ; immutable.

    Attributes:
        factor: (n, n) lower triangular L, float64.
    """

    def __init__(self, factor: Float[Tensor, "n n"]) -> None:
        self.factor = factor.double()

    @classmethod
    def from_precision(cls, precision: Float[Tensor, "n n"]) -> "Posterior":
        """Factorize Λ.

        Raises:
            ModelError: Λ is not positive definite.
        """
        factor, info = torch.linalg.cholesky_ex(precision.double())
        if int(info):
            raise ModelError(
                f"a precision of {len(precision)} weights whose leading minor of order {int(info)} is not positive",
                expected="a positive definite matrix: a prior greater than zero, and rows that are numbers",
                suggestion="raise the prior's precision, and check the features for NaN",
            )
        return cls(factor)

    @classmethod
    def from_rows(cls, rows: Float[Tensor, "n_rows n"], prior: float | Float[Tensor, " n"]) -> "Posterior":
        """Posterior after labels at ``rows``.

        Args:
            rows: φ̃, each divided by the standard deviation of its label's noise.
            prior: α, precision of the weights before any label, one for all or one each.
        """
        rows = rows.double()
        return cls.from_precision(rows.mT @ rows + _diagonal(prior, rows.shape[1]).to(rows.device))

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.factor.shape[0]

    @property
    def precision(self) -> Float[Tensor, "n n"]:
        """Λ."""
        return self.factor @ self.factor.mT

    @property
    def log_determinant(self) -> Tensor:
        """The logarithm of det Λ; half of its growth is the information that new rows bring, in nats."""
        return 2 * self.factor.diagonal().log().sum()

    def to(self, device: torch.device | str) -> "Posterior":
        """The same on another device."""
        return self if self.factor.device == torch.device(device) else Posterior(self.factor.to(device))

    def mean(self, moment: Float[Tensor, " n *k"]) -> Float[Tensor, " n *k"]:
        """w̄ = Λ⁻¹ b for b = Σ φ̃ ỹ, one column or several."""
        columns = moment.double().unsqueeze(-1) if moment.ndim == 1 else moment.double()
        solved = torch.cholesky_solve(columns, self.factor)
        return solved.squeeze(-1) if moment.ndim == 1 else solved

    def whitened(self, rows: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
        """L⁻¹ φ of each row, whose inner products are covariances: φᵀ Λ⁻¹ φ' = (L⁻¹ φ)·(L⁻¹ φ')."""
        flat = rows.double().reshape(-1, self.size)
        return torch.linalg.solve_triangular(self.factor, flat.mT, upper=False).mT.reshape(rows.shape)

    def variance(self, rows: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows"]:
        """φᵀ Λ⁻¹ φ of each row: the variance of φ·w, noise not counted."""
        return self.whitened(rows).square().sum(-1)

    def leverage(self, rows: Float[Tensor, "*rows n"], noise: float | Float[Tensor, "*rows"] = 1.0) -> Tensor:
        """φ̃ᵀ Λ⁻¹ φ̃: how much a label at each row would tell, or, where it is among the labels, has told (at most 1).

        Args:
            rows: φ, not divided by the noise.
            noise: standard deviation σ of their labels.
        """
        return self.variance(rows) / torch.as_tensor(noise, dtype=torch.float64, device=self.factor.device) ** 2

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n_samples n"]:
        """Draws of w − w̄, one a row: L⁻ᵀ z with z standard normal."""
        normal = torch.randn(self.size, n, generator=generator, dtype=torch.float64).to(self.factor.device)
        return torch.linalg.solve_triangular(self.factor.mT, normal, upper=True).mT

    def update(self, rows: Float[Tensor, "n_rows n"]) -> "Posterior":
        """The posterior after more labels, at ``rows`` φ̃, each divided by its noise; those before are kept."""
        rows = rows.double().reshape(-1, self.size)
        return Posterior.from_precision(self.precision + rows.mT @ rows)


def evidence_prior(
    gram: Float[Tensor, "n n"], weights: Float[Tensor, "n k"], *, smallest: float = 1e-10
) -> tuple[float, float]:
    """The prior precision under which the weights are most plausible, by MacKay's fixed point.

        α = k γ / Σ w²,   γ = Σ_i λ_i / (λ_i + α),   λ the eigenvalues of Σ φ̃ φ̃ᵀ

    Args:
        gram: Σ φ̃ φ̃ᵀ over rows divided by their noise.
        weights: k columns of weights that share the gram matrix, each in units of the noise that its rows have.
        smallest: of α, relative to the mean of λ; keeps Λ positive where a feature is never seen.

    Returns: α, and γ, the number of weights that the data determine.

    Source: [mackay1992]; [bishop2006] eq. 3.92.
    """
    eigenvalues = torch.linalg.eigvalsh(gram.double()).clamp(min=0)
    floor = smallest * max(float(eigenvalues.mean()), torch.finfo(torch.float64).tiny)
    squares = float(weights.double().square().sum())
    n_columns = weights.shape[1] if weights.ndim == 2 else 1
    alpha = max(floor, len(gram) * n_columns / squares) if squares else float(eigenvalues.mean()) + floor
    determined = float((eigenvalues / (eigenvalues + alpha)).sum())
    for _ in range(_MAX_ITERATIONS if squares else 0):
        before = alpha
        alpha = max(floor, n_columns * determined / squares)
        determined = float((eigenvalues / (eigenvalues + alpha)).sum())
        if abs(alpha - before) < _TOLERANCE * before:
            break
    return alpha, determined


def _diagonal(prior: float | Tensor, n: int) -> Tensor:
    return torch.as_tensor(prior, dtype=torch.float64).expand(n).diag()
