"""Geometry that no calculation can mean."""

import numpy as np
from vesin import NeighborList

from adiabat.data.structure import OVERLAP_DISTANCE, Structure, overlapping_atoms


def refuse_overlapping_atoms(structure: Structure) -> None:
    """Refuse two nuclei at one place, periodic images included.

    Raises:
        StructureError: names the nearest such pair.
    """
    neighbors = NeighborList(cutoff=OVERLAP_DISTANCE, full_list=False)
    i, j, distances = neighbors.compute(
        points=structure.positions, box=structure.cell, periodic=structure.pbc, quantities="ijd"
    )
    if len(distances):
        worst = int(np.argmin(distances))
        raise overlapping_atoms((int(i[worst]), int(j[worst])), float(distances[worst]))
