"""A short vector that does not change under rotation, translation or renumbering: to say how alike structures are."""

from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.data.neighbors import find_neighbors
from adiabat.data.structure import Structure

_RADIUS: Final = 6.0
_CENTRES: Final = np.linspace(0.8, 5.6, 16)
_WIDTH: Final = 0.3


def fingerprint(structure: Structure, elements: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Smoothed pair distribution of each pair of elements, per atom: n_kinds × 16 numbers, and the composition.

    Args:
        structure: molecule, slab or crystal.
        elements: (n_elements,) sorted atomic numbers of the whole data set.
    """
    found = find_neighbors(structure, _RADIUS)
    species = np.searchsorted(elements, structure.atomic_numbers)
    centre, neighbor = species[found.index]
    kind = np.maximum(centre, neighbor) * (np.maximum(centre, neighbor) + 1) // 2 + np.minimum(centre, neighbor)
    r = found.distances[:, None]
    weights = np.exp(-0.5 * ((r - _CENTRES) / _WIDTH) ** 2) * (1 - (r / _RADIUS) ** 2) ** 3
    distribution = np.zeros((len(elements) * (len(elements) + 1) // 2, len(_CENTRES)))
    np.add.at(distribution, kind, weights)
    composition = (structure.atomic_numbers[:, None] == elements).mean(axis=0)
    return np.concatenate([distribution.ravel() / structure.n_atoms, composition])
