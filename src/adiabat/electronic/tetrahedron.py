"""The linear tetrahedron method: bands taken as linear between the points of a mesh, in one to three dimensions."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.electronic.kpoints import KMesh, reciprocal_vectors

_BISECTIONS: Final = 100
"""Halvings of an energy range that reach the last digit of float64."""

_Point = tuple[int, int]
"""A vertex (i, i), or where the edge from vertex i, below a level, to vertex j, above it, crosses the level."""


@dataclass(frozen=True)
class Simplices:
    """A Brillouin zone cut into segments, triangles or tetrahedra of one size.

    Attributes:
        corners: (n_simplices, d + 1) corners, as places in the k points of the mesh.
        n_k: k points of the mesh.
    """

    corners: Int[Tensor, "n_simplices corners"]
    n_k: int

    @property
    def dimension(self) -> int:
        """d: 1 for segments, 2 for triangles, 3 for tetrahedra."""
        return self.corners.shape[1] - 1


def cut_zone(mesh: KMesh, cell: npt.NDArray[np.float64], periodic: npt.NDArray[np.bool_]) -> Simplices:
    """Cut each cell of a mesh into simplices around its shortest diagonal.

    Args:
        mesh: of k; at least two points along each periodic direction and one along the others.
        cell: (3, 3) lattice vectors in rows [Å].
        periodic: (3,).

    Raises:
        ElectronicError: one point along a periodic direction, or several along another.

    Source: [blochl1994].
    """
    axes = [axis for axis in range(3) if periodic[axis]]
    if not axes or any((mesh.size[axis] > 1) != bool(periodic[axis]) for axis in range(3)):
        raise ElectronicError(
            f"a k-mesh of size {mesh.size} for a crystal with periodic directions {np.asarray(periodic).tolist()}",
            expected="at least two points along each periodic direction, and one along the others",
            suggestion="use a finer mesh, or Gaussian broadening",
        )
    steps = reciprocal_vectors(cell, periodic)[axes] / np.array([mesh.size[axis] for axis in axes])[:, None]
    # A diagonal goes from a corner of the cell to the opposite one: forwards (+) or backwards (−) along each axis.
    signs = [(1, *rest) for rest in itertools.product((1, -1), repeat=len(axes) - 1)]
    sign = min(signs, key=lambda s: float(np.linalg.norm(np.array(s) @ steps)))
    start = np.zeros(3, dtype=np.int64)
    start[axes] = [0 if s > 0 else 1 for s in sign]
    paths: list[npt.NDArray[np.int64]] = []
    for order in itertools.permutations(range(len(axes))):
        corner, path = start.copy(), [start.copy()]
        for step in order:
            corner[axes[step]] += sign[step]
            path.append(corner.copy())
        paths.append(np.array(path))
    grid = np.indices(mesh.size).reshape(3, -1).T
    corners = (grid[:, None, None, :] + np.array(paths)[None]) % np.array(mesh.size)
    flat = np.ravel_multi_index(tuple(np.moveaxis(corners, -1, 0)), mesh.size)
    return Simplices(mesh.full_index[torch.from_numpy(flat.reshape(-1, len(axes) + 1))], len(mesh))


def integrated_states(
    energies: Float[Tensor, "n_channels n_k n_states"],
    simplices: Simplices,
    levels: Float[Tensor, " n_levels"],
    *,
    max_occupation: int,
    projections: Float[Tensor, "n_channels n_k n_groups n_states"] | None = None,
) -> Float[Tensor, "n_channels *n_groups n_levels"]:
    """Electrons that fit below each level, of each channel (and group).

    Args:
        energies: ε [eV]; +∞ for dropped states.
        simplices: of the mesh that they were solved on.
        levels: E [eV].
        max_occupation: electrons that one state holds.
        projections: share of each group in each state.
    """
    n_channels, _, n_states = energies.shape
    n_groups = 1 if projections is None else projections.shape[2]
    corners = simplices.corners
    total = torch.zeros(n_channels, n_groups, len(levels), dtype=torch.float64)
    for channel in range(n_channels):
        for state in range(n_states):
            ordered, order = energies[channel, corners, state].sort(dim=1)
            shares = torch.ones(*ordered.shape, 1, dtype=torch.float64)
            if projections is not None:
                shares = projections[channel, corners.gather(1, order), :, state]
            total[channel] += _integrate(ordered, shares, levels)
    total *= max_occupation / len(corners)
    return total.squeeze(1) if projections is None else total


def _integrate(ordered: Tensor, shares: Tensor, levels: Tensor) -> Tensor:
    """(n_groups, n_levels) integral of one band's shares below each level, in volumes of a simplex."""
    # Simplices that are wholly below, from a running sum; those that the level cuts, one level at a time.
    top, by_top = ordered[:, -1].sort()
    whole = torch.cat([shares.new_zeros(1, shares.shape[-1]), shares.mean(dim=1)[by_top].cumsum(dim=0)])
    total = whole[torch.searchsorted(top, levels, right=True)].mT.clone()
    crossed = torch.nonzero((levels >= ordered[:, 0].min()) & (levels < top[-1])).flatten()
    for place in crossed.tolist():
        level = float(levels[place])
        cut = _active(ordered, level)
        total[:, place] += torch.einsum("sv,svg->g", _below(ordered[cut], level), shares[cut])
    return total


