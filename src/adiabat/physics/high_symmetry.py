"""High-symmetry points of the Brillouin zone and the path that is usually drawn, for crystals, layers and chains.

Points are given in fractions of the reciprocal lattice of the cell that the user gave, primitive or not.
"""

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import seekpath
import spglib

from adiabat.core.errors import StructureError
from adiabat.data.structure import Structure
from adiabat.physics.plane_lattices import planar_lattice

SYMMETRY_TOLERANCE: Final = 1e-3
"""Å by which atoms may miss their symmetric places: files carry three to five digits."""

_LOOSER: Final = (1e-2, 5e-2, 0.2)
"""Å; tried in turn where the user names points that the crystal has only nearly."""

_WORTH_TELLING: Final = 1e-3
"""Deviation from the ideal lattice below which nobody need be told."""

_VACUUM: Final = 20.0
"""Å of vacuum along directions that are not periodic, so that no symmetry is found across them."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ZonePoints:
    """Labelled points of a Brillouin zone.

    Attributes:
        points: label → (3,) fractions of the reciprocal lattice of the given cell.
        path: branches of the standard path, each a list of labels; between branches the path jumps.
        lattice: what the points belong to: ``hexagonal``, ``cF``, ….
        notes: sentences on what a reader of the bands must know.
    """

    points: Mapping[str, Array]
    path: tuple[tuple[str, ...], ...]
    lattice: str
    notes: tuple[str, ...] = ()


def zone_points(structure: Structure, labels: Collection[str] = ()) -> ZonePoints:
    """High-symmetry points of a periodic structure.

    Args:
        structure: periodic along one, two or three directions.
        labels: points that the user named; a lattice that has them is looked for a little further away.

    Raises:
        StructureError: nothing is periodic, or the zone has no points of these names.

    Source: [hinuma2017] in three dimensions.
    """
    require_periodic(structure)
    return (_chain, _layer, _crystal)[int(structure.pbc.sum()) - 1](structure, labels)


def require_periodic(structure: Structure) -> None:
    """Refuse what has no bands.

    Raises:
        StructureError: nothing is periodic.
    """
    if not structure.pbc.any():
        raise StructureError(
            f"{structure.formula}, which is periodic in no direction",
            expected="a crystal, a layer or a chain: only these have bands",
            suggestion="set pbc and the cell in the structure file, or see AdiabatCalculator.get_orbital_energies",
        )


def unknown_label(label: str, zone: ZonePoints) -> StructureError:
    """Error for a point that is not in the zone."""
    known = ", ".join(f"{name} ({_fractions(point)})" for name, point in zone.points.items())
    return StructureError(
        f"the point {label!r} on a k-path",
        expected=f"a point of the {zone.lattice} lattice: {known}",
        suggestion="use these, or give the point's fractions: --path 'G=0,0,0 A=0.5,0,0.5'",
    )


def _crystal(structure: Structure, labels: Collection[str]) -> ZonePoints:
    """The crystal's own points, or its lattice's where atoms have left the lattice's symmetry."""
    for tolerance in (SYMMETRY_TOLERANCE, *(_LOOSER if labels else ())):
        atoms = (structure.cell, structure.positions @ np.linalg.inv(structure.cell), structure.atomic_numbers)
        zone = _seekpath(atoms, tolerance)
        if set(labels) <= set(zone.points):
            return zone
    zone = _seekpath((structure.cell, np.zeros((1, 3)), np.ones(1, dtype=int)), max(_LOOSER))
    for label in labels:
        if label not in zone.points:
            raise unknown_label(label, zone)
    return zone


def _seekpath(atoms: tuple[Array, Array, npt.NDArray[np.int64]], tolerance: float) -> ZonePoints:
    found = _quiet_path(atoms, tolerance)
    notes: tuple[str, ...] = ()
    if found["is_supercell"]:
        notes = (_folded(round(abs(found["volume_original_wrt_prim"]))),)
    else:
        bare = _quiet_path((atoms[0], np.zeros((1, 3)), np.ones(1, dtype=np.int64)), tolerance)
        if found["bravais_lattice"] != bare["bravais_lattice"]:
            notes = (
                f"The atoms have the symmetry of {found['spacegroup_international']} only; the path is that of the "
                f"bare lattice, {bare['bravais_lattice']}.",
            )
            found = bare
    points = {_pretty(name): np.array(point, dtype=float) for name, point in found["point_coords"].items()}
    return ZonePoints(points, _branches(found["path"]), found["bravais_lattice"], notes)


