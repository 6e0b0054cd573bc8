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


def pair_distances(operator: BlockOperator, positions: Array, cell: Array) -> Array:
    """|r_j + R·cell − r_i| of each pair, (n_pairs,) in the unit of the positions."""
    i, j = operator.pairs[:, 3], operator.pairs[:, 4]
    return np.linalg.norm(positions[j] + operator.pairs[:, :3] @ cell - positions[i], axis=1)


def block_norms(operator: BlockOperator) -> Array:
    """Frobenius norm of each pair's block, over all spin components, (n_pairs,)."""
    squares = np.square(np.abs(operator.values)).reshape(-1, operator.values.shape[-1]).sum(axis=0)
    return np.sqrt(np.add.reduceat(squares, operator.offsets[:-1])) if len(operator) else np.zeros(0)


def moved_to_images(positions: Array, cell: Array, overlap: BlockOperator) -> Array:
    """Positions moved by lattice vectors to the copies that the pairs of S speak of.

    Atoms are placed one after the other, each at the copy that brings it nearest to those placed before, weighted
    with their overlap. The first atom stays.

    Args:
        positions: (n_atoms, 3) Å, each atom in any cell.
        cell: (3, 3) Å.
        overlap: S.

    Returns: (n_atoms, 3) Å.
    """
    norms = block_norms(overlap) ** 2
    i, j = overlap.pairs[:, 3], overlap.pairs[:, 4]
    n_atoms = overlap.n_atoms
    coupling = np.zeros((n_atoms, n_atoms))
    np.add.at(coupling, (i, j), norms)
    inverse = np.linalg.inv(cell)
    moved, placed = positions.copy(), np.zeros(n_atoms, dtype=bool)
    placed[0] = True
    steps = np.array(list(product((-1, 0, 1), repeat=3)))
    while not placed.all():
        strength = np.where(placed, -1.0, coupling[placed].sum(axis=0))
        atom = int(np.argmax(strength))
        mine = placed[i] & (j == atom)
        if mine.any() and norms[mine].sum() > 0:
            # Where the placed neighbors see this atom, on average; the copy nearest to there is right up to a step.
            cells = overlap.pairs[mine, :3]
            near = np.average(moved[i[mine]] - cells @ cell, axis=0, weights=norms[mine])
            guess = np.round((near - positions[atom]) @ inverse)
            copies = positions[atom] + (guess + steps) @ cell
            vectors = copies[:, None] + cells @ cell - moved[i[mine]]
            moved[atom] = copies[int(np.argmin(np.square(vectors).sum(axis=2) @ norms[mine]))]
        placed[atom] = True
    return moved


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
    distances, norms = pair_distances(overlap, positions, cell), block_norms(overlap)
    i, j = overlap.pairs[:, 3], overlap.pairs[:, 4]
    for a, b in {(int(a), int(b)) for a, b in zip(i, j, strict=True) if a < b}:
        rows = np.flatnonzero((i == a) & (j == b))
        largest, nearest = rows[np.argmax(norms[rows])], rows[np.argmin(distances[rows])]
        if distances[largest] > _SLACK * distances[nearest] + _SLACK and norms[largest] > 2 * norms[nearest]:
            raise FileFormatError(
                f"{place}: an overlap of atoms {a} and {b} that is largest at {distances[largest]:.2f} Å, in cell "
                f"{overlap.pairs[largest, :3].tolist()}, although cell {overlap.pairs[nearest, :3].tolist()} is "
                f"{distances[nearest]:.2f} Å away",
                expected="images that count from the atoms' positions",
                suggestion="give the structure of this very calculation; atoms may have been wrapped into the cell",
            )
