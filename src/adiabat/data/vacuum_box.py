"""Boxes that are no periodicity: a molecule in 50 Å of nothing is a molecule."""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.data.structure import Structure

Array = npt.NDArray[np.float64]

VACUUM: Final = 10.0
"""Å of empty space in every direction, twice a common cutoff, beyond which images cannot interact in a model."""


def _gaps(structure: Structure) -> tuple[Array, Array]:
    """Along each lattice plane's normal: the widest empty slab in Å, and the fraction at which it ends."""
    inverse = np.linalg.inv(structure.cell)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    fractions = np.sort((structure.positions @ inverse) % 1.0, axis=0)
    steps = fractions - np.roll(fractions, 1, axis=0)
    steps[0] += 1.0
    widest = steps.argmax(axis=0)
    axes = np.arange(3)
    return steps[widest, axes] * heights, fractions[widest, axes]


def is_molecule_in_box(structure: Structure) -> bool:
    """Whether a periodic structure is surrounded by vacuum on all sides."""
    return bool(np.all(structure.pbc) and _gaps(structure)[0].min() > VACUUM)


def made_whole(structure: Structure) -> Structure:
    """A molecule in a box with no bond across the boundary: the box is cut where it is empty.

    Positions of a molecule that is whole already are not touched.
    """
    raw = structure.positions @ np.linalg.inv(structure.cell)
    first = _gaps(structure)[1]
    # Rounded, so that the atom at the edge of the gap does not fall on its other side.
    images = np.floor(np.round(raw - first, 9)).astype(np.int64)
    images -= images[0]
    return replace(structure, positions=structure.positions - images @ structure.cell) if images.any() else structure


def without_cell(structure: Structure) -> Structure:
    """The same nuclei as a molecule."""
    return replace(structure, cell=np.zeros((3, 3)), pbc=np.zeros(3, dtype=bool))
