"""Products of a block-sparse matrix with many vectors at once, near the speed of dense products."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Num
from torch import Tensor

from adiabat.core.operators import BlockOperator

_ROWS: Final = 64
"""Atoms whose rows are multiplied at once: their gathered vectors stay in the cache."""


@dataclass(frozen=True)
class _Panel:
    """Rows of some atoms: all blocks of a row side by side, filled up with zeros to one width."""

    rows: Tensor
    columns: Tensor
    values: Tensor


class BlockPanels:
    """y = A x for a sparse A of blocks and many columns x.

    The blocks of an atom's rows stand side by side as one dense panel; the vectors that it meets are gathered, and one
    batched dense product serves many atoms. For 32 vectors this is twice as fast as compressed rows (CSR) in
    single precision, in half the memory, since an index is kept for a column of blocks instead of for each element.

    Args:
        operator: without images (see :func:`adiabat.electronic.folded.folded`), in any unit.
        dtype: of the products, real for a real operator.
    """

    def __init__(self, operator: BlockOperator, dtype: torch.dtype) -> None:
        self.n_orb = int(operator.n_orbitals.sum())
        self.dtype = dtype
        self._panels = [_panel(operator, atoms, dtype) for atoms in _groups(operator.n_orbitals)]

    @property
    def n_bytes(self) -> int:
        """Memory of the panels."""
        return sum(
            t.numel() * t.element_size() for panel in self._panels for t in (panel.rows, panel.columns, panel.values)
        )

    def __call__(self, x: Num[Tensor, "n_orb n_vectors"]) -> Num[Tensor, "n_orb n_vectors"]:
        """A x, in the unit of A times that of x."""
        y = x.new_empty(self.n_orb, x.shape[1])
        for panel in self._panels:
            n_atoms, _, width = panel.values.shape
            gathered = x.index_select(0, panel.columns).view(n_atoms, width, -1)
            y.index_copy_(0, panel.rows, torch.bmm(panel.values, gathered).flatten(0, 1))
        return y


def panel_bytes(operator: BlockOperator, dtype: torch.dtype) -> int:
    """Memory that the panels of an operator will take, before the fill of rows to one width (a few per cent)."""
    n_columns = int(operator.n_orbitals[operator.pairs[:, 4]].sum())
    return len(operator.values) * dtype.itemsize + 4 * n_columns


def _groups(n_orbitals: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Atoms that share a panel: as many orbitals each, and neighbors in the list, as they mostly are in space."""
    groups: list[npt.NDArray[np.int64]] = []
    for n in np.unique(n_orbitals):
        atoms = np.flatnonzero(n_orbitals == n)
        groups += [atoms[start : start + _ROWS] for start in range(0, len(atoms), _ROWS)]
    return groups


def _panel(operator: BlockOperator, atoms: npt.NDArray[np.int64], dtype: torch.dtype) -> _Panel:
    starts = np.concatenate([[0], np.cumsum(operator.n_orbitals)])
    first, last = np.searchsorted(operator.pairs[:, 3], [atoms, atoms + 1])
    pairs = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
    row = np.repeat(np.arange(len(atoms)), last - first)
    n_i = int(operator.n_orbitals[atoms[0]])
    n_j = operator.n_orbitals[operator.pairs[pairs, 4]]
    # Where each block begins in the panel of its row.
    ends = np.cumsum(n_j)
    before = np.concatenate([[0], ends])[np.concatenate([[0], np.cumsum(last - first)])]
    begin = ends - n_j - before[:-1][row]
    width = max(1, int(np.diff(before).max(initial=1)))
    values = np.zeros((len(atoms), n_i, width), dtype=operator.values.dtype)
    columns = np.zeros((len(atoms), width), dtype=np.int32)
    for n in np.unique(n_j):
        chosen = np.flatnonzero(n_j == n)
        block = operator.values[operator.offsets[pairs[chosen]][:, None] + np.arange(n_i * n)]
        place = begin[chosen][:, None] + np.arange(n)
        columns[row[chosen][:, None], place] = starts[operator.pairs[pairs[chosen], 4]][:, None] + np.arange(n)
        values[row[chosen][:, None, None], np.arange(n_i)[:, None], place[:, None, :]] = block.reshape(-1, n_i, n)
    rows = starts[atoms][:, None] + np.arange(n_i)
    return _Panel(
        torch.from_numpy(rows.reshape(-1)), torch.from_numpy(columns.reshape(-1)), torch.from_numpy(values).to(dtype)
    )
