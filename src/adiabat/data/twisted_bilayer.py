"""Twisted bilayers of hexagonal monolayers in their exact common cell."""

import math

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import StructureError
from adiabat.data.structure import Structure

_HEXAGONAL = 1e-4
"""Relative difference of lengths, and of the angle's cosine from ½, up to which a cell is hexagonal."""


def twist_angle(m: int, r: int) -> float:
    """Angle [degrees] of the commensurate twist (m, r): cos θ = (3m² + 3mr + r²/2) / (3m² + 3mr + r²).

    Raises:
        StructureError: integers that name no twist.

    Source: [santos2012] eq. 1.
    """
    _check_integers(m, r)
    full = 3 * m**2 + 3 * m * r
    return math.degrees(math.acos((full + r**2 / 2) / (full + r**2)))


def cells_per_layer(m: int, r: int) -> int:
    """Cells of each monolayer in the common cell: 3m² + 3mr + r², a third of that if 3 divides r."""
    _check_integers(m, r)
    cells = 3 * m**2 + 3 * m * r + r**2
    return cells // 3 if r % 3 == 0 else cells


def twisted_bilayer(
    monolayer: Structure, m: int, r: int, *, distance: float, vacuum: float = 20.0, upper: Structure | None = None
) -> Structure:
    """Two hexagonal monolayers, the upper one turned counter-clockwise by θ(m, r) about the cell's origin.

    Args:
        monolayer: the lower layer in its primitive cell, a₁ and a₂ in the xy plane at 60° or 120°.
        m: first integer; large m with r = 1 are small angles.
        r: second integer, without a common divisor with m.
        distance: between the mean heights of the two layers [Å].
        vacuum: added to the height of the cell, which is not periodic along z [Å].
        upper: the upper layer, of the same lattice; the lower one again if not given.

    Returns: the lower layer's atoms first. Positions are not relaxed.

    Raises:
        StructureError: integers that name no twist, a cell that is not hexagonal, or layers of two lattices.
    """
    _check_integers(m, r)
    lower_lattice = _hexagonal_vectors(monolayer)
    other = monolayer if upper is None else upper
    upper_lattice = _hexagonal_vectors(other)
    if not np.allclose(lower_lattice, upper_lattice, atol=_HEXAGONAL * float(np.linalg.norm(lower_lattice[0]))):
        raise StructureError(
            f"layers with lattice vectors {lower_lattice.tolist()} and {upper_lattice.tolist()} Å",
            expected="one lattice for both, in one orientation",
            suggestion="strain one layer to the lattice of the other first",
        )
    integers = _common_cell(m, r)
    common = integers @ lower_lattice
    turn = _rotation(math.radians(twist_angle(m, r)))
    turned = upper_lattice @ turn.T
    in_turned = np.rint(common @ np.linalg.inv(turned)).astype(np.int64)
    assert np.allclose(in_turned @ turned, common, atol=1e-6 * float(np.abs(common).max()))
    below = _repeat(monolayer, lower_lattice, integers)
    above = _repeat(other, upper_lattice, in_turned)
    above[:, :2] = above[:, :2] @ turn.T
    below[:, 2] -= monolayer.positions[:, 2].mean()
    above[:, 2] += distance - other.positions[:, 2].mean()
    cell = np.zeros((3, 3))
    cell[:2, :2] = common
    heights = np.concatenate([below[:, 2], above[:, 2]])
    cell[2, 2] = float(np.ptp(heights)) + vacuum
    n_cells = cells_per_layer(m, r)
    return Structure(
        np.concatenate([np.tile(monolayer.atomic_numbers, n_cells), np.tile(other.atomic_numbers, n_cells)]),
        np.concatenate([below, above]),
        cell,
        np.array([True, True, False]),
        info={"twist_m": m, "twist_r": r, "twist_angle_degrees": twist_angle(m, r)},
    )


def _check_integers(m: int, r: int) -> None:
    if m < 1 or r < 1 or math.gcd(m, r) != 1:
        raise StructureError(
            f"the twist (m, r) = ({m}, {r})",
            expected="two positive integers without a common divisor",
            suggestion="(m, 1) for m = 1, 2, 3, … goes from 21.8° towards 0°",
        )


def _common_cell(m: int, r: int) -> npt.NDArray[np.int64]:
    """Rows: the common cell's vectors in a₁ and a₂ of the lower layer."""
    p, q = (m + r // 3, r // 3) if r % 3 == 0 else (m, m + r)
    # The second is the first turned by 60°: a₁ → a₂, a₂ → a₂ − a₁.
    return np.array([[p, q], [-q, p + q]], dtype=np.int64)


def _hexagonal_vectors(layer: Structure) -> npt.NDArray[np.float64]:
    """a₁ and a₂ at 60°, (2, 2) [Å]."""
    a, b = layer.cell[:2]
    lengths = np.linalg.norm(layer.cell[:2], axis=1)
    cosine = float(a @ b / max(lengths.prod(), 1e-300))
    flat = np.allclose(layer.cell[:2, 2], 0, atol=1e-6)
    if not flat or abs(lengths[0] / max(lengths[1], 1e-300) - 1) > _HEXAGONAL or abs(abs(cosine) - 0.5) > _HEXAGONAL:
        raise StructureError(
            f"a layer with cell vectors {layer.cell[:2].tolist()} Å",
            expected="two vectors of one length in the xy plane, at 60° or 120°",
            suggestion="take the primitive cell of a hexagonal monolayer, relaxed without strain",
        )
    second = b if cosine > 0 else a + b
    # Counter-clockwise from the first: else the layer is described by its mirror image.
    ordered = (a, second) if a[0] * second[1] - a[1] * second[0] > 0 else (second, a)
    return np.stack(ordered)[:, :2]


def _rotation(angle: float) -> npt.NDArray[np.float64]:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _repeat(
    layer: Structure, lattice: npt.NDArray[np.float64], integers: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Positions [Å] of the layer's atoms in every cell of the common cell, cell by cell."""
    reach = int(np.abs(integers).sum())
    cells = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    (a, b), (c, d) = integers.tolist()
    n_cells = a * d - b * c
    # n_cells times the fractions in the common cell: whole numbers, so that no rounding decides what lies inside.
    scaled = cells @ np.array([[d, -b], [-c, a]])
    inside = cells[np.all((scaled >= 0) & (scaled < n_cells), axis=1)]
    assert len(inside) == n_cells
    shifts = np.zeros((n_cells, 3))
    shifts[:, :2] = inside @ lattice
    return (shifts[:, None] + layer.positions).reshape(-1, 3)
