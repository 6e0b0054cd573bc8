"""Two-centre baseline of an operator: smooth functions of the distance, one for each Slater–Koster integral.

A block's coefficients with M = 0 that are even under reflection exist for two atoms alone. Their mean at each distance,
per pair of elements, is most of H, and all of S. It is read from the training data by least squares:

    c(r) = a exp(−b r) Σ_k w_k B_k(r)

with uniform cubic B-splines B_k, so that it has two continuous derivatives, and a penalty on the third differences of w
that carries it smoothly over distances without data.

Source: [slater1954]; [eilers1996] for the penalty.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from adiabat.models.layers import keep_float64

_SMOOTHING: Final = 1e-6
"""Weight of the penalty against the mean weight of the data on a spline."""
_FADE: Final = 0.06
"""Last part of the radius over which the functions are taken to zero."""
NEGLIGIBLE: Final = 1e-5
"""eV; coefficients that are smaller than the reference code's own noise are predicted as zero."""
_GENTLEST_DECAY: Final = 0.5
_STEEPEST_DECAY: Final = 5.0
"""1/Å; any block of ΔH falls more than the one and less than the other (on water by 2 to 3). A narrow range of
distances, fitted freely, may pretend to any slope; without a fall, atoms far apart would get blocks out of nothing."""
_DISTANCE_BINS = 12


class TwoCenterFunctions(nn.Module):
    """c(r) of every even M = 0 coefficient and pair of elements; zero until it is fitted.

    Args:
        n_kinds: number of ordered pairs of elements.
        n_functions: number of coefficients.
        radius: where the functions end, in Å.
        n_intervals: number of intervals between knots.
    """

    amplitude: Tensor
    decay: Tensor
    spline: Tensor

    def __init__(self, n_kinds: int, n_functions: int, radius: float, n_intervals: int) -> None:
        super().__init__()
        self.radius, self.n_intervals = radius, n_intervals
        self.register_buffer("amplitude", torch.zeros(n_kinds, n_functions, dtype=torch.float64))
        self.register_buffer("decay", torch.zeros(n_kinds, n_functions, dtype=torch.float64))
        self.register_buffer("spline", torch.zeros(n_kinds, n_intervals + 3, n_functions, dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "TwoCenterFunctions":
        """Stay in float64: what it gives is most of an operator."""
        return keep_float64(self, lambda: super(TwoCenterFunctions, self)._apply(fn, recurse))

    def forward(self, distances: Tensor, kinds: Tensor) -> Tensor:
        """Values in the unit of the labels.

        Args:
            distances: (n, 1) in Å.
            kinds: (n,) ordered pair of elements.

        Returns: (n, n_functions), float64.
        """
        distances = distances.double()
        interval, weights = spline_weights(distances.squeeze(-1) / self.radius, self.n_intervals)
        rows = (kinds * (self.n_intervals + 3) + interval).unsqueeze(-1) + torch.arange(4, device=kinds.device)
        controls = self.spline.flatten(0, 1)[rows]
        values = (weights.unsqueeze(-1) * controls).sum(1)
        scale = self.amplitude.index_select(0, kinds) * torch.exp(-self.decay.index_select(0, kinds) * distances)
        return values * scale * fade(distances / self.radius)

    def fit(
        self, kind: int, distances: npt.NDArray[np.float64], values: npt.NDArray[np.float64],
        amplitude: npt.NDArray[np.float64], decay: npt.NDArray[np.float64],
    ) -> None:  # fmt: skip
        """Fit the functions of one pair of elements.

        Args:
            kind: the ordered pair of elements.
            distances: (n,) in Å.
            values: (n, n_functions) coefficients.
            amplitude: (n_functions,) a, in the unit of the values; zero for a function that is to stay zero.
            decay: (n_functions,) b in 1/Å.
        """
        inside = distances < self.radius * (1 - 1e-9)
        distances, values = distances[inside], values[inside]
        x = torch.from_numpy(distances / self.radius)
        interval, weights = (part.numpy() for part in spline_weights(x, self.n_intervals))
        n_splines = self.n_intervals + 3
        design = np.zeros((len(distances), n_splines))
        design[np.arange(len(distances))[:, None], interval[:, None] + np.arange(4)] = weights
        third = np.diff(np.eye(n_splines), n=3, axis=0)
        penalty = _SMOOTHING * max(len(distances), 1) / n_splines * third.T @ third
        used = amplitude > 0
        scale = np.where(used, amplitude, 1.0) * np.exp(-decay * distances[:, None])
        normal = design.T @ design + penalty + 1e-9 * np.eye(n_splines)
        controls = np.linalg.solve(normal, design.T @ (values / scale)) * used
        self.spline[kind].copy_(torch.from_numpy(controls))
        self.amplitude[kind].copy_(torch.from_numpy(amplitude))
        self.decay[kind].copy_(torch.from_numpy(decay))


def spline_weights(x: Tensor, n_intervals: int) -> tuple[Tensor, Tensor]:
    """First of the four cubic B-splines that are not zero at x, and their values.

    Args:
        x: (n,) between 0 and 1; beyond, the last interval is continued.
        n_intervals: number of equal intervals.

    Returns: (n,) int64 and (n, 4).
    """
    t = x * n_intervals
    interval = t.detach().floor().clamp(0, n_intervals - 1)
    u = t - interval
    weights = torch.stack([(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3], dim=-1)
    return interval.long(), weights / 6


def fade(x: Tensor) -> Tensor:
    """1 up to x = 1 − 0.06, then to 0 at 1 with two continuous derivatives, and 0 beyond."""
    s = ((1 - x) / _FADE).clamp(0, 1)
    return s**3 * (10 - 15 * s + 6 * s**2)


def exponential_fit(
    distances: npt.NDArray[np.float64], squares: npt.NDArray[np.float64], *, negligible: float = NEGLIGIBLE
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Amplitude and decay of a · exp(−b r) through the root mean square of some values.

    A line through log rms against distance, over bins of equal population, its slope kept within bounds.

    Args:
        distances: (n,) in Å.
        squares: (n, n_functions) squared values.
        negligible: root mean square below which a function is none, in the unit of the values.

    Returns: (n_functions,) amplitudes, zero for what is negligible, and (n_functions,) decays [1/Å].
    """
    order = np.argsort(distances)
    bins = [part for part in np.array_split(order, _DISTANCE_BINS) if len(part)]
    centre = np.array([distances[part].mean() for part in bins])
    rms = np.sqrt(np.array([squares[part].mean(axis=0) for part in bins]))
    weights = np.array([len(part) for part in bins], dtype=np.float64)[:, None]
    log_rms = np.log(np.maximum(rms, negligible))
    centre_mean = (weights[:, 0] @ centre) / weights.sum()
    log_mean = (weights * log_rms).sum(axis=0) / weights.sum()
    spread = (weights[:, 0] * (centre - centre_mean) ** 2).sum()
    slope = ((weights * (centre - centre_mean)[:, None]) * log_rms).sum(axis=0) / spread if spread > 1e-12 else 0.0
    decay = np.clip(-slope, _GENTLEST_DECAY, _STEEPEST_DECAY) * np.ones_like(log_mean)
    amplitude = np.exp(log_mean + decay * centre_mean)
    present = np.sqrt(squares.mean(axis=0)) > negligible
    return np.where(present, amplitude, 0.0), decay
