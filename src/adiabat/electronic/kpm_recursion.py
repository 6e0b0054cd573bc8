"""The Chebyshev recursion on batches of vectors: two moments from each step, and shares of groups of orbitals."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.electronic.chebyshev import Interval
from adiabat.electronic.orthogonalized import OrthogonalizedHamiltonian

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""

_GROWTH: Final = 1.01
"""|T_n(H̃) v|² may exceed |v|² by this much; beyond it an energy lies outside the bounds."""


class Steps:
    """Progress and the wish to stop, over all batches."""

    def __init__(self, total: int, progress: Progress | None, should_stop: Callable[[], bool] | None) -> None:
        self.total, self.done = total, 0
        self._progress, self._should_stop = progress, should_stop

    def advance(self) -> bool:
        """Count one step; whether to go on."""
        self.done += 1
        if self._progress is not None:
            self._progress(self.done, self.total)
        return self._should_stop is None or not self._should_stop()


def chebyshev_vectors(
    operator: OrthogonalizedHamiltonian, y: Tensor, interval: Interval
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For n = 0, 1, … of T_n(H̃) v: y, p(A) y and the coefficients in the orbitals."""
    previous: Tensor | None = None
    while True:
        weighed = operator.weigh(y)
        orbitals = operator.orbitals(weighed)
        yield y, weighed, orbitals
        image = (operator.multiply(orbitals) - interval.centre * y) / interval.half_width
        following = image if previous is None else 2 * image - previous
        previous, y = y, following


def batch_moments(
    operator: OrthogonalizedHamiltonian,
    start: Tensor,
    interval: Interval,
    n_moments: int,
    groups: npt.NDArray[np.int64] | None,
    report: Steps,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64] | None] | None:
    """(n_vectors, n_moments) and, with groups, (n_groups, n_vectors, n_moments); None if stopped.

    Two moments come from each step: μ_2n = 2 v_n·v_n − μ_0 and μ_2n+1 = 2 v_n+1·v_n − μ_1.
    """
    n_steps = n_moments // 2
    values = np.zeros((start.shape[1], n_moments))
    weighed_before = start
    index = None if groups is None else torch.from_numpy(groups)
    n_groups = 0 if groups is None else int(groups.max()) + 1
    shares: list[npt.NDArray[np.float64]] = []
    left = start
    for n, (y, weighed, orbitals) in enumerate(chebyshev_vectors(operator, start, interval)):
        if n <= n_steps:
            square = _column_products(y, weighed)
            if n == 0:
                values[:, 0] = square
            else:
                _check_growth(square, values[:, 0], operator)
                cross = _column_products(y, weighed_before)
                if n == 1:
                    values[:, 1] = cross
                else:
                    values[:, 2 * n - 1] = 2 * cross - values[:, 1]
                if 2 * n < n_moments:
                    values[:, 2 * n] = 2 * square - values[:, 0]
            weighed_before = weighed
        if index is not None:
            if n == 0:
                left = operator.overlap(orbitals)
            product = (left.conj() * orbitals).real.to(torch.float64)
            shares.append(
                torch.zeros(n_groups, start.shape[1], dtype=torch.float64).index_add(0, index, product).numpy()
            )
        if not report.advance():
            return None
        if n + 1 == (n_moments if index is not None else n_steps + 1):
            break
    return values, np.stack(shares, axis=-1) if index is not None else None


def _column_products(a: Tensor, b: Tensor) -> npt.NDArray[np.float64]:
    return (a.conj() * b).real.sum(dim=0, dtype=torch.float64).numpy()


def _check_growth(
    square: npt.NDArray[np.float64], first: npt.NDArray[np.float64], o: OrthogonalizedHamiltonian
) -> None:
    if not np.all(square <= _GROWTH * first):
        raise ElectronicError(
            f"an energy outside the bounds {o.spectrum.low + o.reference:.4g} to "
            f"{o.spectrum.high + o.reference:.4g} eV that Lanczos found",
            expected="every energy inside: Chebyshev polynomials grow without limit beyond",
            suggestion="compute in double precision, or start from another seed; H or S may be nearly singular",
        )