def _quiet_path(atoms: tuple[Array, Array, npt.NDArray[np.int64]], tolerance: float) -> dict[str, Any]:
    """Path that seekpath finds. Its warnings become notes; spglib's about its own future are nobody's business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", seekpath.SupercellWarning)
        warnings.simplefilter("ignore", seekpath.hpkot.EdgeCaseWarning)
        try:
            standard = seekpath.get_path(atoms, symprec=tolerance)
            return standard | seekpath.get_path_orig_cell(atoms, symprec=tolerance)
        except (seekpath.hpkot.SymmetryDetectionError, spglib.SpglibError) as error:
            raise StructureError(
                f"a crystal whose symmetry cannot be found ({error})",
                expected=f"atoms apart from each other, in a cell that is not flat, to {tolerance:g} Å",
                suggestion="give the path yourself: --path 'G=0,0,0 X=0.5,0,0'",
            ) from error


def _branches(path: list[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    """Join segments that share an end."""
    branches: list[list[str]] = []
    for start, stop in path:
        if branches and branches[-1][-1] == _pretty(start):
            branches[-1].append(_pretty(stop))
        else:
            branches.append([_pretty(start), _pretty(stop)])
    return tuple(tuple(branch) for branch in branches)


_GREEK: Final = {"GAMMA": "Γ", "DELTA": "Δ", "SIGMA": "Σ", "LAMBDA": "Λ", "G": "Γ"}


def _pretty(name: str) -> str:
    """Γ for GAMMA, Σ0 for SIGMA_0; G stays a letter of its own where it has an index."""
    letter, _, index = name.partition("_")
    return f"{letter if letter == 'G' and index else _GREEK.get(letter, letter)}{index}"


def _layer(structure: Structure, labels: Collection[str]) -> ZonePoints:
    for tolerance in (SYMMETRY_TOLERANCE, *(_LOOSER if labels else ())):
        vectors, notes = _primitive(structure, tolerance)
        lattice = planar_lattice(vectors, labels)
        if lattice is not None:
            if lattice.deviation > _WORTH_TELLING:
                notes = (
                    *notes,
                    f"The lattice is {lattice.name} to {lattice.deviation:.1%} only; its points have the fractions of "
                    "the ideal one.",
                )
            return _in_given_cell(structure, lattice.basis, dict(lattice.points), (lattice.path,), lattice.name, notes)
    zone = _layer(structure, ())
    raise unknown_label(next(label for label in labels if label not in zone.points), zone)


def _chain(structure: Structure, labels: Collection[str]) -> ZonePoints:
    vectors, notes = _primitive(structure, SYMMETRY_TOLERANCE)
    zone = _in_given_cell(structure, vectors, {"Γ": (0.0,), "X": (0.5,)}, (("Γ", "X"),), "linear", notes)
    for label in labels:
        if label not in zone.points:
            raise unknown_label(label, zone)
    return zone


def _folded(size: int) -> str:
    return f"The cell is {size} primitive cells: bands are folded {size} times. The path is that of the primitive cell."


def _in_given_cell(
    structure: Structure,
    basis: Array,
    points: Mapping[str, tuple[float, ...]],
    path: tuple[tuple[str, ...], ...],
    name: str,
    notes: tuple[str, ...] = (),
) -> ZonePoints:
    """Express points in fractions of the given cell: k·a is 2π times the fraction, for every lattice vector a."""
    transform = structure.cell[structure.pbc] @ np.linalg.pinv(basis)
    given: dict[str, Array] = {}
    for label, fractions in points.items():
        given[label] = np.zeros(3)
        given[label][structure.pbc] = np.round(transform @ np.array(fractions), 12)
    return ZonePoints(given, path, name, notes)


def _primitive(structure: Structure, tolerance: float) -> tuple[Array, tuple[str, ...]]:
    """Primitive lattice vectors of a layer or chain [Å], and a note where these are not the given ones."""
    vectors = structure.cell[structure.pbc]
    translations = _pure_translations(structure, tolerance)
    size = len(translations)
    if size == 1:
        return vectors, ()
    shifts = np.stack(np.meshgrid(*[np.arange(-1, 2)] * len(vectors), indexing="ij"), axis=-1).reshape(-1, len(vectors))
    lattice = (translations[:, None] + shifts).reshape(-1, len(vectors)) @ vectors
    lattice = lattice[np.argsort(np.linalg.norm(lattice, axis=1), kind="stable")]
    lattice = lattice[np.linalg.norm(lattice, axis=1) > tolerance]
    if len(vectors) == 1:
        return lattice[:1], (_folded(size),)
    area = float(np.linalg.norm(np.cross(*vectors))) / size
    areas = np.linalg.norm(np.cross(lattice[0], lattice), axis=1)
    second = int(np.flatnonzero(np.abs(areas - area) < 0.01 * area)[0])
    return lattice[[0, second]], (_folded(size),)


def _pure_translations(structure: Structure, tolerance: float) -> Array:
    """(n, n_periodic) translations that map the structure on itself, in fractions of the given cell."""
    cell = structure.cell.copy()
    cell[~structure.pbc] = _vacuum_vectors(structure)
    atoms: Any = (cell, structure.positions @ np.linalg.inv(cell), structure.atomic_numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found: Any = spglib.get_symmetry(atoms, symprec=tolerance)
    if found is None:  # spglib gives up on atoms that are too near; a path needs no symmetry
        return np.zeros((1, int(structure.pbc.sum())))
    pure = (found["rotations"] == np.eye(3, dtype=int)).all(axis=(1, 2))
    return np.asarray(found["translations"][pure][:, structure.pbc], dtype=np.float64)


def _vacuum_vectors(structure: Structure) -> Array:
    """Vectors normal to the periodic ones, long enough to hold the atoms and vacuum."""
    _, _, right = np.linalg.svd(structure.cell[structure.pbc])
    normals = right[int(structure.pbc.sum()) :]
    heights = structure.positions @ normals.T
    return normals * (np.ptp(heights, axis=0) + _VACUUM)[:, None]


def _fractions(point: Array) -> str:
    return ", ".join(f"{value:.4g}" for value in point + 0.0)
