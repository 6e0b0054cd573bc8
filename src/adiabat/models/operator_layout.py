"""Operator blocks as tensors: every block padded to one shape, so that a batch needs no loop over atoms or pairs.

The padded orbital axis holds, l by l, as many shells as the richest element has: for H (2s1p) and O (3s2p1d) it is
s s s p p d, and hydrogen's orbitals take the first two s and the first p. A mask tells orbitals from padding.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adiabat.core.errors import LabelError
from adiabat.core.operators import N_COMPONENTS, BlockOperator, Spin, find_pairs, home_pairs
from adiabat.core.orbitals import OrbitalBasis
from adiabat.models.spinor_parts import real_parts, spinor_components


@dataclass(frozen=True, eq=False)
class OperatorBlocks:
    """Padded blocks of an operator on a batch of graphs.

    With spin, its components stand between the first axis and the block: ↑ and ↓, or H₀ and (A_y, A_z, A_x) of
    :mod:`adiabat.models.spinor_parts`.

    Attributes:
        onsite: (n_atoms, n_padded, n_padded) blocks (R = 0, i, i).
        pair: (n_pairs, n_padded, n_padded) blocks (R, i, j), in the order of the graph's ``pair_index``.
    """

    onsite: Tensor
    pair: Tensor

    def detach(self) -> "OperatorBlocks":
        """Same values, without the graph of their making."""
        return OperatorBlocks(self.onsite.detach(), self.pair.detach())


class OperatorLayout:
    """The padded orbital axis of a basis, and the way there and back.

    Args:
        basis: shells of each element.
        spin: layout of the operators.
    """

    def __init__(self, basis: OrbitalBasis, spin: Spin = "none") -> None:
        self.basis = basis
        self.spin: Spin = spin
        self.component_shape = () if spin == "none" else (N_COMPONENTS[spin],)
        """Shape of the spin components: none, (2,) or (4,)."""
        elements = sorted(basis.shells)
        count = [max(basis.of(z).count(l) for z in elements) for l in range(basis.l_max + 1)]
        self.shells = tuple(l for l, n in enumerate(count) for _ in range(n))
        """Angular momentum of each padded shell, ascending."""
        self.n_padded = sum(2 * l + 1 for l in self.shells)
        self._places = {z: self._place(basis.of(z)) for z in elements}

    def _place(self, ls: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Padded index of each orbital of an element."""
        starts = np.concatenate([[0], np.cumsum([2 * l + 1 for l in self.shells])])
        first_of_l = {l: self.shells.index(l) for l in set(ls)}
        seen = dict.fromkeys(first_of_l, 0)
        places: list[int] = []
        for l in ls:
            start = starts[first_of_l[l] + seen[l]]
            places += range(start, start + 2 * l + 1)
            seen[l] += 1
        return np.array(places, dtype=np.int64)

    def places(self, atomic_number: int) -> npt.NDArray[np.int64]:
        """Padded index of each orbital of an element, in the basis' own order."""
        return self._places[int(atomic_number)]

    def orbital_mask(self, atomic_numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """(n_atoms, n_padded): True where the atom has an orbital."""
        table = np.zeros((max(self._places, default=0) + 1, self.n_padded), dtype=bool)
        for z, places in self._places.items():
            table[z, places] = True
        self.basis.n_orbitals(atomic_numbers)
        return table[atomic_numbers]

    def pack(
        self, operator: BlockOperator, atomic_numbers: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Padded blocks of one structure's operator.

        Args:
            operator: in the basis and spin layout of this layout.
            atomic_numbers: (n_atoms,).
            pairs: (n_pairs, 5) rows (R_x, R_y, R_z, i, j) that are wanted.

        Returns: onsite (n_atoms, …, n_padded, n_padded) and pair (n_pairs, …, n_padded, n_padded), … being
            ``component_shape``.

        Raises:
            LabelError: a wanted pair is not in the operator, its blocks are not of this basis or spin layout, or
                spinor blocks that change under time reversal.
        """
        if operator.spin != self.spin:
            raise LabelError(
                f"an operator of spin layout {operator.spin!r}",
                expected=f"{self.spin!r}, as the model and the other labels have",
                suggestion="keep structures of one spin treatment in one data set",
            )
        expected = self.basis.n_orbitals(atomic_numbers)
        if not np.array_equal(expected, operator.n_orbitals):
            raise LabelError(
                f"an operator with {operator.n_orbitals.tolist()} orbitals on its atoms",
                expected=f"{expected.tolist()}, as basis {self.basis.name!r} has",
                suggestion="use operators of one basis; `adiabat data inspect` shows which a store holds",
            )
        packed = self._scatter(operator, atomic_numbers)
        return packed[_find(operator.pairs, home_pairs(len(atomic_numbers)))], packed[_find(operator.pairs, pairs)]

    def _scatter(self, operator: BlockOperator, atomic_numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        values = operator.values if self.spin != "spinor" else real_parts(operator.values)
        packed = np.zeros((len(operator), *self.component_shape, self.n_padded, self.n_padded))
        for members, rows, columns in self._species_groups(operator, atomic_numbers):
            size = len(rows) * len(columns)
            blocks = values[..., operator.offsets[members][:, None] + np.arange(size)]
            blocks = blocks.reshape(*self.component_shape, len(members), len(rows), len(columns))
            where = np.ix_(members, rows, columns)
            packed[where if self.spin == "none" else (where[0], slice(None), *where[1:])] = (
                blocks if self.spin == "none" else np.moveaxis(blocks, 0, -1)
            )
        return packed

    def unpack(
        self, onsite: npt.NDArray[np.float64], pair: npt.NDArray[np.float64],
        atomic_numbers: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64],
    ) -> BlockOperator:  # fmt: skip
        """Inverse of :meth:`pack`: on-site and pair blocks as one operator with sorted pairs."""
        n_orbitals = self.basis.n_orbitals(atomic_numbers)
        all_pairs = np.concatenate([home_pairs(len(atomic_numbers)), pairs])
        order = np.lexsort(all_pairs.T[::-1])
        all_pairs, packed = all_pairs[order], np.concatenate([onsite, pair])[order]
        sizes = n_orbitals[all_pairs[:, 3]] * n_orbitals[all_pairs[:, 4]]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        empty = BlockOperator(all_pairs, offsets, np.zeros(offsets[-1]), n_orbitals)
        values = np.zeros((*self.component_shape, offsets[-1]))
        for members, rows, columns in self._species_groups(empty, atomic_numbers):
            places = offsets[members][:, None] + np.arange(len(rows) * len(columns))
            where = np.ix_(members, rows, columns)
            if self.spin == "none":
                values[places] = packed[where].reshape(places.shape)
            else:
                blocks = packed[where[0], :, where[1], where[2]]  # the components come last, NumPy's rule
                values[:, places] = np.moveaxis(blocks, -1, 0).reshape(-1, *places.shape)
        return empty.with_values(values if self.spin != "spinor" else spinor_components(values), self.spin)

    def _species_groups(
        self, operator: BlockOperator, atomic_numbers: npt.NDArray[np.int64]
    ) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """For each pair of elements: which blocks, and the padded rows and columns that they fill."""
        z_i, z_j = atomic_numbers[operator.pairs[:, 3]], atomic_numbers[operator.pairs[:, 4]]
        present = np.unique(atomic_numbers)
        groups = [
            (np.flatnonzero((z_i == a) & (z_j == b)), self._places[int(a)], self._places[int(b)])
            for a, b in product(present, present)
        ]
        return [group for group in groups if len(group[0])]


def graph_pairs(pair_index: Tensor, pair_shift: Tensor) -> npt.NDArray[np.int64]:
    """The pair list of a single graph as rows (R_x, R_y, R_z, i, j)."""
    return torch.cat([pair_shift.round().long(), pair_index.mT], dim=1).cpu().numpy()


def _find(have: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Row of each wanted pair among the pairs that there are."""
    rows = find_pairs(have, wanted)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        raise LabelError(
            f"an operator without the pair (R, i, j) = {wanted[missing[0]].tolist()} and {len(missing) - 1} others",
            expected="a block for every pair within the operator head's pair radius",
            suggestion="lower model.operator.pair_radius to the reach of the labels",
        )
    return rows
