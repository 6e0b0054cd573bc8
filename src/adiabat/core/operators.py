"""Block-sparse operators over atom pairs: the one layout of H, S and density matrices."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import LabelError


@dataclass(frozen=True)
class BlockOperator:
    """An operator as a list of atom pairs, each with a dense block.

    For each pair (R, i, j) there is (−R, j, i), whose block is the conjugate transpose.

    Attributes:
        pairs: (n_pairs, 5) rows (R_x, R_y, R_z, i, j), sorted; i is in the home cell, j in cell R.
        offsets: (n_pairs + 1,) start of each block in ``values``.
        values: flat block values, row-major (n_orb_i, n_orb_j) each.
        n_orbitals: (n_atoms,) number of orbitals of each atom.
    """

    pairs: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    n_orbitals: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        """Check the shapes against each other."""
        n_i, n_j = self.n_orbitals[self.pairs[:, 3]], self.n_orbitals[self.pairs[:, 4]]
        sizes = np.diff(self.offsets)
        if len(sizes) != len(self.pairs) or np.any(sizes != n_i * n_j) or self.offsets[-1] != len(self.values):
            raise LabelError(
                f"an operator with {len(self.pairs)} pairs and {len(self.values)} values",
                expected=f"one (n_orb_i, n_orb_j) block a pair, {int((n_i * n_j).sum())} values in all",
                suggestion="check that the basis of the operator is the basis of the structure",
            )

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    def block(self, index: int) -> npt.NDArray[np.float64]:
        """Block of one pair, shape (n_orb_i, n_orb_j)."""
        i, j = self.pairs[index, 3:]
        return self.values[self.offsets[index] : self.offsets[index + 1]].reshape(
            self.n_orbitals[i], self.n_orbitals[j]
        )

    def blocks(self) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
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

    def to_dense(self) -> npt.NDArray[np.float64]:
        """Dense matrix of a molecule; pairs that are absent are zero.

        Raises:
            LabelError: the operator reaches into other cells.
        """
        if np.any(self.pairs[:, :3]):
            raise LabelError(
                "an operator with blocks in other cells",
                expected="a molecule, all R = 0",
                suggestion="assemble a Bloch sum H(k) instead",
            )
        starts = np.concatenate([[0], np.cumsum(self.n_orbitals)])
        matrix = np.zeros((starts[-1], starts[-1]), dtype=self.values.dtype)
        for (_, _, _, i, j), block in self.blocks():
            matrix[starts[i] : starts[i + 1], starts[j] : starts[j + 1]] = block
        return matrix

    def with_values(self, values: npt.NDArray[np.float64]) -> "BlockOperator":
        """Same pairs, other values."""
        return BlockOperator(self.pairs, self.offsets, values, self.n_orbitals)

    def __add__(self, other: "BlockOperator") -> "BlockOperator":
        """Sum of two operators of one molecule, over all pairs; a pair that either of them lacks is zero there.

        Raises:
            LabelError: an operator that reaches into other cells, or other orbital counts.
        """
        if not np.array_equal(self.n_orbitals, other.n_orbitals):
            raise LabelError(
                f"operators with {self.n_orbitals.tolist()} and {other.n_orbitals.tolist()} orbitals on their atoms",
                expected="one basis and one structure for both",
                suggestion="compute both from the same structure with the same settings",
            )
        return BlockOperator.from_dense(self.to_dense() + other.to_dense(), self.n_orbitals)

    def hermiticity_error(self) -> float:
        """Largest |O(R)_ij − O(−R)_ji†| over all pairs; infinite if a partner is missing."""
        index = {tuple(row): k for k, row in enumerate(self.pairs.tolist())}
        worst = 0.0
        for (rx, ry, rz, i, j), block in ((row.tolist(), b) for row, b in self.blocks()):
            partner = index.get((-rx, -ry, -rz, j, i))
            if partner is None:
                return float("inf")
            worst = max(worst, float(np.abs(block - self.block(partner).conj().T).max(initial=0.0)))
        return worst
