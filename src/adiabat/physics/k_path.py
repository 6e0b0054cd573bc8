"""Paths through the Brillouin zone along which bands are drawn: standard, by labels, or by coordinates."""

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import ConfigError
from adiabat.data.structure import Structure
from adiabat.physics.high_symmetry import require_periodic, unknown_label, zone_points

Array = npt.NDArray[np.float64]
Corner = tuple[str, Array]
"""A labelled point (3,) in fractions of the reciprocal lattice."""

_LABEL: Final = re.compile(r"[A-ZΓΔΛΣ][_']?\d*'?")
_TICK_MERGE: Final = 1e-9


@dataclass(frozen=True, eq=False)
class KPath:
    """Points along straight lines between corners, spaced nearly evenly.

    Attributes:
        k_frac: (n_k, 3) fractions of the reciprocal lattice of the structure's cell.
        distances: (n_k,) length along the path [1/Å]; it stands still where the path jumps.
        branches: (start, stop) of each unbroken part.
        tick_positions: (n_ticks,) where the labels stand [1/Å].
        tick_labels: ``Γ``, ``M``; ``U|K`` where the path jumps.
        notes: sentences on what a reader of the bands must know.
    """

    k_frac: Array
    distances: Array
    branches: tuple[tuple[int, int], ...]
    tick_positions: Array
    tick_labels: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of points."""
        return len(self.k_frac)

    @property
    def title(self) -> str:
        """The path in one word: ``Γ–M–K–Γ``."""
        return "–".join(self.tick_labels)


def k_path(structure: Structure, path: str | None = None, n_points: int = 200) -> KPath:
    """Path of a periodic structure.

    Args:
        structure: periodic along one, two or three directions.
        path: labels (``GMKG``, ``GX|UG``, ``G-M-K``), or coordinates in fractions of the reciprocal lattice of the
            structure's cell (``G=0,0,0 M=1/2,0,0 | K=1/3,1/3,0 G=0,0,0``); None for the standard path.
        n_points: about how many points in all; each straight line gets two at least.

    Raises:
        StructureError: the structure is not periodic, or has no point of that name.
        ConfigError: a path that cannot be read.

    Source: [hinuma2017] for the standard path of a crystal.
    """
    if n_points < 2:
        raise ConfigError(f"{n_points} points on a path", expected="two or more", suggestion="--n-points 200")
    if path is not None and "=" in path:
        require_periodic(structure)
        return _sampled(structure, _parse_coordinates(path), n_points, ())
    named = None if path is None else _parse_labels(path)
    zone = zone_points(structure, sorted({label for branch in named for label in branch}) if named else ())
    branches: list[list[Corner]] = []
    for branch in named or zone.path:
        for label in branch:
            if label not in zone.points:
                raise unknown_label(label, zone)
        branches.append([(label, zone.points[label]) for label in branch])
    return _sampled(structure, branches, n_points, zone.notes)


def path_through(structure: Structure, k_frac: Array, labels: dict[int, str]) -> KPath:
    """The path that given points make, such as those of a reference calculation.

    Args:
        structure: gives the lengths.
        k_frac: (n_k, 3) points in order.
        labels: index → label of the points that have one.
    """
    steps = np.linalg.norm(cartesian(structure, np.diff(k_frac, axis=0)), axis=1)
    distances = np.concatenate([[0.0], np.cumsum(steps)])
    ticks: dict[float, str] = {}
    for index, label in sorted(labels.items()):
        position = next((p for p in ticks if abs(p - distances[index]) < _TICK_MERGE), float(distances[index]))
        before = ticks.get(position)
        ticks[position] = label if before in (None, label) else f"{before}|{label}"
    return KPath(k_frac, distances, ((0, len(k_frac)),), np.array(list(ticks)), tuple(ticks.values()))


def cartesian(structure: Structure, k_frac: Array) -> Array:
    """(…, 3) k in 1/Å, the factor 2π included, from fractions of the reciprocal lattice."""
    periodic = structure.pbc
    return 2 * np.pi * k_frac[..., periodic] @ np.linalg.pinv(structure.cell[periodic]).T


def _sampled(structure: Structure, branches: list[list[Corner]], n_points: int, notes: tuple[str, ...]) -> KPath:
    lines = [
        float(np.linalg.norm(cartesian(structure, stop[1] - start[1])))
        for branch in branches
        for start, stop in pairwise(branch)
    ]
    spacing = sum(lines) / max(1, n_points - len(branches))
    points: list[Array] = []
    distances: list[float] = []
    limits: list[tuple[int, int]] = []
    ticks: list[tuple[float, str]] = []
    at = 0.0
    for branch in branches:
        begin = len(points)
        points.append(branch[0][1])
        distances.append(at)
        if ticks:
            before = ticks.pop()[1]
            ticks.append((at, before if before == branch[0][0] else f"{before}|{branch[0][0]}"))
        else:
            ticks.append((at, branch[0][0]))
        for start, stop in pairwise(branch):
            length = float(np.linalg.norm(cartesian(structure, stop[1] - start[1])))
            n_steps = max(1, round(length / spacing))
            share = np.arange(1, n_steps + 1) / n_steps
            points += list(start[1] + share[:, None] * (stop[1] - start[1]))
            distances += (at + share * length).tolist()
            at += length
            ticks.append((at, stop[0]))
        limits.append((begin, len(points)))
    return KPath(
        np.array(points),
        np.array(distances),
        tuple(limits),
        np.array([position for position, _ in ticks]),
        tuple(label for _, label in ticks),
        notes,
    )


def _parse_labels(text: str) -> list[list[str]]:
    """``GMKG``, ``GX|UG``, ``G-M-K-G`` or ``G,M,K`` as labels, G being Γ."""
    branches: list[list[str]] = []
    for part in re.split(r"[|]", text.replace("GAMMA", "Γ").replace("Gamma", "Γ")):
        words = [word for word in re.split(r"[-–,\s]+", part) if word]
        labels = [label for word in words for label in _LABEL.findall(word)]
        if "".join(labels) != "".join(words) or len(labels) < 2:
            raise ConfigError(
                f"the path {text!r}",
                expected="two labels or more, such as GMKG or G-X|U-G, or coordinates: 'G=0,0,0 M=1/2,0,0'",
                suggestion="labels are capitals, with a digit if there are several: X, X1; G is Γ",
            )
        branches.append(["Γ" if label == "G" else label.replace("_", "") for label in labels])
    return branches


def _parse_coordinates(text: str) -> list[list[Corner]]:
    branches: list[list[Corner]] = []
    for part in text.split("|"):
        branch: list[Corner] = []
        for word in part.split():
            label, _, numbers = word.partition("=")
            try:
                values = [float(Fraction(number)) for number in numbers.split(",")]
            except (ValueError, ZeroDivisionError):
                values = []
            if not label or len(values) != 3:
                raise ConfigError(
                    f"the point {word!r} of the path {text!r}",
                    expected="LABEL=kx,ky,kz in fractions of the reciprocal lattice, without blanks",
                    suggestion="--path 'G=0,0,0 M=1/2,0,0 K=1/3,1/3,0'",
                )
            branch.append(("Γ" if label == "G" else label, np.array(values)))
        if len(branch) < 2:
            raise ConfigError(
                f"a branch of {len(branch)} points in the path {text!r}",
                expected="two points or more between | signs",
                suggestion="--path 'G=0,0,0 M=1/2,0,0 | K=1/3,1/3,0 G=0,0,0'",
            )
        branches.append(branch)
    return branches
