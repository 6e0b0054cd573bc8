"""An atom's surroundings as a vector of sorted inverse distances: no model and no training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adiabat.data.neighbors import find_neighbors
from adiabat.data.structure import Structure

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Environments:
    """The atoms of many structures.

    Attributes:
        vectors: (n_atoms, 2k − 1) in 1/Å.
        atomic_numbers: (n_atoms,) element of each centre.
        structure: (n_atoms,) index of the structure that each belongs to.
        n_structures: number of structures.
    """

    vectors: FloatArray
    atomic_numbers: npt.NDArray[np.int64]
    structure: npt.NDArray[np.int64]
    n_structures: int


def environments(structures: Sequence[Structure], *, cutoff: float = 5.0, n_neighbors: int = 32) -> Environments:
    """Describe each atom by its distances to its neighbors and by theirs to each other.

    With the k nearest neighbors j of atom i in order of distance and w(r) = (1 − (r/r_c)²)² below the cutoff r_c,

        X¹_ij = w(r_ij) / r_ij                                      k numbers, largest first
        X²_in = mean over j of the n-th largest √(w(r_ij) w(r_il)) / r_jl over l ≠ j       k − 1 numbers

    padded with zeros. Neither changes under rotation, translation, reflection or renumbering of the structure.

    Args:
        structures: molecules, slabs or crystals.
        cutoff: r_c in Å.
        n_neighbors: k.

    Source: [schwalbekoda2025].
    """
    width = 2 * n_neighbors - 1
    vectors = [_of_structure(structure, cutoff, n_neighbors) for structure in structures]
    return Environments(
        vectors=np.concatenate(vectors) if vectors else np.zeros((0, width)),
        atomic_numbers=np.concatenate([np.zeros(0, dtype=np.int64), *(s.atomic_numbers for s in structures)]),
        structure=np.repeat(np.arange(len(structures)), [structure.n_atoms for structure in structures]),
        n_structures=len(structures),
    )


def joined(first: Environments, second: Environments) -> Environments:
    """Both sets as one, the structures of the second counted on from the first."""
    return Environments(
        vectors=np.concatenate([first.vectors, second.vectors]),
        atomic_numbers=np.concatenate([first.atomic_numbers, second.atomic_numbers]),
        structure=np.concatenate([first.structure, second.structure + first.n_structures]),
        n_structures=first.n_structures + second.n_structures,
    )


def _of_structure(structure: Structure, cutoff: float, k: int) -> FloatArray:
    found = find_neighbors(structure, cutoff)
    starts = np.searchsorted(found.index[0], np.arange(structure.n_atoms + 1))
    rows = np.zeros((structure.n_atoms, 2 * k - 1))
    for atom in range(structure.n_atoms):
        own = slice(starts[atom], starts[atom + 1])
        nearest = np.argsort(found.distances[own], kind="stable")[:k]
        rows[atom] = _of_neighbors(found.vectors[own][nearest], found.distances[own][nearest], cutoff, k)
    return rows


def _of_neighbors(vectors: FloatArray, distances: FloatArray, cutoff: float, k: int) -> FloatArray:
    row = np.zeros(2 * k - 1)
    weights = (1 - (distances / cutoff) ** 2) ** 2
    n = len(distances)
    row[:n] = np.sort(weights / distances)[::-1]
    if n > 1:
        between = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
        np.fill_diagonal(between, np.inf)
        pairs = np.sqrt(weights[:, None] * weights[None]) / between
        row[k : k + n - 1] = np.sort(pairs, axis=1)[:, ::-1].mean(axis=0)[: n - 1]
    return row
