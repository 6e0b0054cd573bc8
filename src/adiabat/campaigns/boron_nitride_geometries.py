"""Strained and displaced cells of a hexagonal boron nitride layer, to be labelled: the crystal demo's only input."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from adiabat.data.structure import Structure

LATTICE_CONSTANT: Final = 2.51
"""Å, near the minimum of PBE."""

VACUUM: Final = 12.0
"""Å from a layer to its copy; orbitals of SZVP-MOLOPT-SR reach less far."""

Repeats = tuple[int, int]


def boron_nitride(repeats: Repeats = (1, 1)) -> Structure:
    """A perfect layer in the xy plane, periodic along the first two vectors.

    Args:
        repeats: copies of the two-atom cell along its two vectors.
    """
    a = LATTICE_CONSTANT
    cell = np.array([[a, 0.0, 0.0], [-a / 2, a * np.sqrt(3) / 2, 0.0], [0.0, 0.0, VACUUM]])
    basis = np.array([[0.0, 0.0, 0.0], [1 / 3, 2 / 3, 0.0]])
    origins = np.array([[i, j, 0] for i in range(repeats[0]) for j in range(repeats[1])])
    fractions = (origins[:, None] + basis).reshape(-1, 3)
    return Structure(
        np.tile(np.array([5, 7], dtype=np.int64), len(origins)),
        fractions @ cell,
        cell * np.array([[repeats[0]], [repeats[1]], [1]]),
        np.array([True, True, False]),
    )


def sample_boron_nitride(
    counts: Sequence[tuple[str, Repeats, int]], strain: float, displacement: float, seed: int
) -> list[Structure]:
    """Cells with a strain in the plane and displaced atoms.

    Args:
        counts: (split, repeats, number of cells).
        strain: every component of the symmetric strain is drawn evenly from −strain … strain.
        displacement: standard deviation of each coordinate of each atom [Å].
        seed: fixes every geometry.

    Returns: the cells, part by part; ``info`` holds ``split``.
    """
    generator = np.random.default_rng(seed)
    structures: list[Structure] = []
    for split, repeats, count in counts:
        perfect = boron_nitride(repeats)
        for _cell in range(count):
            xx, yy, xy = generator.uniform(-strain, strain, 3)
            deformation = np.eye(3) + np.array([[xx, xy / 2, 0], [xy / 2, yy, 0], [0, 0, 0]])
            noise = displacement * generator.standard_normal(perfect.positions.shape)
            structures.append(
                Structure(
                    perfect.atomic_numbers,
                    perfect.positions @ deformation + noise,
                    perfect.cell @ deformation,
                    perfect.pbc,
                    info={"split": split},
                )
            )
    return structures
