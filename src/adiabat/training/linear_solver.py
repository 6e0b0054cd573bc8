"""The mean of the posterior of a linear fit, over rows that come structure by structure.

In u = w/s, where s are the prior's standard deviations, and with rows φ̃ = s φ/σ:

    few rows:     u = Φ̃ᵀ (1 + Φ̃ Φ̃ᵀ)⁻¹ ỹ         memory n_rows × n_weights, n_rows ≤ n_weights
    many rows:    u = (1 + Φ̃ᵀ Φ̃)⁻¹ Φ̃ᵀ ỹ         memory n_weights²

Both are exact and the same; rows are float64 throughout.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, get_blas_funcs, solve_triangular

from adiabat.models.linear_system import LabelledRows

Array = npt.NDArray[np.float64]

_ROWS_AT_ONCE = 1024
"""Rows that are gathered before they are multiplied: large products run near the processor's speed."""


class RidgeSolver:
    """Takes rows in, and solves for any prior and level of noise.

    The noise's ratios between kinds of labels are fixed at the start; their common factor is free.

    Args:
        n_weights: number of weights.
        n_rows: number of rows that will come, which decides how they are kept.
        noise: (3,) standard deviations by kind, up to a common factor.
    """

    def __init__(self, n_weights: int, n_rows: int, noise: Array) -> None:
        self.noise = noise
        self.few_rows = n_rows <= n_weights
        self._waiting: list[Array] = []
        self._labels: list[Array] = []
        self._rows: list[Array] = []
        self._gram = np.zeros((0, 0) if self.few_rows else (n_weights, n_weights), order="F")
        self._moment = np.zeros(n_weights)

    def add(self, part: LabelledRows) -> None:
        """Take in one structure's rows."""
        weights = 1 / self.noise[part.kinds]
        rows, labels = part.rows * weights[:, None], part.labels * weights
        if self.few_rows:
            self._rows.append(rows)
            self._labels.append(labels)
            return
        self._moment += rows.T @ labels
        self._waiting.append(rows)
        if sum(len(waiting) for waiting in self._waiting) >= _ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            # Half of a symmetric product, in place: only the upper triangle is kept.
            rows = np.concatenate(self._waiting)
            (product,) = get_blas_funcs(("syrk",), dtype=np.float64)
            self._gram = product(1.0, rows.T, beta=1.0, c=self._gram, overwrite_c=True)
            self._waiting.clear()

    def solve(self, prior: Array, noise_factor: float = 1.0) -> "Solution":
        """The posterior's mean.

        Args:
            prior: (n_weights,) standard deviations; a weight of prior zero stays zero.
            noise_factor: what the noise given at the start is multiplied by.
        """
        if self.few_rows:
            rows = np.concatenate(self._rows) * (prior / noise_factor)
            covariance = rows @ rows.T
            covariance[np.diag_indices(len(covariance))] += 1
            factor = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
            labels = np.concatenate(self._labels) / noise_factor
            weights = prior * (rows.T @ cho_solve((factor, True), labels, check_finite=False))
            return Solution(weights, prior, factor, rows)
        self._flush()
        precision = self._gram * prior
        precision *= (prior / noise_factor**2)[:, None]
        precision[np.diag_indices(len(precision))] += 1
        factor = cholesky(precision, lower=False, overwrite_a=True, check_finite=False)
        moment = prior * self._moment / noise_factor**2
        return Solution(prior * cho_solve((factor, False), moment, check_finite=False), prior, factor, None)


@dataclass(frozen=True, eq=False)
class Solution:
    """Weights, and what their covariance can be had from.

    Attributes:
        weights: (n_weights,) the posterior's mean.
        prior: (n_weights,) standard deviations before any label.
        factor: Cholesky factor of 1 + Φ̃ Φ̃ᵀ (lower) with few rows, of 1 + Φ̃ᵀ Φ̃ (upper) with many.
        rows: Φ̃ with few rows.
    """

    weights: Array
    prior: Array
    factor: Array
    rows: Array | None

    def variance(self, rows: Array) -> Array:
        """φᵀ Λ⁻¹ φ of each row."""
        scaled = rows * self.prior
        if self.rows is None:
            return np.square(solve_triangular(self.factor, scaled.T, trans=1, check_finite=False)).sum(0)
        known = solve_triangular(self.factor, self.rows @ scaled.T, lower=True, check_finite=False)
        return np.square(scaled).sum(1) - np.square(known).sum(0)