def tetrahedron_dos(
    energies: Float[Tensor, "n_channels n_k n_states"],
    simplices: Simplices,
    grid: Float[Tensor, " n_grid"],
    *,
    max_occupation: int,
    projections: Float[Tensor, "n_channels n_k n_groups n_states"] | None = None,
) -> Float[Tensor, "n_channels *n_groups n_grid"]:
    """Density of states, averaged over the bin around each energy of a grid.

    Its sum over the grid times the bin is the number of states exactly, flat bands included, whose density has no
    value at a point.

    Args:
        energies: ε [eV]; +∞ for dropped states.
        simplices: of the mesh that they were solved on.
        grid: at least two energies [eV], ascending; a bin reaches half way to the neighbors.
        max_occupation: electrons that one state holds.
        projections: share of each group in each state, for a projected density.

    Returns: [states/eV/cell], with an axis over groups if there are projections.

    Raises:
        ElectronicError: a grid that does not ascend.
    """
    if len(grid) < 2 or not bool((grid.diff() > 0).all()):
        raise ElectronicError(
            f"an energy grid of {len(grid)} points that does not ascend",
            expected="at least two energies, ascending",
            suggestion="torch.linspace(low, high, 1001, dtype=torch.float64)",
        )
    middle = (grid[1:] + grid[:-1]) / 2
    edges = torch.cat([grid[:1] - (middle[:1] - grid[:1]), middle, grid[-1:] + (grid[-1:] - middle[-1:])])
    counts = integrated_states(energies, simplices, edges, max_occupation=max_occupation, projections=projections)
    return counts.diff(dim=-1) / edges.diff()


def tetrahedron_fermi_level(
    energies: Float[Tensor, "n_channels n_k n_states"], simplices: Simplices, n_electrons: float, max_occupation: int
) -> float:
    """Fermi level [eV] of the linear bands; the middle of the gap for an insulator.

    Args:
        energies: ε [eV]; +∞ for dropped states.
        simplices: of the mesh that they were solved on.
        n_electrons: in one cell.
        max_occupation: electrons that one state holds.

    Raises:
        ElectronicError: more electrons than the states hold, or none.
    """
    finite = energies[torch.isfinite(energies)]
    low, high = float(finite.min()) - 1.0, float(finite.max()) + 1.0

    def count(level: float) -> float:
        at = torch.tensor([level], dtype=torch.float64)
        return float(integrated_states(energies, simplices, at, max_occupation=max_occupation).sum())

    capacity = count(high)
    if not 0 < n_electrons <= capacity + 1e-9:
        raise ElectronicError(
            f"{n_electrons:g} electrons for states that hold {capacity:g}",
            expected="more than 0 and at most as many as the states hold",
            suggestion="check the electron count, and whether many states were dropped as linearly dependent",
        )
    ends: list[float] = []
    for target in (n_electrons - 1e-9, n_electrons + 1e-9):
        a, b = low, high
        for _ in range(_BISECTIONS):
            middle = (a + b) / 2
            if middle in (a, b):
                break
            a, b = (middle, b) if count(middle) < target else (a, middle)
        ends.append((a + b) / 2)
    return (ends[0] + ends[1]) / 2


def tetrahedron_occupations(
    energies: Float[Tensor, "n_channels n_k n_states"],
    simplices: Simplices,
    level: float,
    max_occupation: int,
    *,
    corrected: bool = True,
) -> Float[Tensor, "n_channels n_k n_states"]:
    """Electrons of each state below a level, k weights included: Σ w X approximates the zone's mean of filled X.

    Args:
        energies: ε [eV]; +∞ for dropped states.
        simplices: of the mesh that they were solved on.
        level: Fermi level [eV].
        max_occupation: electrons that one state holds.
        corrected: add Blöchl's correction for the curvature of X, g/(2(d+1)(d+2)) Σ_j (ε_j − ε_i) at corner i, with g
            the density of the simplex at the level. It does not change the number of electrons.

    Source: [blochl1994] eq. 22.
    """
    n_channels, _, n_states = energies.shape
    d, corners = simplices.dimension, simplices.corners
    total = torch.zeros(n_channels, simplices.n_k, n_states, dtype=torch.float64)
    for channel in range(n_channels):
        for state in range(n_states):
            ordered, order = energies[channel, corners, state].sort(dim=1)
            weight = (ordered <= level).all(dim=1, keepdim=True).to(torch.float64).expand_as(ordered) / (d + 1)
            cut = _active(ordered, level)
            weight = weight.index_put((cut,), _below(ordered[cut], level))
            if corrected:
                density = _density(ordered[cut], level) / (2 * (d + 1) * (d + 2))
                finite = torch.where(torch.isfinite(ordered[cut]), ordered[cut], level)
                spread = finite.sum(dim=1, keepdim=True) - (d + 1) * finite
                weight = weight.index_put((cut,), density.unsqueeze(1) * spread, accumulate=True)
            total[channel, :, state].index_add_(0, corners.gather(1, order).flatten(), weight.flatten())
    return total * max_occupation / len(corners)


