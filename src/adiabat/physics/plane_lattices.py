"""High-symmetry points of the five planar lattices.

A planar lattice is brought to a standard basis, an integer combination of the given vectors, for which the points are
known. The given vectors themselves are not changed.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Points = Mapping[str, tuple[float, float]]

LATTICE_TOLERANCE: Final = 5e-3
"""Relative difference of lengths, or cosine of an angle, below which a lattice has the higher symmetry: cells come
rounded from files, and relaxed monolayers keep their symmetry to a few parts in a thousand."""

LABEL_TOLERANCE: Final = 0.2
"""The same where the points are named: ``GMKG`` on a strained hexagonal cell means the M and K nearest to its own."""


@dataclass(frozen=True)
class PlaneLattice:
    """A planar lattice with its high-symmetry points.

    Attributes:
        name: ``hexagonal``, ``square``, ``rectangular``, ``centred rectangular`` or ``oblique``.
        basis: (2, d) standard lattice vectors [Å].
        points: label → (2,) fractions of the standard reciprocal basis.
        path: the standard path.
        deviation: how far the lattice is from the ideal one; 0 is exact.
    """

    name: str
    basis: Array
    points: Points
    path: tuple[str, ...]
    deviation: float


def planar_lattice(vectors: Array, labels: Collection[str] = ()) -> PlaneLattice | None:
    """The most symmetric lattice within tolerance; if it lacks a label, the nearest lattice that has them all.

    Args:
        vectors: (2, d) primitive lattice vectors [Å].
        labels: points that were named; none for the standard path.

    Returns: None if no lattice near enough has all the labels.
    """
    candidates = [_on(kind, _nearest_basis(kind, vectors)) for kind in _KINDS]
    exact = next(lattice for lattice in candidates if lattice.deviation <= LATTICE_TOLERANCE)
    if set(labels) <= set(exact.points):
        return exact
    # No basis is the right one now. Where the given one will do, its M is the one that the user means.
    given = [_on(kind, vectors) for kind in _KINDS if kind.is_standard(*_shape(vectors))]
    having = [lattice for lattice in (*given, *candidates) if set(labels) <= set(lattice.points)]
    if having and having[0].deviation <= LABEL_TOLERANCE:
        return having[0]
    nearest = min(having, key=lambda lattice: lattice.deviation, default=None)
    return nearest if nearest is not None and nearest.deviation <= LABEL_TOLERANCE else None


@dataclass(frozen=True)
class _Kind:
    """A kind of lattice; its functions take the ratio |a₂|/|a₁| and the cosine of the angle of a basis.

    Attributes:
        name: of the lattice.
        path: the standard path.
        deviation: from the ideal lattice.
        points: of the standard basis.
        is_standard: whether the points are those of this basis.
    """

    name: str
    path: tuple[str, ...]
    deviation: Callable[[float, float], float]
    points: Callable[[float, float], Points]
    is_standard: Callable[[float, float], bool] = lambda ratio, cosine: True


def _rhombic_points(ratio: float, cosine: float) -> Points:
    eta = 0.5 / (1 + cosine)
    xi = eta * cosine
    return {"Γ": (0, 0), "X": (eta, -eta), "A1": (0.5 + xi, 0.5 - xi), "Y": (0.5, 0.5), "S": (0.5, 0)}


def _oblique_points(ratio: float, cosine: float) -> Points:
    eta = (1 - cosine / ratio) / (2 * (1 - cosine**2))
    nu = 0.5 - eta * cosine * ratio
    return {"Γ": (0, 0), "Y": (0, 0.5), "H": (eta, 1 - nu), "C": (0.5, 0.5), "H1": (1 - eta, nu), "X": (0.5, 0)}


_THIRD: Final = 1 / 3
_KINDS: Final = (
    _Kind(
        "hexagonal",
        ("Γ", "M", "K", "Γ"),
        lambda ratio, cosine: max(abs(np.log(ratio)), abs(cosine + 0.5)),
        lambda ratio, cosine: {"Γ": (0, 0), "M": (0.5, 0), "K": (_THIRD, _THIRD)},
    ),
    _Kind(
        "square",
        ("Γ", "X", "M", "Γ"),
        lambda ratio, cosine: max(abs(np.log(ratio)), abs(cosine)),
        lambda ratio, cosine: {"Γ": (0, 0), "X": (0.5, 0), "M": (0.5, 0.5)},
    ),
    _Kind(
        "rectangular",
        ("Γ", "X", "S", "Y", "Γ", "S"),
        lambda ratio, cosine: abs(cosine),
        lambda ratio, cosine: {"Γ": (0, 0), "X": (0.5, 0), "S": (0.5, 0.5), "Y": (0, 0.5)},
    ),
    _Kind(
        "centred rectangular",
        ("Γ", "X", "A1", "Y", "Γ", "S"),
        lambda ratio, cosine: abs(np.log(ratio)),
        _rhombic_points,
        lambda ratio, cosine: cosine > 1e-6,
    ),
    _Kind(
        "oblique",
        ("Γ", "Y", "H", "C", "H1", "X", "Γ"),
        lambda ratio, cosine: 0.0,
        _oblique_points,
        lambda ratio, cosine: cosine > -1e-9 and ratio > 1 - 1e-9 and ratio * cosine < 0.5 + 1e-9,
    ),
)
"""From the most symmetric to the least. Points of the centred and the oblique lattice: [setyawan2010] in two
dimensions, as corners of the Brillouin zone."""


def _on(kind: _Kind, basis: Array) -> PlaneLattice:
    shape = _shape(basis)
    return PlaneLattice(kind.name, basis, kind.points(*shape), kind.path, round(kind.deviation(*shape), 9))


def _nearest_basis(kind: _Kind, vectors: Array) -> Array:
    """The basis that is nearest to the ideal one, and among equals to the given one."""
    bases = [basis for basis in _short_bases(vectors) if kind.is_standard(*_shape(basis))]
    return bases[int(np.argmin([round(kind.deviation(*_shape(basis)), 9) for basis in bases]))]


def _short_bases(vectors: Array) -> list[Array]:
    """Right- and left-handed bases made of short vectors: the shortest first, and those nearest to the given one."""
    reduced = _reduced(vectors)
    rows = list(product((1, 0, -1), repeat=2))
    bases = [np.array([a, b]) @ reduced for a, b in product(rows, rows) if abs(a[0] * b[1] - a[1] * b[0]) == 1]
    return sorted(bases, key=lambda basis: (round(float((basis**2).sum()), 6), float(((basis - vectors) ** 2).sum())))


def _reduced(vectors: Array) -> Array:
    """Shortest basis, by the algorithm of Lagrange and Gauss."""
    first, second = sorted(vectors, key=lambda vector: float(vector @ vector))
    while shift := round(float(first @ second / (first @ first))):
        first, second = sorted((first, second - shift * first), key=lambda vector: float(vector @ vector))
    return np.array([first, second])


def _shape(basis: Array) -> tuple[float, float]:
    """|a₂|/|a₁| and the cosine of the angle."""
    lengths = np.linalg.norm(basis, axis=1)
    return float(lengths[1] / lengths[0]), float(basis[0] @ basis[1] / lengths.prod())
