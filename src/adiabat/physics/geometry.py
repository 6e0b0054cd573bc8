"""Geometry that no calculation can mean."""

import numpy as np
from ase.neighborlist import primitive_neighbor_list

from adiabat.data.structure import OVERLAP_DISTANCE, Structure, overlapping_atoms


def refuse_overlapping_atoms(structure: Structure) -> None:
    """Refuse two nuclei at one place, periodic images included.

    Raises:
        StructureError: names the nearest such pair.
    """
    # ASE's list is slower than vesin's, which graphs use, but vesin loads PyTorch: seconds for each worker process.
    i, j, distances = primitive_neighbor_list(
        "ijd", structure.pbc, structure.cell, structure.positions, OVERLAP_DISTANCE
    )
    if len(distances):
        worst = int(np.argmin(distances))
        raise overlapping_atoms((int(i[worst]), int(j[worst])), float(distances[worst]))
