"""Two-centre baseline of an operator: smooth functions of the distance, one for each Slater–Koster integral.

A block's coefficients with M = 0 that are even under reflection exist for two atoms alone. Their mean at each distance,
per pair of elements, is most of H, and all of S. It is read from the training data by least squares:

    c(r) = a exp(−b r) Σ_k w_k B_k(r)

with uniform cubic B-splines B_k, so that it has two continuous derivatives, and a penalty on the third differences of w
that carries it smoothly over distances without data.

Source: [slater1954]; [eilers1996] for the penalty.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

_SMOOTHING: Final = 1e-6
"""Weight of the penalty against the mean weight of the data on a spline."""
_FADE: Final = 0.06
"""Last part of the radius over which the functions are taken to zero."""


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
        self.register_buffer("amplitude", torch.zeros(n_kinds, n_functions))
        self.register_buffer("decay", torch.zeros(n_kinds, n_functions))
        self.register_buffer("spline", torch.zeros(n_kinds, n_intervals + 3, n_functions))

    def forward(self, distances: Tensor, kinds: Tensor) -> Tensor:
        """Values in the unit of the labels.

        Args:
            distances: (n, 1) in Å.
            kinds: (n,) ordered pair of elements.

        Returns: (n, n_functions).
        """
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
