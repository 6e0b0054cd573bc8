"""All pairs of atoms within a radius, periodic images included."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from vesin import NeighborList

from adiabat.data.structure import Structure


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Directed pairs, each with its reverse, sorted by centre, neighbor and shift.

    Attributes:
        index: (2, n_pairs) centre i and neighbor j.
        shift: (n_pairs, 3) whole cells S between them.
        vectors: (n_pairs, 3) r_j + S·cell − r_i in Å.
        distances: (n_pairs,) their lengths in Å, below the radius.
    """

    index: npt.NDArray[np.int64]
    shift: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float64]
    distances: npt.NDArray[np.float64]


def find_neighbors(structure: Structure, radius: float) -> Neighbors:
    """Find all pairs nearer than ``radius`` Å; overlapping atoms are found like any others."""
    search = NeighborList(cutoff=radius, full_list=True, n_threads=1)
    i, j, shift, vectors, distances = search.compute(
        points=np.ascontiguousarray(structure.positions, dtype=np.float64),
        box=_completed_cell(structure),
        periodic=[bool(flag) for flag in structure.pbc],
        quantities="ijSDd",
    )
    index, shift = np.stack([i, j]).astype(np.int64), shift.astype(np.int64)
    order = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], index[1], index[0]))
    order = order[distances[order] < radius]
    return Neighbors(index[:, order], shift[order], vectors[order], distances[order])


def _completed_cell(structure: Structure) -> npt.NDArray[np.float64]:
    """Cell with an orthogonal unit vector in place of each lattice vector that is not periodic.

    A slab's third vector may be zero or lie in the plane; it means nothing, yet the neighbor search divides by the
    cell's volume.
    """
    periodic = np.asarray(structure.pbc, dtype=bool)
    if not periodic.any():
        return np.zeros((3, 3))
    cell = np.array(structure.cell, dtype=np.float64)
    if not periodic.all():
        _, _, rotation = np.linalg.svd(cell[periodic])
        cell[~periodic] = rotation[periodic.sum() :]
    return cell
