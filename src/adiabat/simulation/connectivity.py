"""Which atoms are bonded, and whether a molecule has broken since the start: a test of distances alone.

Atoms i and j are bonded where r_ij < factor · (R_i + R_j), with R the covalent radii of [cordero2008], from ASE.
A bond counts as lost only when it is much longer, and as formed only when it is nearly as short as bonds are, so that
vibration is no reaction.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from ase.data import covalent_radii
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from adiabat.data.neighbors import Neighbors, find_neighbors
from adiabat.data.structure import Structure

BONDED: Final = 1.3
"""Distance over the sum of covalent radii up to which two atoms of a structure at rest are bonded."""

LOST: Final = 1.6
"""Ratio beyond which a bond is gone: 2.4 Å for C–C, 1.7 Å for C–H, far outside thermal vibration."""

FORMED: Final = 1.15
"""Ratio below which a pair that was no bond has become one. Atoms two bonds apart stand at 1.4 and more."""

CLOSEST: Final = 0.6
"""Ratio below which two atoms are nearer than any vibration brings them; N₂, the tightest bond, is at 0.77."""

REACH: Final = 6.0
"""Å; a molecule farther than this from all others has evaporated."""


@dataclass(frozen=True)
class Connectivity:
    """Limits that tell a vibration from a reaction, as distances over sums of covalent radii, and Å.

    Attributes:
        bonded: up to this, atoms of the start are bonded.
        lost: beyond this, a bond of the start is gone.
        formed: below this, a pair that was no bond is one.
        closest: below this, two atoms are too near to be meant.
        reach: farther than this from everything else, a fragment has evaporated [Å].
    """

    bonded: float = BONDED
    lost: float = LOST
    formed: float = FORMED
    closest: float = CLOSEST
    reach: float = REACH


DEFAULT: Final = Connectivity()


def bonds(structure: Structure, factor: float = BONDED) -> npt.NDArray[np.int64]:
    """(n_bonds, 2) pairs i ≤ j nearer than ``factor`` covalent radii; one row for each periodic image."""
    return _pairs_within(structure, factor)


def is_broken(start: Structure, frame: Structure, limits: Connectivity = DEFAULT) -> str | None:
    """Whether bonds were lost or formed since the start, and which.

    Pairs are counted with their periodic images, so an atom that crosses the border of a cell has not reacted.

    Args:
        start: a sound structure.
        frame: the same atoms in the same order, elsewhere.
        limits: what counts.

    Returns: a phrase that names the first bond lost or formed, or None.
    """
    before = _counted(bonds(start, limits.bonded))
    far = _counted(_pairs_within(frame, limits.lost))
    near = _counted(_pairs_within(frame, limits.formed))
    for pair, count in before.items():
        if far.get(pair, 0) < count:
            return f"the bond {_name(start, pair)} is lost"
    for pair, count in near.items():
        if count > before.get(pair, 0):
            return f"a bond {_name(start, pair)} has formed"
    return None


def is_evaporated(start: Structure, frame: Structure, limits: Connectivity = DEFAULT) -> bool:
    """Whether some part is farther than the reach from the rest, though it was not at the start."""
    return _n_parts(frame, limits.reach) > _n_parts(start, limits.reach)


def is_too_close(frame: Structure, limits: Connectivity = DEFAULT) -> bool:
    """Whether two atoms are nearer than any vibration brings them."""
    return len(_pairs_within(frame, limits.closest)) > 0


def largest_stretch(start: Structure, frame: Structure, limits: Connectivity = DEFAULT) -> float:
    """Length of the start's bond that is longest in the frame, over its atoms' covalent radii; 0 without bonds.

    Periodic images are not followed: for molecules.
    """
    pairs = bonds(start, limits.bonded)
    if not len(pairs):
        return 0.0
    lengths = np.linalg.norm(frame.positions[pairs[:, 1]] - frame.positions[pairs[:, 0]], axis=1)
    radii = covalent_radii[frame.atomic_numbers]
    return float((lengths / (radii[pairs[:, 0]] + radii[pairs[:, 1]])).max())


def _pairs_within(structure: Structure, factor: float) -> npt.NDArray[np.int64]:
    radii = covalent_radii[structure.atomic_numbers]
    found = find_neighbors(structure, factor * 2 * float(radii.max()))
    i, j = found.index
    kept = (found.distances < factor * (radii[i] + radii[j])) & _is_first_of_its_two(found)
    return found.index[:, kept].T


def _is_first_of_its_two(found: Neighbors) -> npt.NDArray[np.bool_]:
    """Every pair stands twice, as i → j and j → i; an atom and its own image as S and −S."""
    i, j = found.index
    leading = np.take_along_axis(found.shift, (found.shift != 0).argmax(axis=1)[:, None], axis=1)[:, 0]
    return (i < j) | ((i == j) & (leading > 0))


def _counted(pairs: npt.NDArray[np.int64]) -> dict[tuple[int, int], int]:
    unique, counts = np.unique(pairs, axis=0, return_counts=True)
    return {(int(i), int(j)): int(count) for (i, j), count in zip(unique, counts, strict=True)}


def _name(structure: Structure, pair: tuple[int, int]) -> str:
    return "–".join(f"{structure.symbols[atom]}{atom}" for atom in pair)


def _n_parts(structure: Structure, reach: float) -> int:
    i, j = find_neighbors(structure, reach).index
    graph = coo_array((np.ones(len(i)), (i, j)), shape=(structure.n_atoms, structure.n_atoms))
    return int(connected_components(graph, directed=False)[0])
