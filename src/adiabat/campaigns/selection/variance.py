"""Variance reduction: choose what makes the forces on a set of targets most certain, not what is itself uncertain.

With forces linear in weights, f = Φ w + noise, w ~ N(0, C), a label of the rows Φ_c changes the mean variance of the
targets' forces, tr(C M) with M = mean φ φᵀ, by

    gain(c) = tr[(σ² 1 + Φ_c C Φ_cᵀ)⁻¹ Φ_c C M C Φ_cᵀ]        C ← C − C Φ_cᵀ (σ² 1 + Φ_c C Φ_cᵀ)⁻¹ Φ_c C

An outlier is uncertain but says little about others, so it is not taken: that is what distinguishes this design from
the choice of the most uncertain. It is the sequential, Bayesian form of V-optimal (integrated-variance) design.

Source: [mackay1992], [chaloner1995], [yu2006].
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

FloatArray = npt.NDArray[np.float64]

_FRESH_AT_ONCE = 16
"""Candidates whose gains are found anew together."""


class VarianceDesign:
    """The covariance of the weights, and what each further label would do to the targets' variance.

    Args:
        targets: (n_rows, n_features) force rows whose variance is to fall.
        prior: (n_features,) variances of the weights beforehand, or (n_features, n_features) their covariance.
        noise: σ², variance of a force label where no other is given, in the unit of ``targets`` · √prior, squared.
    """

    def __init__(self, targets: FloatArray, prior: FloatArray, noise: float) -> None:
        self.moment = targets.T @ targets / len(targets)
        self.covariance = np.array(np.diag(prior) if prior.ndim == 1 else prior, dtype=np.float64)
        self.noise = noise

    @property
    def mean_variance(self) -> float:
        """Mean variance of a target row, tr(C M)."""
        return float(np.vdot(self.covariance, self.moment))

    def add(self, rows: FloatArray, noise: float | None = None) -> None:
        """Take in labelled rows (n, n_features), of another σ² if given."""
        if not len(rows):
            return
        noise = self.noise if noise is None else noise
        if len(rows) > len(self.covariance):
            # Through the information matrix, whose size does not grow with the rows.
            half = np.linalg.cholesky(
                self.covariance + 1e-15 * np.trace(self.covariance) * np.eye(len(self.covariance))
            )
            inner = np.eye(len(half)) + half.T @ (rows.T @ rows) @ half / noise
            self.covariance = half @ cho_solve(cho_factor(inner, lower=True), half.T)
        else:
            cross = rows @ self.covariance
            inner = cross @ rows.T + noise * np.eye(len(rows))
            self.covariance = self.covariance - cross.T @ cho_solve(cho_factor(inner, lower=True), cross)
        self.covariance = (self.covariance + self.covariance.T) / 2

    def gain(self, rows: FloatArray) -> float:
        """How much a label of these rows would lower the mean variance of the targets."""
        return float(self.gains([rows])[0])

    def gains(self, candidates: Sequence[FloatArray], noises: Sequence[float] | None = None) -> FloatArray:
        """:meth:`gain` of several candidates, each of its own σ² if given."""
        weighted = self.covariance @ self.moment @ self.covariance
        noises = [self.noise] * len(candidates) if noises is None else noises
        return np.array([self._gain(*each, weighted) for each in zip(candidates, noises, strict=True)])

    def _gain(self, rows: FloatArray, noise: float, weighted: FloatArray) -> float:
        inner = rows @ self.covariance @ rows.T + noise * np.eye(len(rows))
        return float(np.trace(cho_solve(cho_factor(inner, lower=True), rows @ weighted @ rows.T)))


def choose_by_variance(design: VarianceDesign, candidates: Sequence[FloatArray], n: int) -> list[int]:
    """Greedily take the candidate of the largest gain, and let the design know.

    Gains fall as labels come in, with rare exceptions, so an old gain bounds the new one: those that lead by their old
    gains are found anew, a block at a time, until the best of them beats every old gain that is left.

    Args:
        design: knows the targets and what is labelled; it takes in what is chosen.
        candidates: (n_rows, n_features) each.
        n: number to take.

    Returns: indices in the order of choice.
    """
    bounds = design.gains(candidates)
    chosen: list[int] = []
    for _ in range(n):
        best = _best(design, candidates, bounds, fresh=not chosen)
        chosen.append(best)
        design.add(candidates[best])
        bounds[best] = -np.inf
    return chosen


def _best(design: VarianceDesign, candidates: Sequence[FloatArray], bounds: FloatArray, *, fresh: bool) -> int:
    if fresh:
        return int(bounds.argmax())
    order = np.argsort(-bounds, kind="stable")
    leader = -1
    for start in range(0, len(order), _FRESH_AT_ONCE):
        block = order[start : start + _FRESH_AT_ONCE]
        block = block[np.isfinite(bounds[block])]
        if not len(block) or (leader >= 0 and bounds[leader] >= bounds[block[0]]):
            break
        bounds[block] = design.gains([candidates[index] for index in block])
        best = int(block[bounds[block].argmax()])
        leader = best if leader < 0 or bounds[best] > bounds[leader] else leader
    return leader
