"""Which periodic copy of each atom an operator speaks of: codes wrap atoms before they count images.

Moving atom j by the lattice vector n renames the image R of its pairs to R + n. Bands do not change, distances do: a
model that takes the wrong copy sees two bonded atoms far apart. An overlap tells, for it decays with distance.
"""

from itertools import product
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import FileFormatError
from adiabat.core.operators import BlockOperator

Array = npt.NDArray[np.float64]

_SLACK: Final = 1.5
"""How much farther than the nearest copy of an atom the largest overlap may lie, as a factor and in Å."""


_STEPS: Final = np.array(list(product((-1, 0, 1), repeat=3)))


def pair_distances(operator: BlockOperator, positions: Array, cell: Array) -> Array:
    """|r_j + R·cell − r_i| of each pair, (n_pairs,) in the unit of the positions."""
    i, j = operator.pairs[:, 3], operator.pairs[:, 4]
    return np.linalg.norm(positions[j] + operator.pairs[:, :3] @ cell - positions[i], axis=1)


def block_norms(operator: BlockOperator) -> Array:
    """Frobenius norm of each pair's block, over all spin components, (n_pairs,)."""
    squares = np.square(np.abs(operator.values)).reshape(-1, operator.values.shape[-1]).sum(axis=0)
    return np.sqrt(np.add.reduceat(squares, operator.offsets[:-1])) if len(operator) else np.zeros(0)


def image_shifts(positions: Array, cell: Array, overlap: BlockOperator) -> npt.NDArray[np.int64]:
    """Lattice vector of each atom to the copy that the pairs of S speak of, (n_atoms, 3) cells.

    Atoms are placed one after the other, each at the copy that brings it nearest to those placed before, weighted
    with their overlap. The first atom stays.

    Args:
        positions: (n_atoms, 3) Å, each atom in any cell.
        cell: (3, 3) Å.
        overlap: S.
    """
    weights = block_norms(overlap) ** 2
    i, j = overlap.pairs[:, 3], overlap.pairs[:, 4]
    n_atoms = overlap.n_atoms
    coupling = np.zeros((n_atoms, n_atoms))
    np.add.at(coupling, (i, j), weights)
    inverse = np.linalg.inv(cell)
    shifts, placed = np.zeros((n_atoms, 3)), np.zeros(n_atoms, dtype=bool)
    placed[0] = True
    strength = coupling[0].copy()
    for _ in range(n_atoms - 1):
        atom = int(np.argmax(np.where(placed, -1.0, strength)))
        rows = np.flatnonzero(placed[i] & (j == atom) & (weights > 0))
        if len(rows):
            cells, own = overlap.pairs[rows, :3], weights[rows]
            seen_from = positions[i[rows]] + shifts[i[rows]] @ cell - cells @ cell
            guess = np.round((np.average(seen_from, axis=0, weights=own) - positions[atom]) @ inverse)
            candidates = guess + _STEPS
            copies = positions[atom] + candidates @ cell
            squares = np.square(copies[:, None] - seen_from).sum(axis=2)
            shifts[atom] = candidates[int(np.argmin(squares @ own))]
        placed[atom] = True
        strength += coupling[atom]
    return shifts.round().astype(np.int64)


def moved_to_images(positions: Array, cell: Array, overlap: BlockOperator) -> Array:
    """Positions moved by :func:`image_shifts`, (n_atoms, 3) Å: those that the pairs of S speak of."""
    return positions + image_shifts(positions, cell, overlap) @ cell


def renumbered(operator: BlockOperator, shifts: npt.NDArray[np.int64]) -> BlockOperator:
    """The same operator with images that count from unmoved atoms: R becomes R + n_j − n_i.

    Args:
        operator: its images count from atoms moved by the lattice vectors n.
        shifts: (n_atoms, 3) n of each atom.
    """
    pairs = operator.pairs.copy()
    pairs[:, :3] += shifts[pairs[:, 4]] - shifts[pairs[:, 3]]
    blocks = [operator.block(k) for k in range(len(operator))]
    return BlockOperator.from_blocks(pairs, blocks, operator.n_orbitals, operator.spin)


def check_images(positions: Array, cell: Array, overlap: BlockOperator, place: str) -> None:
    """Refuse an overlap that is largest between copies of two atoms that are far apart.

    Args:
        positions: (n_atoms, 3) Å.
        cell: (3, 3) Å.
        overlap: S.
        place: file, for the message.

    Raises:
        FileFormatError: the images of the operator are not those of the positions.
    """
    norms = block_norms(overlap)
    i, j = overlap.pairs[:, 3], overlap.pairs[:, 4]
    order = np.lexsort((norms, j, i))
    last = np.append(np.diff(i[order]) | np.diff(j[order]), 1) != 0
    largest = order[last]
    largest = largest[(i[largest] < j[largest]) & (norms[largest] > 0)]
    a, b = i[largest], j[largest]
    vectors = positions[b] - positions[a]
    home = np.round(vectors @ np.linalg.inv(cell))
    copies = vectors[:, None] + (_STEPS - home[:, None]) @ cell
    nearest = np.linalg.norm(copies, axis=2).min(axis=1, initial=np.inf)
    distances = pair_distances(overlap, positions, cell)[largest]
    wrong = np.flatnonzero(distances > _SLACK * nearest + _SLACK)
    if len(wrong):
        at = wrong[0]
        raise FileFormatError(
            f"{place}: an overlap of atoms {a[at]} and {b[at]} that is largest at {distances[at]:.2f} Å, in cell "
            f"{overlap.pairs[largest[at], :3].tolist()}, although a copy is {nearest[at]:.2f} Å away",
            expected="images that count from the atoms' positions",
            suggestion="give the structure of this very calculation; atoms may have been wrapped into the cell",
        )
