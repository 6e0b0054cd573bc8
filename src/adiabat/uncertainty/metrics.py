"""How good predicted standard deviations are: calibrated, sharp, and largest where the errors are.

All functions take errors e = predicted − reference and standard deviations σ of the same shape, unit and order, and
read them as e ~ N(0, σ²) where a distribution is needed.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from scipy.stats import norm, rankdata

COVERAGES: Final = (0.5, 0.6827, 0.9, 0.95)
"""Levels at which coverage is quoted; the second is one standard deviation."""

Array = npt.NDArray[np.float64]


def standardised(errors: Array, sigmas: Array) -> Array:
    """e/σ; without an error 0 whatever σ, and infinite for an error where σ is zero."""
    safe = np.where(sigmas > 0, sigmas, 1.0)
    return np.where(sigmas > 0, errors / safe, np.where(errors == 0, 0.0, np.copysign(np.inf, errors)))


def coverage(errors: Array, sigmas: Array, level: float, half_width: float | None = None) -> float:
    """Share of errors within the interval about the mean that is to hold a share ``level`` of them.

    Args:
        errors: (n,).
        sigmas: (n,).
        level: in (0, 1).
        half_width: of the interval in σ, if not that of a normal distribution.
    """
    width = norm.ppf(0.5 + level / 2) if half_width is None else half_width
    return float((np.abs(standardised(errors, sigmas)) <= width).mean())


def reliability_curve(errors: Array, sigmas: Array, levels: Array) -> Array:
    """Observed :func:`coverage` for each level; the diagonal is perfect, below it the model is overconfident."""
    scores = np.sort(np.abs(standardised(errors, sigmas)))
    return np.searchsorted(scores, norm.ppf(0.5 + levels / 2), side="right") / len(scores)


def miscalibration_area(errors: Array, sigmas: Array) -> float:
    """∫₀¹ |observed − p| dp of the reliability curve: 0 is perfect, ½ the worst.

    Source: [tran2020].
    """
    return float(np.abs(_gaps(errors, sigmas)).mean())


def overconfidence(errors: Array, sigmas: Array) -> float:
    """∫₀¹ (p − observed) dp: positive where σ is too small on the whole, negative where it is too large."""
    return float(_gaps(errors, sigmas).mean())


def _gaps(errors: Array, sigmas: Array, n_levels: int = 1000) -> Array:
    levels = (np.arange(n_levels) + 0.5) / n_levels
    return levels - reliability_curve(errors, sigmas, levels)


def gaussian_crps(errors: Array, sigmas: Array) -> Array:
    """Continuous ranked probability score ∫ (F(x) − 1[x ≥ truth])² dx of each value, in the unit of the errors.

        σ [z (2Φ(z) − 1) + 2φ(z) − 1/√π],   z = e/σ;   |e| where σ = 0

    It rewards small errors, small σ and agreement of the two at once. Source: [gneiting2007].
    """
    z = errors / np.where(sigmas > 0, sigmas, 1.0)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    score = sigmas * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))
    return np.where(sigmas > 0, score, np.abs(errors))


def negative_log_likelihood(errors: Array, sigmas: Array) -> Array:
    """½ log 2πσ² + ½ z² of each value; its zero depends on the unit. Infinite where σ is zero."""
    safe = np.where(sigmas > 0, sigmas, 1.0)
    return np.where(sigmas > 0, 0.5 * np.log(2 * np.pi * safe**2) + 0.5 * (errors / safe) ** 2, np.inf)


def sharpness(sigmas: Array) -> float:
    """Root mean square σ: what is claimed, whatever the errors. Source: [tran2020]."""
    return float(np.sqrt(np.square(sigmas).mean()))


def rank_correlation(errors: Array, sigmas: Array) -> float | None:
    """Spearman's correlation of |e| with σ: whether large σ points at large errors. None where either is constant."""
    absolute = np.abs(errors)
    if len(absolute) < 2 or np.ptp(absolute) == 0 or np.ptp(sigmas) == 0:
        return None
    return float(np.corrcoef(rankdata(absolute), rankdata(sigmas))[0, 1])


def expected_rank_correlation(sigmas: Array, seed: int = 0) -> float | None:
    """:func:`rank_correlation` of errors drawn from N(0, σ²): even a perfect σ does not foretell each error's size.

    The mean over so many draws that a few thousand values enter.
    """
    random = np.random.default_rng(seed)
    n_draws = int(np.clip(5000 // max(len(sigmas), 1), 1, 100))
    drawn = [rank_correlation(random.normal(size=len(sigmas)) * sigmas, sigmas) for _ in range(n_draws)]
    known = [value for value in drawn if value is not None]
    return float(np.mean(known)) if known else None


def binned_calibration(errors: Array, sigmas: Array, n_bins: int = 10) -> tuple[Array, Array]:
    """Root mean square σ and root mean square error of bins of equal count, sorted by σ; at most one bin a value."""
    order = np.array_split(np.argsort(sigmas, kind="stable"), min(n_bins, len(sigmas)))
    roots = [[np.sqrt(np.square(values[part]).mean()) for part in order] for values in (sigmas, errors)]
    return np.array(roots[0]), np.array(roots[1])


def expected_normalized_calibration_error(errors: Array, sigmas: Array, n_bins: int = 10) -> float:
    """ENCE: mean over bins of |rms σ − rms error| / rms σ, which sees what overconfidence here hides there.

    Source: [levi2022].
    """
    said, found = binned_calibration(errors, sigmas, n_bins)
    return float((np.abs(said - found) / np.where(said > 0, said, np.finfo(float).tiny)).mean())


def coverages(errors: Array, sigmas: Array, half_widths: Mapping[float, float]) -> dict[float, float]:
    """:func:`coverage` at each level, given the half width in σ of its interval."""
    return {level: coverage(errors, sigmas, level, width) for level, width in half_widths.items()}


def grouped_root_mean_squares(values: Array, group: npt.NDArray[np.int64]) -> Array:
    """(n_groups,) root mean square of the values of each group, such as all force components of an atom."""
    _, member = np.unique(group, return_inverse=True)
    counts = np.bincount(member)
    return np.sqrt(np.bincount(member, weights=np.square(values)) / counts)


def normal_half_widths(levels: Sequence[float] = COVERAGES) -> dict[float, float]:
    """Half widths in σ of the central intervals of a normal distribution."""
    return {level: float(norm.ppf(0.5 + level / 2)) for level in levels}
