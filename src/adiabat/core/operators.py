"""Block-sparse operators over atom pairs: the one layout of H, S and density matrices."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import LabelError

Spin = Literal["none", "collinear", "spinor"]
"""How an operator treats spin: one block for both spins, one for each, or 2 × 2 complex blocks [[↑↑, ↑↓], [↓↑, ↓↓]]."""

N_COMPONENTS: Final[Mapping[Spin, int]] = {"none": 1, "collinear": 2, "spinor": 4}
"""Spatial blocks a pair has: one; ↑, ↓; ↑↑, ↑↓, ↓↑, ↓↓."""

_ADJOINT: Final[Mapping[Spin, list[int]]] = {"none": [0], "collinear": [0, 1], "spinor": [0, 2, 1, 3]}
"""Which spin component of O each spin component of O† is made of."""

_PLACES_AT_ONCE: Final = 2**22
"""Elements whose places are listed at a time."""


@dataclass(frozen=True)
class BlockOperator:
    """An operator as a list of atom pairs, each with a dense block.

    For each pair (R, i, j) there is (−R, j, i), whose block is the conjugate transpose. Pairs, offsets and orbital
    counts are spatial whatever the spin, so that H with spin and S without share them.

    Attributes:
        pairs: (n_pairs, 5) rows (R_x, R_y, R_z, i, j), sorted; i is in the home cell, j in cell R.
        offsets: (n_pairs + 1,) start of each block in ``values``.
        values: flat block values, row-major (n_orb_i, n_orb_j) each: (n_values,) without spin, (2, n_values)
            collinear, complex (4, n_values) for spinors.
        n_orbitals: (n_atoms,) number of spatial orbitals of each atom.
        spin: how spin is treated.
    """

    pairs: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    values: npt.NDArray[Any]
    n_orbitals: npt.NDArray[np.int64]
    spin: Spin = "none"

    def __post_init__(self) -> None:
        """Check the shapes against each other."""
        n_i, n_j = self.n_orbitals[self.pairs[:, 3]], self.n_orbitals[self.pairs[:, 4]]
        sizes = np.diff(self.offsets)
        n_values = int((n_i * n_j).sum())
        if len(sizes) != len(self.pairs) or np.any(sizes != n_i * n_j) or self.offsets[-1] != self.values.shape[-1]:
            raise LabelError(
                f"an operator with {len(self.pairs)} pairs and {self.values.shape[-1]} values",
                expected=f"one (n_orb_i, n_orb_j) block a pair, {n_values} values in all",
                suggestion="check that the basis of the operator is the basis of the structure",
            )
        n_components = N_COMPONENTS[self.spin]
        expected = (n_values,) if self.spin == "none" else (n_components, n_values)
        if self.values.shape != expected:
            raise LabelError(
                f"an operator of spin layout {self.spin!r} with values of shape {self.values.shape}",
                expected=f"{expected}: {n_components} component(s) of each block",
                suggestion="name the layout that the values have: none, collinear or spinor",
            )

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.n_orbitals)

    @property
    def is_periodic(self) -> bool:
        """Whether it reaches into other cells."""
        return bool(np.any(self.pairs[:, :3]))

    def block(self, index: int) -> npt.NDArray[Any]:
        """Block of one pair, shape (n_orb_i, n_orb_j), with the spin components in front if there are any."""
        i, j = self.pairs[index, 3:]
        flat = self.values[..., self.offsets[index] : self.offsets[index + 1]]
        return flat.reshape(*self.values.shape[:-1], self.n_orbitals[i], self.n_orbitals[j])

    def blocks(self) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[Any]]]:
        """Every pair row with its block."""
        for index, pair in enumerate(self.pairs):
            yield pair, self.block(index)

    @classmethod
    def from_dense(cls, matrix: npt.NDArray[np.float64], n_orbitals: npt.NDArray[np.int64]) -> "BlockOperator":
        """All-pairs operator of a molecule from its dense (n_orb, n_orb) matrix.

        Raises:
            LabelError: the matrix is not square of the size that the orbital counts add up to.
        """
        n_orb = int(n_orbitals.sum())
        if matrix.shape != (n_orb, n_orb):
            raise LabelError(
                f"a matrix of shape {matrix.shape}",
                expected=f"({n_orb}, {n_orb}) for atoms with {n_orbitals.tolist()} orbitals",
                suggestion="check the basis and that d and f shells are spherical",
            )
        n_atoms = len(n_orbitals)
        i, j = (index.ravel() for index in np.indices((n_atoms, n_atoms)))
        zeros = np.zeros_like(i)
        starts = np.concatenate([[0], np.cumsum(n_orbitals)])
        values = [
            matrix[starts[a] : starts[a + 1], starts[b] : starts[b + 1]].ravel() for a, b in zip(i, j, strict=True)
        ]
        return cls(
            pairs=np.stack([zeros, zeros, zeros, i, j], axis=1).astype(np.int64),
            offsets=np.concatenate([[0], np.cumsum(n_orbitals[i] * n_orbitals[j])]).astype(np.int64),
            values=np.concatenate(values),
            n_orbitals=np.asarray(n_orbitals, dtype=np.int64),
        )

    @classmethod
    def from_blocks(
        cls,
        pairs: npt.NDArray[np.int64],
        blocks: Sequence[npt.NDArray[Any]] | npt.NDArray[Any],
        n_orbitals: npt.NDArray[np.int64],
        spin: Spin = "none",
    ) -> "BlockOperator":
        """Operator from blocks in any order.

        Args:
            pairs: (n_pairs, 5) rows (R_x, R_y, R_z, i, j).
            blocks: for each pair (n_orb_i, n_orb_j), with the spin components in front if there are any.
            n_orbitals: (n_atoms,).
            spin: the layout.

        Raises:
            LabelError: a pair that is given twice, or blocks of the wrong size.
        """
        pairs, n_orbitals = np.asarray(pairs, dtype=np.int64).reshape(-1, 5), np.asarray(n_orbitals, dtype=np.int64)
        order = np.lexsort(pairs.T[::-1])
        pairs = pairs[order]
        twice = np.flatnonzero(~np.any(np.diff(pairs, axis=0), axis=1))
        if len(twice):
            raise LabelError(
                f"the pair (R, i, j) = {pairs[twice[0]].tolist()} given twice",
                expected="each pair once",
                suggestion="add the two blocks, or drop one, before making the operator",
            )
        lead = () if spin == "none" else (N_COMPONENTS[spin],)
        flat = [np.asarray(blocks[int(k)]).reshape(*lead, -1) for k in order]
        values = np.concatenate(flat, axis=-1) if flat else np.zeros((*lead, 0))
        sizes = n_orbitals[pairs[:, 3]] * n_orbitals[pairs[:, 4]]
        return cls(pairs, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), values, n_orbitals, spin)

    def to_dense(self) -> npt.NDArray[np.float64]:
        """Dense matrix of a molecule without spin; pairs that are absent are zero.

        Raises:
            LabelError: the operator reaches into other cells, or has spin components.
        """
        if self.is_periodic or self.spin != "none":
            raise LabelError(
                "an operator with blocks in other cells" if self.is_periodic else f"an operator with spin {self.spin}",
                expected="a molecule, all R = 0, and one block for both spins",
                suggestion="assemble a Bloch sum H(k) instead",
            )
        starts = np.concatenate([[0], np.cumsum(self.n_orbitals)])
        matrix = np.zeros((starts[-1], starts[-1]), dtype=self.values.dtype)
        for (_, _, _, i, j), block in self.blocks():
            matrix[starts[i] : starts[i + 1], starts[j] : starts[j + 1]] = block
        return matrix

    def with_values(self, values: npt.NDArray[Any], spin: Spin | None = None) -> "BlockOperator":
        """Same pairs, other values, and another spin layout if one is named."""
        return replace(self, values=values, spin=self.spin if spin is None else spin)

    def component(self, index: int) -> "BlockOperator":
        """One spin component as an operator without spin: 0 is ↑ (or ↑↑)."""
        return self if self.spin == "none" else self.with_values(self.values[index], "none")

    def on_pairs(self, pairs: npt.NDArray[np.int64]) -> "BlockOperator":
        """The same operator over another sorted pair list; blocks that it lacks are zero, those not listed are lost."""
        n_i, n_j = self.n_orbitals[pairs[:, 3]], self.n_orbitals[pairs[:, 4]]
        offsets = np.concatenate([[0], np.cumsum(n_i * n_j)]).astype(np.int64)
        values = np.zeros((*self.values.shape[:-1], int(offsets[-1])), dtype=self.values.dtype)
        rows = find_pairs(self.pairs, pairs)
        found = np.flatnonzero(rows >= 0)
        values[..., _element_index(offsets, found)] = self.values[..., _element_index(self.offsets, rows[found])]
        return BlockOperator(np.asarray(pairs, dtype=np.int64), offsets, values, self.n_orbitals, self.spin)

    def __add__(self, other: "BlockOperator") -> "BlockOperator":
        """Sum of two operators over the pairs of both; a pair that either of them lacks is zero there.

        Raises:
            LabelError: other orbital counts, or another spin layout.
        """
        if not np.array_equal(self.n_orbitals, other.n_orbitals) or self.spin != other.spin:
            raise LabelError(
                f"operators with {self.n_orbitals.tolist()} and {other.n_orbitals.tolist()} orbitals on their atoms, "
                f"spin {self.spin} and {other.spin}",
                expected="one basis, one structure and one spin layout for both",
                suggestion="compute both from the same structure with the same settings",
            )
        if np.array_equal(self.pairs, other.pairs):
            return self.with_values(self.values + other.values)
        pairs = np.unique(np.concatenate([self.pairs, other.pairs]), axis=0)
        mine, theirs = self.on_pairs(pairs), other.on_pairs(pairs)
        return mine.with_values(mine.values + theirs.values)

    @cached_property
    def partners(self) -> npt.NDArray[np.int64]:
        """(n_pairs,) index of the pair (−R, j, i) of each (R, i, j); −1 where it is missing."""
        reverse = np.concatenate([-self.pairs[:, :3], self.pairs[:, 4:], self.pairs[:, 3:4]], axis=1)
        return find_pairs(self.pairs, reverse)

    def adjoint(self) -> "BlockOperator":
        """O† over the same pairs: the block of (R, i, j) is the conjugate transpose of that of (−R, j, i).

        Raises:
            LabelError: a pair without its partner.
        """
        self._require_partners()
        values = np.empty_like(self.values)
        for places, reverse in self._partner_places():
            values[..., places] = self.values[..., reverse].conj()
        return self.with_values(values if self.spin == "none" else values[_ADJOINT[self.spin]])

    def _require_partners(self) -> None:
        missing = np.flatnonzero(self.partners < 0)
        if len(missing):
            raise LabelError(
                f"the pair (R, i, j) = {self.pairs[missing[0]].tolist()} and {len(missing) - 1} others "
                "without their reverse (−R, j, i)",
                expected="both directions of every pair",
                suggestion="read the whole matrix, not one triangle (CP2K: UPPER_TRIANGULAR F), or symmetrize it",
            )

    def _partner_places(self) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Places of some elements (μ, ν) of blocks (R, i, j), and those of (ν, μ) of (−R, j, i); all of them in turn.

        Some millions at a time: at ten thousand atoms an index of all elements is larger than the matrix.
        """
        n_i, n_j = self.n_orbitals[self.pairs[:, 3]], self.n_orbitals[self.pairs[:, 4]]
        for rows, columns in np.unique(np.stack([n_i, n_j], axis=1), axis=0).tolist():
            members = np.flatnonzero((n_i == rows) & (n_j == columns))
            within = np.arange(rows * columns)
            turned = within.reshape(columns, rows).T.ravel()
            step = max(1, _PLACES_AT_ONCE // max(1, rows * columns))
            for start in range(0, len(members), step):
                some = members[start : start + step]
                yield (
                    (self.offsets[some][:, None] + within).ravel(),
                    (self.offsets[self.partners[some]][:, None] + turned).ravel(),
                )

    def largest_asymmetry(self) -> tuple[float, int]:
        """Largest |O(R)_ij − O(−R)_ji†| of any element, not a number if any is none, and the pair that has it.

        Raises:
            LabelError: a pair without its partner.
        """
        self._require_partners()
        worst, at = 0.0, 0
        order = _ADJOINT[self.spin]
        for places, reverse in self._partner_places():
            theirs = self.values[..., reverse].conj()
            difference = np.abs(self.values[..., places] - (theirs if self.spin == "none" else theirs[order]))
            by_element = difference if self.spin == "none" else difference.max(axis=0)
            element = int(np.argmax(by_element))
            if not by_element[element] <= worst:
                worst, at = float(by_element[element]), int(places[element])
                if np.isnan(worst):
                    break
        return worst, max(0, int(np.searchsorted(self.offsets, at, side="right")) - 1)

    def hermiticity_error(self) -> float:
        """Largest |O(R)_ij − O(−R)_ji†| over all pairs; infinite if a partner is missing."""
        return float("inf") if np.any(self.partners < 0) else self.largest_asymmetry()[0]

    def symmetrized(self) -> "BlockOperator":
        """(O + O†)/2.

        Raises:
            LabelError: a pair without its partner.
        """
        return self.with_values((self.values + self.adjoint().values) / 2)


def home_pairs(n_atoms: int) -> npt.NDArray[np.int64]:
    """(n_atoms, 5) the pair (0, i, i) of every atom."""
    atoms = np.arange(n_atoms)
    return np.concatenate([np.zeros((n_atoms, 3), dtype=np.int64), atoms[:, None], atoms[:, None]], axis=1)


def find_pairs(have: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Row of each wanted pair (R_x, R_y, R_z, i, j) in a list without repeats, −1 where it is not there."""
    if not len(have) or not len(wanted):
        return np.full(len(wanted), -1, dtype=np.int64)
    low = np.minimum(have.min(axis=0), wanted.min(axis=0))
    extent = np.maximum(have.max(axis=0), wanted.max(axis=0)) - low + 1
    strides = np.concatenate([np.cumprod(extent[::-1])[-2::-1], [1]])
    have_key, wanted_key = (have - low) @ strides, (wanted - low) @ strides
    order = np.argsort(have_key, kind="stable")
    at = np.searchsorted(have_key, wanted_key, sorter=order).clip(max=len(have) - 1)
    rows = order[at]
    return np.where(have_key[rows] == wanted_key, rows, -1)


def _element_index(offsets: npt.NDArray[np.int64], blocks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Places in ``values`` of all elements of some blocks, one block after the other."""
    sizes = offsets[blocks + 1] - offsets[blocks]
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(offsets[blocks] - (ends - sizes), sizes)
