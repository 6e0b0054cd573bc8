"""Frames that are in a data set twice: bit for bit, or turned, moved, mirrored or renumbered, within a threshold."""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from adiabat.campaigns.selection.environments import Environments, environments
from adiabat.core.errors import ConfigError
from adiabat.data.structure import Structure

FloatArray = npt.NDArray[np.float64]

_ROUNDS: Final = 20
"""Alternations of rotating and renumbering; each lowers the deviation, and few are needed."""
_SLOPE: Final = 0.3
"""1/Å²: bound on the root mean square change of the mean environments of two frames, over their deviation in Å.

Measured on 120 shaken ethanols: 0.13 in the median, 0.22 at most.
"""


@dataclass(frozen=True)
class Duplicates:
    """Groups of frames that are the same.

    Attributes:
        exact: groups with equal nuclei, cell, charge and spin, bit for bit.
        near: groups within the threshold of each other, chained; they contain the exact ones.
        threshold: in Å.
    """

    exact: tuple[tuple[int, ...], ...]
    near: tuple[tuple[int, ...], ...]
    threshold: float

    @property
    def surplus(self) -> list[int]:
        """All frames but the first of each group."""
        return sorted(index for group in self.near for index in group[1:])


def find_duplicates(structures: Sequence[Structure], threshold: float = 0.02, *, cutoff: float = 5.0) -> Duplicates:
    """Group equal and nearly equal structures.

    Molecules are compared by the root mean square deviation after the best rotation or reflection and numbering.
    Crystals and slabs by that of their atoms' environments, in units in which a displacement by 1 Å counts about 1.

    Args:
        structures: all frames.
        threshold: root mean square deviation in Å below which two frames count as one.
        cutoff: radius of the environments in Å.

    Raises:
        ConfigError: a threshold that is no positive number.
    """
    if not threshold > 0:
        raise ConfigError(f"threshold {threshold}", expected="a positive length in Å", suggestion="0.02")
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, structure in enumerate(structures):
        groups[structure.content_hash].append(index)
    exact = tuple(tuple(group) for group in groups.values() if len(group) > 1)
    links = [(group[0], other) for group in exact for other in group[1:]]
    links += _candidates(structures, [group[0] for group in groups.values()], threshold, cutoff)
    n = len(structures)
    i, j = np.array(links, dtype=np.int64).reshape(-1, 2).T
    _, part = connected_components(coo_array((np.ones(len(i)), (i, j)), shape=(n, n)), directed=False)
    chained: defaultdict[int, list[int]] = defaultdict(list)
    for index in range(n):
        chained[int(part[index])].append(index)
    near = tuple(tuple(group) for group in chained.values() if len(group) > 1)
    return Duplicates(exact, near, threshold)


def aligned_deviation(a: Structure, b: Structure, start: npt.NDArray[np.int64] | None = None) -> float:
    """Root mean square deviation in Å of two molecules of one composition, best rotated, reflected and renumbered.

    From each of a few starts, numbering by the Hungarian method and rotation by Kabsch's alternate until neither
    changes: an upper bound, exact for frames that are near each other.

    Args:
        a: a molecule.
        b: another.
        start: (n_atoms,) which atom of b goes with each of a; by environments if not given.

    Source: [kabsch1976]; [kuhn1955].
    """
    order = _by_environment(a, b) if start is None else start
    x, y = a.positions - a.positions.mean(axis=0), b.positions - b.positions.mean(axis=0)
    same = a.atomic_numbers[:, None] == b.atomic_numbers[None]
    best = np.inf
    for _ in range(_ROUNDS):
        left, _, right = np.linalg.svd(y[order].T @ x)  # reflections allowed: they change no energy
        turned = y @ (left @ right)
        squares = ((x[:, None] - turned[None]) ** 2).sum(axis=-1)
        order = linear_sum_assignment(np.where(same, squares, 1e9))[1]
        deviation = float(np.sqrt(squares[np.arange(len(order)), order].mean()))
        if deviation >= best - 1e-12:
            break
        best = deviation
    return best


def _candidates(
    structures: Sequence[Structure], indices: list[int], threshold: float, cutoff: float
) -> Iterator[tuple[int, int]]:
    """Pairs within the threshold, among frames of one composition, charge and spin."""
    alike: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index in indices:
        s = structures[index]
        alike[(*np.sort(s.atomic_numbers).tolist(), s.charge, s.spin, tuple(map(bool, s.pbc)))].append(index)
    for members in alike.values():
        found = environments([structures[index] for index in members], cutoff=cutoff)
        summaries = _summaries(found)
        for place, own in enumerate(members):
            rest = summaries[place + 1 :]
            near = np.flatnonzero(((rest - summaries[place]) ** 2).mean(axis=1) <= (_SLOPE * threshold) ** 2)
            for other in (near + place + 1).tolist():
                if _deviation(structures[own], structures[members[other]], found, place, other) <= threshold:
                    yield own, members[other]


def _summaries(found: Environments) -> FloatArray:
    """(n_structures, n) mean of the environments of each element: nearer than the atoms' own, whatever their order."""
    means = []
    for index in range(found.n_structures):
        own = found.structure == index
        numbers = found.atomic_numbers[own]
        means.append(np.concatenate([found.vectors[own][numbers == z].mean(axis=0) for z in np.unique(numbers)]))
    return np.stack(means)


def _deviation(a: Structure, b: Structure, found: Environments, place: int, other: int) -> float:
    first, second = (found.vectors[found.structure == index] for index in (place, other))
    squares = ((first[:, None] - second[None]) ** 2).sum(axis=-1)
    same = a.atomic_numbers[:, None] == b.atomic_numbers[None]
    order = linear_sum_assignment(np.where(same, squares, 1e9))[1]
    if a.pbc.any():
        return float(np.sqrt(squares[np.arange(len(order)), order].mean()))
    return aligned_deviation(a, b, order)


def _by_environment(a: Structure, b: Structure) -> npt.NDArray[np.int64]:
    found = environments([a, b], cutoff=20.0)
    first, second = found.vectors[found.structure == 0], found.vectors[found.structure == 1]
    squares = ((first[:, None] - second[None]) ** 2).sum(axis=-1)
    return linear_sum_assignment(np.where(a.atomic_numbers[:, None] == b.atomic_numbers[None], squares, 1e9))[1]
