"""Learning-curve prediction: how many more labels until the error is what is wanted, or that the data cannot tell.

    ln error = ln(a N^−b + c) + scatter

A power law with a floor, and a posterior over its three numbers on a grid: b uniform, c uniform from zero to the
smallest error, ln a uniform, scatter unknown. What follows, such as the N of a wanted error, is then an interval.

Source: [cortes1993] for the form; [gelman2013] sec. 3.2 for the scatter's marginal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import ConfigError, TrainingError

FloatArray = npt.NDArray[np.float64]

_EXPONENTS: Final = np.linspace(0.05, 2.0, 66)
_FLOORS: Final = np.linspace(0, 0.995, 50)
_SCALES: Final = np.linspace(-0.5, 0.5, 51)
"""ln a about its best value, for each exponent and floor."""
_SCATTER: Final = 0.05
"""Relative scatter of an error between seeds that is believed before any is seen, worth as much as four points."""
_PRIOR_POINTS: Final = 4
_WIDEST: Final = 10.0
"""An interval whose ends differ by more than this factor is no answer."""
_UNREACHABLE: Final = 0.05


@dataclass(frozen=True)
class Interval:
    """The median, and the ends of the central 90 %."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """A posterior over curves, as weighted samples.

    Attributes:
        n_labels: (n_points,) sizes that it was fitted to.
        errors: (n_points,) in any unit.
        scale: (n_samples,) a, in that unit.
        exponent: (n_samples,) b.
        floor: (n_samples,) c, in that unit.
        weights: (n_samples,) posterior, sums to one.
    """

    n_labels: FloatArray
    errors: FloatArray
    scale: FloatArray
    exponent: FloatArray
    floor: FloatArray
    weights: FloatArray

    def error_at(self, n_labels: float) -> Interval:
        """Error expected of that many labels."""
        return _interval(self.scale * n_labels**-self.exponent + self.floor, self.weights)

    def labels_for(self, error: float) -> Interval:
        """Labels needed for an error, those that are there already counted in.

        Raises:
            TrainingError: the data cannot tell: the floor may lie above, or the interval is wider than tenfold.
        """
        reached = self.floor < error
        unreachable = float(self.weights[~reached].sum())
        if unreachable > _UNREACHABLE:
            raise TrainingError(
                f"{len(self.errors)} errors at N = {_list(self.n_labels)}, by which {error:g} lies below the floor "
                f"with probability {unreachable:.0%}",
                expected=f"a floor below {error:g} with at least {1 - _UNREACHABLE:.0%}",
                suggestion=f"add a run with more than {self.n_labels.max():.0f} labels, several seeds at each N, or "
                "ask for a larger error; a larger model or longer training lowers the floor",
            )
        safe = np.where(reached, error - self.floor, np.nan)
        needed = np.where(reached, np.exp(np.log(self.scale / safe) / self.exponent), np.inf)
        found = _interval(needed, self.weights)
        if not found.high < _WIDEST * found.low:
            raise TrainingError(
                f"{len(self.errors)} errors at N = {_list(self.n_labels)}, by which {error:g} needs between "
                f"{found.low:.0f} and {found.high:.3g} labels",
                expected=f"an interval whose ends differ by less than a factor of {_WIDEST:g}",
                suggestion="add runs at other N, above all larger ones, and several seeds at each",
            )
        return found


def fit_learning_curve(n_labels: Sequence[float], errors: Sequence[float]) -> LearningCurve:
    """Fit a power law with a floor.

    Args:
        n_labels: training-set size of each run; sizes may repeat, for several seeds.
        errors: error of each run, positive, on one test set and in one unit.

    Raises:
        ConfigError: fewer than three different sizes, or numbers that cannot be sizes or errors.
    """
    sizes, values = np.asarray(n_labels, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    _check(sizes, values)
    exponent, share = np.meshgrid(_EXPONENTS, _FLOORS, indexing="ij")
    floor = share.ravel() * values.min()
    exponent = exponent.ravel()
    # The best ln a of each exponent and floor by Newton's method on the logarithmic residuals, then a range about it.
    start = np.log(np.maximum(values - floor[:, None], 1e-3 * values)) + exponent[:, None] * np.log(sizes)
    ln_scale = np.median(start, axis=1)
    for _ in range(30):
        power = np.exp(ln_scale[:, None] - exponent[:, None] * np.log(sizes))
        slope = power / (power + floor[:, None])
        residual = np.log(values) - np.log(power + floor[:, None])
        ln_scale = ln_scale + np.clip((slope * residual).sum(1) / (slope**2).sum(1), -1, 1)
    ln_scale, exponent, floor = (
        (ln_scale[:, None] + _SCALES).ravel(),
        np.repeat(exponent, len(_SCALES)),
        np.repeat(floor, len(_SCALES)),
    )
    squares = np.zeros(len(ln_scale))
    for size, value in zip(sizes, values, strict=True):
        squares += (np.log(value) - np.log(np.exp(ln_scale - exponent * np.log(size)) + floor)) ** 2
    log_weight = -0.5 * (len(values) + _PRIOR_POINTS) * np.log(squares + _PRIOR_POINTS * _SCATTER**2)
    weights = np.exp(log_weight - log_weight.max())
    kept = weights > 1e-9 * weights.max()
    weights = weights[kept] / weights[kept].sum()
    return LearningCurve(sizes, values, np.exp(ln_scale[kept]), exponent[kept], floor[kept], weights)


def _check(sizes: FloatArray, values: FloatArray) -> None:
    if sizes.shape != values.shape or not (np.isfinite(sizes).all() and np.isfinite(values).all()):
        raise ConfigError(
            f"{len(sizes)} sizes and {len(values)} errors, not all of them numbers",
            expected="one finite error for each size",
            suggestion="leave failed runs out",
        )
    if len(np.unique(sizes)) < 3 or (sizes < 1).any() or (values <= 0).any():
        raise ConfigError(
            f"errors {_list(values)} at N = {_list(sizes)}",
            expected="positive errors at three different sizes or more, which a slope and a floor need",
            suggestion="train at another size; half and twice the present one tell most",
        )


def _interval(values: FloatArray, weights: FloatArray) -> Interval:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    low, median, high = (float(values[order][min(np.searchsorted(cumulative, q), len(order) - 1)])
                         for q in (0.05, 0.5, 0.95))  # fmt: skip
    return Interval(median, low, high)


def _list(values: FloatArray) -> str:
    return ", ".join(f"{value:g}" for value in values)
