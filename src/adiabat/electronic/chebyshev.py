"""Chebyshev polynomials of matrices that are known only by their products with vectors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Interval:
    """Where a spectrum lies.

    Attributes:
        low: [unit of the matrix].
        high: above it.
    """

    low: float
    high: float

    @property
    def centre(self) -> float:
        """Middle."""
        return (self.low + self.high) / 2

    @property
    def half_width(self) -> float:
        """Half of its length."""
        return (self.high - self.low) / 2

    def widened(self, share: float) -> "Interval":
        """Longer on both sides by a share of its length."""
        margin = share * (self.high - self.low)
        return Interval(self.low - margin, self.high + margin)


def coefficients(
    function: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]], interval: Interval, degree: int
) -> npt.NDArray[np.float64]:
    """C with f(x) ≈ Σ c_n T_n((x − centre)/half_width): exact for a polynomial of that degree."""
    angles = (np.arange(degree + 1) + 0.5) * np.pi / (degree + 1)
    values = function(interval.centre + interval.half_width * np.cos(angles))
    c = 2 / (degree + 1) * np.cos(np.outer(np.arange(degree + 1), angles)) @ values
    c[0] /= 2
    return c


def apply_polynomial(c: npt.NDArray[np.float64], interval: Interval, product: Product, x: Tensor) -> Tensor:
    """Σ c_n T_n((A − centre)/half_width) x by Clenshaw's recursion: as many products as its degree."""
    following, last = 0 * x, float(c[-1]) * x
    for n in range(len(c) - 2, -1, -1):
        scale = (1 if n == 0 else 2) / interval.half_width
        now = scale * (product(last) - interval.centre * last) - following + float(c[n]) * x
        following, last = last, now
    return last


def inverse_polynomial(interval: Interval, degree: int) -> tuple[npt.NDArray[np.float64], float]:
    """P of a degree with the smallest largest |1 − x p(x)| on an interval of positive numbers.

    Returns: its Chebyshev coefficients, and that largest deviation 1 / T_{d+1}((b + a)/(b − a)).
    """
    at_zero = -interval.centre / interval.half_width
    deviation = 1.0 / np.cosh((degree + 1) * np.arccosh(-at_zero))
    sign = -1.0 if (degree + 1) % 2 else 1.0

    def p(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        t = ((x - interval.centre) / interval.half_width).clip(-1, 1)
        return (1 - sign * deviation * np.cos((degree + 1) * np.arccos(t))) / x

    return coefficients(p, interval, degree), float(deviation)


def evaluate(c: npt.NDArray[np.float64], interval: Interval, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Σ c_n T_n at numbers of the interval."""
    t = (x - interval.centre) / interval.half_width
    return np.asarray(np.polynomial.chebyshev.chebval(t, c), dtype=np.float64)
