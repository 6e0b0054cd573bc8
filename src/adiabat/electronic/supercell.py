"""Operators of a supercell from those of its unit cell, by index arithmetic alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import ElectronicError
from adiabat.core.operators import BlockOperator


def supercell_operator(operator: BlockOperator, repeats: Sequence[int]) -> BlockOperator:
    """The same operator over a cell n₁ × n₂ × n₃ times as large.

    Atom a of the unit cell at (c₁, c₂, c₃) becomes atom ((c₁ n₂ + c₂) n₃ + c₃) n_atoms + a, so that
    positions repeat as ``positions[None] + cells @ cell`` in C order. Nothing is approximated: at Γ the supercell
    has the energies of the unit cell at k = (m₁/n₁, m₂/n₂, m₃/n₃).

    Args:
        operator: of the unit cell, in any unit and spin layout.
        repeats: n₁, n₂, n₃.

    Returns: values are copied as often as the cell is.

    Raises:
        ElectronicError: a repeat that is not a positive whole number.
    """
    counts = np.asarray(repeats, dtype=np.int64)
    if counts.shape != (3,) or np.any(counts < 1) or np.any(counts != np.asarray(repeats)):
        raise ElectronicError(
            f"a supercell of {list(repeats)} cells",
            expected="three whole numbers of at least 1",
            suggestion="write the repeats along the three lattice vectors, for instance (4, 4, 1)",
        )
    cells = _cells(counts.tolist())
    reached = cells[:, None, :] + operator.pairs[None, :, :3]
    image, within = np.divmod(reached, counts)
    strides = np.array([counts[1] * counts[2], counts[2], 1])
    pairs = np.empty((len(cells), len(operator), 5), dtype=np.int64)
    pairs[..., :3] = image
    pairs[..., 3] = (cells @ strides)[:, None] * operator.n_atoms + operator.pairs[None, :, 3]
    pairs[..., 4] = within @ strides * operator.n_atoms + operator.pairs[None, :, 4]
    pairs = pairs.reshape(-1, 5)
    order = np.lexsort(pairs.T[::-1])
    source = np.tile(np.arange(len(operator)), len(cells))[order]
    sizes = np.diff(operator.offsets)[source]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return BlockOperator(
        pairs[order],
        offsets,
        _copied_blocks(operator, source, offsets),
        np.tile(operator.n_orbitals, len(cells)),
        operator.spin,
    )


def supercell_positions(
    positions: npt.NDArray[np.float64], cell: npt.NDArray[np.float64], repeats: Sequence[int]
) -> npt.NDArray[np.float64]:
    """(n_cells · n_atoms, 3) positions [Å] in the atom order of :func:`supercell_operator`."""
    cells = _cells(repeats)
    return (positions[None] + (cells @ cell)[:, None]).reshape(-1, 3)


def _cells(repeats: Sequence[int]) -> npt.NDArray[np.int64]:
    """(n_cells, 3) in C order."""
    return np.indices(tuple(repeats)).reshape(3, -1).T.astype(np.int64)


def _copied_blocks(
    operator: BlockOperator, source: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """Values of the blocks ``source``, one after the other."""
    sizes = np.diff(operator.offsets)
    lead = operator.values.shape[:-1]
    if len(sizes) and np.all(sizes == sizes[0]):
        return operator.values.reshape(*lead, len(sizes), -1)[..., source, :].reshape(*lead, -1)
    values = np.empty((*lead, int(offsets[-1])), dtype=operator.values.dtype)
    for size in np.unique(sizes):
        chosen = np.flatnonzero(sizes[source] == size)
        places = np.arange(size)
        copied = operator.offsets[source[chosen]][:, None] + places
        values[..., offsets[chosen][:, None] + places] = operator.values[..., copied]
    return values
