"""A Bayesian linear model of all labels of a data set, and exact answers to what it would be without a frame.

    w | data ~ N(w̄, C),   C = (1/τ + Σ_b Φ_bᵀ N_b⁻¹ Φ_b)⁻¹,   w̄ = C Σ_b Φ_bᵀ N_b⁻¹ y_b

With e_b = y_b − Φ_b w̄ and V_b = N_b − Φ_b C Φ_bᵀ, leaving frame b out gives

    residual   y_b − Φ_b w̄₋b = N_b V_b⁻¹ e_b      of covariance N_b V_b⁻¹ N_b
    weights    w̄₋b = w̄ − C Φ_bᵀ V_b⁻¹ e_b

for all labels of the frame at once: nothing is fitted again.

Source: [cook1982] ch. 3; [allen1974].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.campaigns.curation.label_rows import LabelRows

FloatArray = npt.NDArray[np.float64]

_PRIORS: Final = 10.0 ** np.arange(-3, 5)
"""τ tried, in the unit of the labels' variance over that of a force row."""
_ENERGY_LEVER: Final = 0.1
"""Å: noise of an energy over the root of its number of atoms and that of a force, before either is known."""
_AS_GOOD: Final = 1.02
_EXACTEST: Final = 0.02
"""Least noise, over the first guess of a twentieth of the labels' size: leverages of nearly one lose all digits."""
_NOISE_ROUNDS: Final = 6
_NOISE_TOLERANCE: Final = 0.1
SIGMA_OF_MAD: Final = 1.4826
"""Standard deviation of a normal distribution over the median of its absolute values."""


@dataclass(frozen=True, eq=False)
class LinearFit:
    """The posterior after the frames that are not left out.

    Attributes:
        frames: all frames.
        used: (n_frames,) those that the fit has seen.
        prior: τ, variance of each weight beforehand.
        noise: standard deviation of an energy per root atom [eV], and of a force component [eV/Å].
    """

    frames: Sequence[LabelRows]
    used: npt.NDArray[np.bool_]
    prior: float
    noise: tuple[float, float]

    def frame_noise(self, index: int) -> FloatArray:
        """(n_labels,) variances of a frame's labels."""
        frame = self.frames[index]
        variances = np.full(len(frame.values), self.noise[1] ** 2)
        variances[frame.energy] = self.noise[0] ** 2 * frame.n_atoms
        return variances

    @cached_property
    def modes(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Of the rows used, over their noise, U S Vᵀ: S (n_features,), V, and Uᵀ ỹ; none of them depends on τ.

        From the rows themselves: their Gram matrix would lose half of the digits.
        """
        used = np.flatnonzero(self.used).tolist()
        sigma = [np.sqrt(self.frame_noise(index)) for index in used]
        rows = np.concatenate([self.frames[i].rows / s[:, None] for i, s in zip(used, sigma, strict=True)])
        values = np.concatenate([self.frames[i].values / s for i, s in zip(used, sigma, strict=True)])
        orthogonal, triangle = np.linalg.qr(rows)
        left, singular, right = np.linalg.svd(triangle, full_matrices=True)
        padding = (0, len(right) - len(singular))
        return np.pad(singular, padding), right.T, np.pad(left.T @ (orthogonal.T @ values), padding)

    @cached_property
    def half(self) -> FloatArray:
        """A with A Aᵀ = C."""
        singular, right, _ = self.modes
        return right / np.sqrt(singular**2 + 1 / self.prior)

    @cached_property
    def weights(self) -> FloatArray:
        """w̄."""
        singular, right, along = self.modes
        return right @ (along * singular / (singular**2 + 1 / self.prior))

    def left_out(self, index: int) -> tuple[FloatArray, FloatArray]:
        """Residuals of a frame's labels from a fit without it (n_labels,), and their covariance."""
        frame = self.frames[index]
        residual = frame.values - frame.rows @ self.weights
        half = frame.rows @ self.half
        spread = half @ half.T
        noise = np.diag(self.frame_noise(index))
        if not self.used[index]:
            return residual, noise + spread
        inverse = np.linalg.inv(noise - spread)
        return noise @ (inverse @ residual), noise @ inverse @ noise

    def weights_without(self, index: int) -> FloatArray:
        """w̄ of a fit without one of the frames used, exactly."""
        frame = self.frames[index]
        half = frame.rows @ self.half
        kept = np.diag(self.frame_noise(index)) - half @ half.T
        residual = frame.values - frame.rows @ self.weights
        return self.weights - self.half @ (half.T @ np.linalg.solve(kept, residual))

    def robust_noise(self) -> tuple[float, float]:
        """Noise by which the median left-out label is as far off as it should be: wrong labels do not enter."""
        ratios: tuple[list[float], list[float]] = ([], [])
        for index in np.flatnonzero(self.used).tolist():
            residual, covariance = self.left_out(index)
            z = np.abs(residual) / np.sqrt(np.diag(covariance))
            ratios[0].extend(z[self.frames[index].energy])
            ratios[1].extend(z[self.frames[index].forces])
        factors = (SIGMA_OF_MAD * float(np.median(found)) if found else 1.0 for found in ratios)
        energy, forces = (sigma * max(factor, 1e-6) for sigma, factor in zip(self.noise, factors, strict=True))
        return energy, forces


def fit_labels(frames: Sequence[LabelRows], used: npt.NDArray[np.bool_] | None = None) -> LinearFit:
    """Fit all frames, with the prior that the median left-out force (or energy) is best under, and noise to suit.

    Args:
        frames: with rows of forces of about unit size.
        used: (n_frames,) frames to fit; all by default.
    """
    used = np.ones(len(frames), dtype=bool) if used is None else used
    values = np.concatenate([frame.values[frame.forces] for frame in frames])
    lever = _ENERGY_LEVER
    if not len(values):
        values, lever = np.concatenate([frame.values for frame in frames]), 1.0
    size = max(SIGMA_OF_MAD * float(np.median(np.abs(values))), 1e-9)
    rows = np.concatenate([frame.rows[frame.forces] if len(frame.rows) > 1 else frame.rows for frame in frames])
    unit = size**2 / max(float((rows**2).sum(1).mean()), 1e-300)
    noise = (lever * 0.05 * size, 0.05 * size)
    floor = (_EXACTEST * noise[0], _EXACTEST * noise[1])
    tried = [LinearFit(frames, used, prior * unit, noise) for prior in _PRIORS]
    for fit in tried[1:]:
        fit.__dict__["modes"] = tried[0].modes  # the same, for the noise is
    errors = [_median_left_out(fit) for fit in tried]
    # Where the data determine the weights many priors do equally well, and the widest shrinks them least.
    best = max(
        (fit for fit, error in zip(tried, errors, strict=True) if error <= _AS_GOOD * min(errors)),
        key=lambda fit: fit.prior,
    )
    # The noise decides what the fit leaves over, and that the noise; τ goes with it, so that the fit is as stiff.
    for _ in range(_NOISE_ROUNDS):
        before, noise = best.noise, best.robust_noise()
        noise = max(noise[0], floor[0]), max(noise[1], floor[1])
        best = LinearFit(frames, used, best.prior * (noise[1] / before[1]) ** 2, noise)
        if np.allclose(before, noise, rtol=_NOISE_TOLERANCE):
            break
    return best


def _median_left_out(fit: LinearFit) -> float:
    residuals = []
    for index in np.flatnonzero(fit.used).tolist():
        part = fit.frames[index].forces if len(fit.frames[index].values) > 1 else slice(None)
        residuals.append(np.abs(fit.left_out(index)[0][part]))
    return float(np.median(np.concatenate(residuals)))
