"""Matrix elements with their image, in any order: what sparse files hold, and the way from them to block operators."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from adiabat.core.errors import LabelError
from adiabat.core.operators import N_COMPONENTS, BlockOperator, Spin, find_pairs
from adiabat.core.orbitals import orbital_transform

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Elements:
    """Elements ⟨μ, 0│O│ν, R⟩ of one operator, or of one spin component of it.

    Attributes:
        images: (n, 3) R of each element.
        rows: (n,) μ, counted over all atoms from 0.
        columns: (n,) ν.
        values: (n,).
    """

    images: Integers
    rows: Integers
    columns: Integers
    values: npt.NDArray[Any]

    @classmethod
    def of_matrices(cls, images: Integers, matrices: Sequence[scipy.sparse.sparray]) -> "Elements":
        """Elements of one sparse (n_orb, n_orb) matrix O(R) an image; explicit zeros are kept."""
        parts = [scipy.sparse.coo_array(matrix) for matrix in matrices]
        return cls(
            np.repeat(np.asarray(images, dtype=np.int64), [part.nnz for part in parts], axis=0),
            np.concatenate([part.coords[0] for part in parts]).astype(np.int64),
            np.concatenate([part.coords[1] for part in parts]).astype(np.int64),
            np.concatenate([part.data for part in parts]),
        )

    def reordered(self, source: str, shell_sequence: Sequence[int]) -> "Elements":
        """The same operator over our orbitals, from those of ``source``.

        Raises:
            BasisError: an unknown code, or a shell beyond f.
        """
        order, signs = orbital_transform(source, shell_sequence)
        place = np.argsort(order)
        rows, columns = place[self.rows], place[self.columns]
        return replace(self, rows=rows, columns=columns, values=self.values * signs[rows] * signs[columns])

    def nonzero(self) -> "Elements":
        """Those that are not zero."""
        kept = self.values != 0
        return Elements(self.images[kept], self.rows[kept], self.columns[kept], self.values[kept])

    def scaled(self, factor: float) -> "Elements":
        """Values times a unit's factor."""
        return replace(self, values=self.values * factor)


def block_operators(
    operators: Mapping[str, tuple[Spin, Sequence[Elements]]], n_orbitals: Integers
) -> dict[str, BlockOperator]:
    """Block operators over one common pair list: the pairs of all of them, and the reverse of each.

    Files drop small elements of H and S apart, and of one triangle and the other, so an element that is absent is
    zero. Elements that are given several times add up. Pairs of which all elements are zero are left out.

    Args:
        operators: for each name the spin layout and the elements of each of its components.
        n_orbitals: (n_atoms,).

    Raises:
        LabelError: a number of components that the spin layout does not have.
    """
    atom = np.repeat(np.arange(len(n_orbitals)), n_orbitals)
    starts = np.concatenate([[0], np.cumsum(n_orbitals)]).astype(np.int64)
    operators = {name: (spin, [part.nonzero() for part in parts]) for name, (spin, parts) in operators.items()}
    everything = [part for _, parts in operators.values() for part in parts]
    own = np.arange(len(n_orbitals))
    pairs = np.concatenate(
        [np.stack([0 * own, 0 * own, 0 * own, own, own], axis=1), *(_pairs_of(part, atom) for part in everything)]
    )
    reverse = np.concatenate([-pairs[:, :3], pairs[:, 4:], pairs[:, 3:4]], axis=1)
    pairs = np.unique(np.concatenate([pairs, reverse]), axis=0)
    n_i, n_j = n_orbitals[pairs[:, 3]], n_orbitals[pairs[:, 4]]
    offsets = np.concatenate([[0], np.cumsum(n_i * n_j)]).astype(np.int64)
    result: dict[str, BlockOperator] = {}
    for name, (spin, parts) in operators.items():
        if len(parts) != N_COMPONENTS[spin]:
            raise LabelError(
                f"{len(parts)} spin components of {name}",
                expected=f"{N_COMPONENTS[spin]} for spin {spin!r}",
                suggestion="give the files of all spin components, or none of the second spin",
            )
        rows = []
        for part in parts:
            values = np.zeros(offsets[-1], dtype=np.result_type(part.values, np.float64))
            pair = find_pairs(pairs, np.column_stack([part.images, atom[part.rows], atom[part.columns]]))
            local_row = part.rows - starts[atom[part.rows]]
            local_column = part.columns - starts[atom[part.columns]]
            np.add.at(values, offsets[pair] + local_row * n_j[pair] + local_column, part.values)
            rows.append(values)
        result[name] = BlockOperator(pairs, offsets, rows[0] if spin == "none" else np.stack(rows), n_orbitals, spin)
    return result


def _pairs_of(part: Elements, atom: Integers) -> Integers:
    return np.unique(np.column_stack([part.images, atom[part.rows], atom[part.columns]]), axis=0)