def _active(ordered: Tensor, level: float) -> Tensor:
    """Simplices that the level cuts."""
    return torch.nonzero((ordered[:, 0] <= level) & (ordered[:, -1] > level)).flatten()


def _below(ordered: Tensor, level: float) -> Tensor:
    """Integral of each corner's linear weight over the part below the level, relative to the simplex's volume."""
    corners = ordered.shape[1]
    total = torch.zeros_like(ordered)
    for count, rows, crossings in _cases(ordered, level):
        for piece in _pieces_below(count, corners):
            volume = _volume(piece, crossings)
            mean = _mean(piece, crossings, corners)
            total[rows] += volume.unsqueeze(1) * mean
    return total


def _density(ordered: Tensor, level: float) -> Tensor:
    """Density of each simplex at the level [1/eV], relative to its volume."""
    corners = ordered.shape[1]
    total = torch.zeros_like(ordered[:, 0])
    for count, rows, crossings in _cases(ordered, level):
        height = level - ordered[rows, 0]
        for path in _paths(0, count, corners):
            volume = _volume(path, crossings)
            # At the lowest corner itself a simplex of two or three dimensions has no density.
            total[rows] += torch.where(height > 0, (corners - 1) * volume / torch.where(height > 0, height, 1.0), 0.0)
    return total


def _cases(ordered: Tensor, level: float) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Simplices by number of corners below the level, with t_ij = (E − ε_i)/(ε_j − ε_i) on the edges that cross it."""
    n_below = (ordered <= level).sum(dim=1)
    for count in range(1, ordered.shape[1]):
        rows = torch.nonzero(n_below == count).flatten()
        low, high = ordered[rows][:, :count], ordered[rows][:, count:]
        crossings = torch.zeros(len(rows), ordered.shape[1], ordered.shape[1], dtype=ordered.dtype)
        crossings[:, :count, count:] = (level - low).unsqueeze(2) / (high.unsqueeze(1) - low.unsqueeze(2))
        yield count, rows, crossings


@cache
def _paths(first: int, count: int, corners: int) -> list[tuple[_Point, ...]]:
    """Simplices that the cut between corners first … count − 1 and count … corners − 1 falls into.

    The cut is a product of two simplices, with a corner (i, j) on each edge that crosses the level; its simplices are
    the staircases from the first (i, j) to the last.
    """

    def walk(i: int, j: int) -> list[tuple[_Point, ...]]:
        if (i, j) == (count - 1, corners - 1):
            return [((i, j),)]
        down = walk(i + 1, j) if i < count - 1 else []
        right = walk(i, j + 1) if j < corners - 1 else []
        return [((i, j), *rest) for rest in [*down, *right]]

    return walk(first, count)


@cache
def _pieces_below(count: int, corners: int) -> list[tuple[_Point, ...]]:
    """Simplices that the part below the level falls into: a cone from each corner over what the next ones leave."""
    pieces: list[tuple[_Point, ...]] = []
    for first in range(count):
        apexes = tuple((v, v) for v in range(first + 1))
        pieces += [(*apexes, *path) for path in _paths(first, count, corners)]
    return pieces


def _volume(piece: tuple[_Point, ...], crossings: Tensor) -> Tensor:
    """Volume relative to the whole: a factor t on each step to a higher corner j, 1 − t on each to a higher i."""
    volume = torch.ones_like(crossings[:, 0, 0])
    last_above = -1
    for i, j in piece:
        if i == j:
            continue
        volume = volume * (1 - crossings[:, i, j] if j == last_above else crossings[:, i, j])
        last_above = j
    return volume


def _mean(piece: tuple[_Point, ...], crossings: Tensor, corners: int) -> Tensor:
    """Mean of the linear weight of each corner over a piece: the mean over the piece's own corners."""
    mean = torch.zeros(len(crossings), corners, dtype=crossings.dtype)
    for i, j in piece:
        if i == j:
            mean[:, i] += 1.0
        else:
            mean[:, i] += 1 - crossings[:, i, j]
            mean[:, j] += crossings[:, i, j]
    return mean / len(piece)
