"""An operator at one k as blocks between the atoms of one cell, still sparse: what methods for large cells work on."""

import numpy as np
import numpy.typing as npt

from adiabat.core.operators import BlockOperator


def folded(operator: BlockOperator, k_frac: npt.ArrayLike | None = None) -> BlockOperator:
    """O(k) with one block for each pair of atoms, all images added up with their phases; never dense.

    Args:
        operator: without spin, in any unit.
        k_frac: (3,) k in fractions of the reciprocal lattice; Γ if not given.

    Returns: an operator without images, its pairs sorted by (i, j); real at Γ if O(R) is.
    """
    pairs, values = operator.pairs, operator.values
    sizes = np.diff(operator.offsets)
    if k_frac is not None and np.any(k_frac):
        phase = np.exp(2j * np.pi * (pairs[:, :3] @ np.asarray(k_frac, dtype=np.float64)))
        values = values * np.repeat(phase, sizes)
    order = np.lexsort((pairs[:, 4], pairs[:, 3]))
    i, j = pairs[order, 3], pairs[order, 4]
    is_new = np.concatenate([[True], (np.diff(i) != 0) | (np.diff(j) != 0)])[: len(order)]
    target = np.cumsum(is_new) - 1
    zeros = np.zeros(int(is_new.sum()), dtype=np.int64)
    unique = np.stack([zeros, zeros, zeros, i[is_new], j[is_new]], axis=1)
    offsets = np.concatenate([[0], np.cumsum(sizes[order[is_new]])]).astype(np.int64)
    total = np.zeros(int(offsets[-1]), dtype=values.dtype)
    # Pairs of one (i, j) are added in rounds, the first of each, the second of each, …: no place twice in a round.
    starts = np.flatnonzero(is_new)
    turn = np.arange(len(order)) - starts[target]
    for nth in range(int(turn.max(initial=0)) + 1):
        chosen = np.flatnonzero(turn == nth)
        for size in np.unique(sizes[order[chosen]]):
            same = chosen[sizes[order[chosen]] == size]
            within = np.arange(size)
            total[offsets[target[same]][:, None] + within] += values[operator.offsets[order[same]][:, None] + within]
    return BlockOperator(unique, offsets, total, operator.n_orbitals)


def spinor_as_blocks(operator: BlockOperator) -> BlockOperator:
    """A spinor operator as one without spin over twice the orbitals: on each atom all ↑, then all ↓.

    Args:
        operator: of spin layout "spinor", or without spin, which then acts on both alike (S ⊗ 1).
    """
    blocks: list[npt.NDArray[np.complex128]] = []
    for _, block in operator.blocks():
        uu, ud, du, dd = block if operator.spin == "spinor" else (block, 0 * block, 0 * block, block)
        blocks.append(np.block([[uu, ud], [du, dd]]))
    return BlockOperator.from_blocks(operator.pairs, blocks, 2 * operator.n_orbitals)


def spinor_order(n_orbitals: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(2 n_orb,) where each orbital of the order "all ↑, then all ↓" stands in that of :func:`spinor_as_blocks`."""
    starts = np.cumsum(2 * n_orbitals) - 2 * n_orbitals
    up = np.concatenate([start + np.arange(n) for start, n in zip(starts, n_orbitals, strict=True)])
    return np.concatenate([up, up + np.repeat(n_orbitals, n_orbitals)])
