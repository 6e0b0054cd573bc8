"""A sparse triangular G with G S G† near 1, from small dense problems: the preconditioner of S⁻¹."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.core.operators import BlockOperator

STRENGTH: Final = 0.005
"""Largest overlap between two atoms below which G does not connect them."""

_BATCH_BYTES: Final = 2**26
"""Memory of the small dense matrices that are factorized at once."""


def overlap_factor(overlap: BlockOperator, strength: float = STRENGTH) -> BlockOperator:
    """Factorized sparse approximate inverse of S, block by block.

    The row of each atom is exact on the atoms before it that it overlaps with: G minimises ‖1 − G L‖ over its pattern,
    where S = L L†, and G S G† has a diagonal of ones. Cost and memory are linear in the number of atoms. For
    hBN in SZVP-MOLOPT-SR the condition number falls from 59 to 1.1.

    Args:
        overlap: S at one k, without images (:func:`adiabat.electronic.folded.folded`).
        strength: pairs of atoms whose largest |S| is smaller are left out of G.

    Returns: G, block lower triangular in the order of atoms.

    Raises:
        ElectronicError: S is not positive definite on a cluster of atoms.

    Source: [kolotilina1993].
    """
    padded = _padded_blocks(overlap)
    n_atoms, m = overlap.n_atoms, padded.shape[-1]
    i, j = overlap.pairs[:, 3], overlap.pairs[:, 4]
    kept = np.flatnonzero((np.abs(padded).max(axis=(1, 2), initial=0.0) >= strength) & (j <= i) | (i == j))
    # Sorted by (i, j), so that each atom's own place is the last of its cluster.
    counts = np.bincount(i[kept], minlength=n_atoms)
    starts = np.concatenate([[0], np.cumsum(counts)])
    keys = i * n_atoms + j
    blocks = np.zeros((len(kept), m, m), dtype=padded.dtype)
    for size in np.unique(counts):
        atoms = np.flatnonzero(counts == size)
        step = max(1, _BATCH_BYTES // int((size * m) ** 2 * padded.itemsize))
        for first in range(0, len(atoms), step):
            chosen = atoms[first : first + step]
            rows = starts[chosen][:, None] + np.arange(size)
            blocks[rows] = _rows_of_factor(padded, keys, j[kept[rows]], n_atoms)
    return _without_padding(blocks, overlap.pairs[kept], overlap.n_orbitals)


def transposed(operator: BlockOperator) -> BlockOperator:
    """A† of an operator without images, whether or not it has both directions of each pair."""
    pairs = operator.pairs[:, [0, 1, 2, 4, 3]]
    order = np.lexsort((pairs[:, 4], pairs[:, 3]))
    sizes = np.diff(operator.offsets)
    offsets = np.concatenate([[0], np.cumsum(sizes[order])]).astype(np.int64)
    values = np.empty_like(operator.values)
    shapes = np.stack([operator.n_orbitals[operator.pairs[:, 3]], operator.n_orbitals[operator.pairs[:, 4]]], axis=1)
    target = np.empty(len(order), dtype=np.int64)
    target[order] = offsets[:-1]
    for n_i, n_j in np.unique(shapes, axis=0).tolist():
        chosen = np.flatnonzero((shapes == (n_i, n_j)).all(axis=1))
        within = np.arange(n_i * n_j)
        block = operator.values[operator.offsets[chosen][:, None] + within].reshape(-1, n_i, n_j)
        values[target[chosen][:, None] + within] = block.conj().transpose(0, 2, 1).reshape(len(chosen), -1)
    return BlockOperator(pairs[order], offsets, values, operator.n_orbitals)


def _padded_blocks(overlap: BlockOperator) -> npt.NDArray[Any]:
    """(n_pairs, m, m) blocks filled up to the largest atom: with ones on the diagonal, zeros elsewhere."""
    n_i = overlap.n_orbitals[overlap.pairs[:, 3]]
    n_j = overlap.n_orbitals[overlap.pairs[:, 4]]
    m = int(overlap.n_orbitals.max())
    if bool(np.all(overlap.n_orbitals == m)):
        return overlap.values.reshape(-1, m, m)
    blocks = np.zeros((len(overlap), m, m), dtype=overlap.values.dtype)
    own = np.flatnonzero(overlap.pairs[:, 3] == overlap.pairs[:, 4])
    blocks[own[:, None], np.arange(m), np.arange(m)] = 1.0
    for a, b in np.unique(np.stack([n_i, n_j], axis=1), axis=0).tolist():
        chosen = np.flatnonzero((n_i == a) & (n_j == b))
        within = overlap.offsets[chosen][:, None] + np.arange(a * b)
        blocks[chosen, :a, :b] = overlap.values[within].reshape(-1, a, b)
    return blocks


def _rows_of_factor(
    padded: npt.NDArray[Any], keys: npt.NDArray[np.int64], clusters: npt.NDArray[np.int64], n_atoms: int
) -> npt.NDArray[Any]:
    """Blocks of G for atoms with clusters of one size, shape (n, size, m, m)."""
    n, size = clusters.shape
    m = padded.shape[-1]
    wanted = (clusters[:, :, None] * n_atoms + clusters[:, None, :]).reshape(-1)
    at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    matrix = padded[at] * (keys[at] == wanted)[:, None, None]
    matrix = matrix.reshape(n, size, size, m, m).transpose(0, 1, 3, 2, 4).reshape(n, size * m, size * m)
    columns = np.zeros((size * m, m), dtype=padded.dtype)
    columns[-m:] = np.eye(m)
    lower = _cholesky(torch.from_numpy(matrix))
    right = torch.from_numpy(columns).expand(n, -1, -1)
    solved = torch.cholesky_solve(right, lower)
    # With y = S_JJ⁻¹ e_i and y_ii = l l†, the rows of G are l⁻¹ y†.
    own = _cholesky(solved[:, -m:].contiguous())
    rows = torch.linalg.solve_triangular(own, solved.mH, upper=False)
    return rows.reshape(n, m, size, m).transpose(1, 2).numpy()


def _cholesky(matrix: Tensor) -> Tensor:
    lower, info = torch.linalg.cholesky_ex(matrix)
    if bool(info.any()):
        raise ElectronicError(
            "an overlap that is not positive definite on a cluster of neighboring atoms",
            expected="a Gram matrix: positive on every set of orbitals",
            suggestion="check that S is exact, untruncated and in the orbital order of H; if its smallest eigenvalue "
            "is a rounding error, choose a better conditioned basis",
        )
    return lower


def _without_padding(
    blocks: npt.NDArray[Any], pairs: npt.NDArray[np.int64], n_orbitals: npt.NDArray[np.int64]
) -> BlockOperator:
    m = blocks.shape[-1]
    n_i, n_j = n_orbitals[pairs[:, 3]], n_orbitals[pairs[:, 4]]
    offsets = np.concatenate([[0], np.cumsum(n_i * n_j)]).astype(np.int64)
    real = (np.arange(m)[None, :, None] < n_i[:, None, None]) & (np.arange(m)[None, None, :] < n_j[:, None, None])
    return BlockOperator(pairs, offsets, blocks[real], n_orbitals)
