"""Boxes that are no periodicity: a molecule in 50 Å of nothing is a molecule."""

from dataclasses import replace
from typing import Final

import numpy as np

from adiabat.data.structure import Structure

VACUUM: Final = 10.0
"""Å of empty space in every direction, twice a common cutoff, beyond which images cannot interact in a model."""


def vacuum_gaps(structure: Structure) -> tuple[float, float, float]:
    """Widest empty slab of a full cell along each lattice plane's normal, in Å, periodic images included."""
    inverse = np.linalg.inv(structure.cell)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    fractions = np.sort((structure.positions @ inverse) % 1.0, axis=0)
    steps = np.diff(np.concatenate([fractions, fractions[:1] + 1.0]), axis=0)
    gaps = steps.max(axis=0) * heights
    return float(gaps[0]), float(gaps[1]), float(gaps[2])


def is_molecule_in_box(structure: Structure) -> bool:
    """Whether a periodic structure is surrounded by vacuum on all sides."""
    return bool(np.all(structure.pbc)) and min(vacuum_gaps(structure)) > VACUUM


def without_cell(structure: Structure) -> Structure:
    """The same nuclei as a molecule."""
    return replace(structure, cell=np.zeros((3, 3)), pbc=np.zeros(3, dtype=bool))
