"""Blocks of one code's orbital order as blocks of another, and two operators over one pair list."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import orbital_transform


def to_our_order(operator: BlockOperator, source: str, shell_sequence: Sequence[int]) -> BlockOperator:
    """An operator over the orbitals of ``source`` as one over ours.

    Args:
        operator: blocks as the code orders them.
        source: the code, a name that :func:`adiabat.core.orbitals.orbital_transform` knows.
        shell_sequence: l of all shells, atom by atom.

    Raises:
        BasisError: an unknown code, or a shell beyond f.
    """
    order, signs = orbital_transform(source, shell_sequence)
    return _permuted(operator, order, signs)


def from_our_order(operator: BlockOperator, source: str, shell_sequence: Sequence[int]) -> BlockOperator:
    """Inverse of :func:`to_our_order`."""
    order, signs = orbital_transform(source, shell_sequence)
    back = np.argsort(order)
    return _permuted(operator, back, signs[back])


def on_common_pairs(*operators: BlockOperator) -> tuple[BlockOperator, ...]:
    """Operators over the pairs of all of them and the reverse of each; what one of them lacks is zero there."""
    pairs = np.unique(np.concatenate([operator.pairs for operator in operators]), axis=0)
    reverse = np.concatenate([-pairs[:, :3], pairs[:, 4:], pairs[:, 3:4]], axis=1)
    pairs = np.unique(np.concatenate([pairs, reverse]), axis=0)
    return tuple(operator.on_pairs(pairs) for operator in operators)


def _permuted(operator: BlockOperator, order: npt.NDArray[np.int64], signs: npt.NDArray[np.float64]) -> BlockOperator:
    """Element (μ, ν) of the result is signs[μ] signs[ν] times element (order[μ], order[ν])."""
    starts = np.concatenate([[0], np.cumsum(operator.n_orbitals)])
    sizes = np.diff(operator.offsets)
    first = np.repeat(operator.offsets[:-1], sizes)
    i, j = np.repeat(operator.pairs[:, 3], sizes), np.repeat(operator.pairs[:, 4], sizes)
    n_columns = operator.n_orbitals[j]
    row, column = np.divmod(np.arange(operator.offsets[-1]) - first, n_columns)
    row, column = starts[i] + row, starts[j] + column
    source = first + (order[row] - starts[i]) * n_columns + order[column] - starts[j]
    return operator.with_values(operator.values[..., source] * (signs[row] * signs[column]))
