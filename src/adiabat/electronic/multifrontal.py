"""Sparse L D L† of a Hermitian indefinite matrix by dense fronts: solves, and how many eigenvalues are negative."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import get_blas_funcs, ldl

from adiabat.core.operators import BlockOperator
from adiabat.electronic.dissection import Front, front_sizes
from adiabat.electronic.resources import Estimate, dense_rate

Array = npt.NDArray[Any]

_COLUMNS: Final = 512
"""Columns of a Schur complement that are formed at once; what is above their diagonal is copied."""

_EFFICIENCY: Final = 0.5
"""Of the dense operations of all fronts, as a share of a large product's speed."""


@dataclass(frozen=True)
class _Factor:
    """One front: P A P† = L D L† of what it eliminates, and L⁻¹ P times its border."""

    rows: npt.NDArray[np.int64]
    border: npt.NDArray[np.int64]
    lower: Array
    diagonal: Array
    beside: Array
    coupling: Array


class SymmetricFactorization:
    """A = L D L† of a Hermitian sparse matrix, pivoted (Bunch–Kaufman) inside each front.

    The inertia of all D is that of A (Sylvester), so that A = H − σS tells how many states lie below σ.

    Args:
        matrix: without images, both directions of every pair.
        fronts: from :func:`adiabat.electronic.dissection.dissect` of the same pairs.
        keep: whether to keep the factors for solving; without them only the inertia is known, in less memory.
        should_stop: asked before each front.

    Raises:
        KeyboardInterrupt: stopped.

    Source: [duff1983].
    """

    def __init__(
        self,
        matrix: BlockOperator,
        fronts: list[Front],
        *,
        keep: bool = True,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self.n = int(matrix.n_orbitals.sum())
        self.n_negative = 0
        """Eigenvalues below zero."""
        self._factors: list[_Factor] = []
        self._keep = keep
        starts = np.concatenate([[0], np.cumsum(matrix.n_orbitals)])
        first = np.searchsorted(matrix.pairs[:, 3], np.arange(matrix.n_atoms + 1))
        place = np.full(matrix.n_atoms, -1, dtype=np.int64)
        pending: dict[int, tuple[npt.NDArray[np.int64], Array]] = {}
        for index, front in enumerate(fronts):
            if should_stop is not None and should_stop():
                raise KeyboardInterrupt(f"factorization stopped at front {index} of {len(fronts)}")
            atoms = np.concatenate([front.atoms, front.border])
            sizes = matrix.n_orbitals[atoms]
            place[atoms] = np.cumsum(sizes) - sizes
            dense = np.zeros((sizes.sum(), sizes.sum()), dtype=matrix.values.dtype, order="F")
            _assemble(dense, matrix, front.atoms, first, place)
            for child in front.children:
                border, schur = pending.pop(child)
                target = _orbitals(place[border], matrix.n_orbitals[border])
                dense[target[:, None], target] += schur
            place[atoms] = -1
            schur = self._eliminate(dense, _orbitals(starts[atoms], sizes), int(matrix.n_orbitals[front.atoms].sum()))
            if len(front.border):
                pending[index] = (front.border, schur)

    @property
    def n_bytes(self) -> int:
        """Memory of the factors."""
        return sum(f.lower.nbytes + f.coupling.nbytes for f in self._factors)

    def solve(self, right: Array) -> Array:
        """A⁻¹ b for columns b, shape (n, n_columns)."""
        assert self._keep, "the factors were not kept"
        x = np.array(right, dtype=np.result_type(right, self._factors[0].lower))
        halves: list[Array] = []
        for factor in self._factors:
            half = _triangular(factor.lower, x[factor.rows])
            halves.append(half)
            if len(factor.border):
                x[factor.border] -= factor.coupling.conj().T @ _divide(factor, half)
        for factor, half in zip(reversed(self._factors), reversed(halves), strict=True):
            if len(factor.border):
                half = half - factor.coupling @ x[factor.border]
            x[factor.rows] = _triangular(factor.lower, _divide(factor, half), adjoint=True)
        return x

    def _eliminate(self, dense: Array, orbitals: npt.NDArray[np.int64], n: int) -> Array:
        """Factorize the first n rows and return the Schur complement of the others."""
        if np.iscomplexobj(dense):
            # Rounding leaves imaginary parts there, of which LAPACK would complain.
            np.fill_diagonal(dense, np.real(np.diagonal(dense)))
        lower, blocks, order = ldl(dense[:n, :n], lower=True, hermitian=True, check_finite=False)
        lower = np.asfortranarray(lower[order])
        diagonal, beside = np.real(np.diagonal(blocks)).copy(), np.diagonal(blocks, -1).copy()
        del blocks
        coupling = _triangular(lower, np.asfortranarray(dense[:n, n:][order]))
        inverse, inverse_beside, negative = _inverse_pivots(diagonal, beside)
        self.n_negative += negative
        factor = _Factor(orbitals[:n][order], orbitals[n:], lower, inverse, inverse_beside, coupling)
        schur = np.array(dense[n:, n:], order="F")
        divided = _divide(factor, coupling)
        for start in range(0, schur.shape[1], _COLUMNS):
            here = slice(start, start + _COLUMNS)
            schur[start:, here] -= coupling[:, start:].conj().T @ divided[:, here]
            schur[here, start + _COLUMNS :] = schur[start + _COLUMNS :, here].conj().T
        if self._keep:
            self._factors.append(factor)
        return schur


def estimate_factorization(
    fronts: list[Front], n_orbitals: npt.NDArray[np.int64], dtype: npt.DTypeLike, *, keep: bool
) -> Estimate:
    """Memory and work of :class:`SymmetricFactorization`, counted from its fronts.

    Args:
        fronts: of the matrix.
        n_orbitals: (n_atoms,).
        dtype: of the matrix.
        keep: whether the factors are kept.
    """
    itemsize, is_complex = np.dtype(dtype).itemsize, np.dtype(dtype).kind == "c"
    held, peak, flops = 0, 0, 0.0
    border_bytes: dict[int, int] = {}
    for index, (front, (n, m)) in enumerate(zip(fronts, front_sizes(fronts, n_orbitals).tolist(), strict=True)):
        # The front, its triangle with a copy of the pivot blocks, and two copies of the coupling stand side by side.
        working = ((n + m) ** 2 + 3 * n**2 + 2 * n * m + m**2) * itemsize
        peak = max(peak, held + working)
        held -= sum(border_bytes.pop(child) for child in front.children if child in border_bytes)
        border_bytes[index] = m * m * itemsize
        held += border_bytes[index] + ((n * n + n * m) * itemsize if keep else 0)
        flops += n**3 / 3 + n**2 * m + n * m**2
    flops *= 4 if is_complex else 1
    rate = dense_rate(torch.complex128 if is_complex else torch.float64)
    return Estimate(
        f"a factorization of {int(n_orbitals.sum())} orbitals", max(peak, held), flops, flops / (_EFFICIENCY * rate)
    )


def _assemble(
    dense: Array,
    matrix: BlockOperator,
    atoms: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    place: npt.NDArray[np.int64],
) -> None:
    """Put in the blocks between a front's atoms, and between them and its border (above the diagonal only)."""
    pairs = np.concatenate([np.arange(int(first[a]), int(first[a + 1])) for a in atoms])
    i, j = matrix.pairs[pairs, 3], matrix.pairs[pairs, 4]
    shapes = np.stack([matrix.n_orbitals[i], matrix.n_orbitals[j]], axis=1)
    # Atoms that were eliminated before have no place any more.
    present = place[j] >= 0
    for n_i, n_j in np.unique(shapes, axis=0).tolist():
        chosen = np.flatnonzero(present & (shapes == (n_i, n_j)).all(axis=1))
        rows = place[i[chosen]][:, None, None] + np.arange(n_i)[:, None]
        columns = place[j[chosen]][:, None, None] + np.arange(n_j)
        blocks = matrix.values[matrix.offsets[pairs[chosen]][:, None] + np.arange(n_i * n_j)]
        dense[rows, columns] = blocks.reshape(-1, n_i, n_j)


def _orbitals(starts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Orbitals of atoms that begin at some places."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - sizes), sizes)


def _triangular(lower: Array, right: Array, *, adjoint: bool = False) -> Array:
    """L⁻¹ b or L⁻† b, L with ones on the diagonal."""
    (solve,) = get_blas_funcs(("trsm",), (lower, right))
    return solve(1.0, lower, right, lower=1, diag=1, trans_a=2 if adjoint else 0)


def _inverse_pivots(diagonal: Array, beside: Array) -> tuple[Array, Array, int]:
    """D⁻¹ of 1×1 and 2×2 pivots as its diagonal and what is below, and the number of negative eigenvalues of D."""
    pairs = np.flatnonzero(beside)
    determinant = diagonal[pairs] * diagonal[pairs + 1] - np.abs(beside[pairs]) ** 2
    single = np.ones(len(diagonal), dtype=bool)
    single[pairs] = single[pairs + 1] = False
    trace = diagonal[pairs] + diagonal[pairs + 1]
    # Of a 2×2 pivot: one negative eigenvalue if the determinant is, else two or none.
    negative = int((diagonal[single] < 0).sum() + (determinant < 0).sum() + 2 * ((determinant > 0) & (trace < 0)).sum())
    inverse, inverse_beside = np.zeros_like(diagonal), np.zeros_like(beside)
    inverse[single] = 1 / diagonal[single]
    inverse[pairs], inverse[pairs + 1] = diagonal[pairs + 1] / determinant, diagonal[pairs] / determinant
    inverse_beside[pairs] = -beside[pairs] / determinant
    return inverse, inverse_beside, negative


def _divide(factor: _Factor, x: Array) -> Array:
    """D⁻¹ x."""
    y = factor.diagonal[:, None] * x
    pairs = np.flatnonzero(factor.beside)
    below = factor.beside[pairs][:, None]
    y[pairs + 1] += below * x[pairs]
    y[pairs] += below.conj() * x[pairs + 1]
    return y
