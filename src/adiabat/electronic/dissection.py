"""Nested dissection of the atoms of a large cell: the order in which elimination fills in least."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import scipy.sparse
from scipy.sparse.csgraph import connected_components, dijkstra

from adiabat.core.operators import BlockOperator

_LEAF: Final = 256
"""Orbitals below which a part is not divided further."""

_WORTHWHILE: Final = 0.7
"""Share of a part that its separator may take; beyond it the part is eliminated at once, as the dense matrix it is."""


@dataclass(frozen=True)
class Front:
    """Atoms that are eliminated together.

    Attributes:
        atoms: eliminated here.
        border: atoms of later fronts that they couple to, once everything before them is gone.
        children: earlier fronts whose border begins in these atoms.
    """

    atoms: npt.NDArray[np.int64]
    border: npt.NDArray[np.int64]
    children: tuple[int, ...]


def dissect(operator: BlockOperator, coordinates: npt.NDArray[np.float64] | None = None) -> list[Front]:
    """Divide the atoms in two by a separator that no coupling crosses, each half again, and so on.

    In two dimensions the factors then have O(n log n) elements and take O(n^1.5) operations, in three O(n^(4/3)) and
    O(n²). Periodic directions need no care: the couplings through the border are those of any other place.

    Args:
        operator: without images; only its pairs and orbital counts are used.
        coordinates: (n_atoms, d) [Å] along which to try cuts too, wrapped into the cell. Without them the cuts follow
            distances in the graph of couplings alone.

    Returns: fronts in the order of elimination, children before parents.

    Source: [george1973].
    """
    graph = scipy.sparse.csr_array(
        (np.ones(len(operator), dtype=np.int8), (operator.pairs[:, 3], operator.pairs[:, 4])),
        shape=(operator.n_atoms, operator.n_atoms),
    )
    parts = list(_parts(graph, np.arange(operator.n_atoms), operator.n_orbitals, coordinates))
    return _fronts(graph, parts)


def front_sizes(fronts: list[Front], n_orbitals: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(n_fronts, 2) orbitals that each front eliminates, and those of its border."""
    return np.array([(n_orbitals[f.atoms].sum(), n_orbitals[f.border].sum()) for f in fronts], dtype=np.int64)


def _parts(
    graph: scipy.sparse.csr_array,
    atoms: npt.NDArray[np.int64],
    n_orbitals: npt.NDArray[np.int64],
    coordinates: npt.NDArray[np.float64] | None,
) -> Iterator[npt.NDArray[np.int64]]:
    """Parts in the order of elimination: one side, the other side, their separator."""
    if n_orbitals[atoms].sum() <= _LEAF:
        yield atoms
        return
    own = _submatrix(graph, atoms)
    n_pieces, piece = connected_components(own, directed=False)
    if n_pieces > 1:
        for index in range(n_pieces):
            yield from _parts(graph, atoms[piece == index], n_orbitals, coordinates)
        return
    sizes = n_orbitals[atoms]
    candidates = _graph_distances(own)
    if coordinates is not None:
        candidates = np.concatenate([candidates, coordinates[atoms].T])
    cuts = [_separator(own, sizes, along) for along in candidates]
    first, second, separator = min(cuts, key=lambda cut: int(sizes[cut[2]].sum()))
    if sizes[separator].sum() > _WORTHWHILE * sizes.sum() or not first.any() or not second.any():
        yield atoms
        return
    yield from _parts(graph, atoms[first], n_orbitals, coordinates)
    yield from _parts(graph, atoms[second], n_orbitals, coordinates)
    yield atoms[separator]


_Masks = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]


def _separator(graph: scipy.sparse.csr_array, sizes: npt.NDArray[np.int64], along: npt.NDArray[np.float64]) -> _Masks:
    """Two sides of the median and the atoms of one of them that couple to the other; taken from the cheaper side."""
    order = np.argsort(along, kind="stable")
    half = np.cumsum(sizes[order]) <= sizes.sum() / 2
    low = np.zeros(len(sizes), dtype=bool)
    low[order[half]] = True
    from_high = (graph @ low.astype(np.int32) > 0) & ~low
    from_low = (graph @ (~low).astype(np.int32) > 0) & low
    if sizes[from_high].sum() <= sizes[from_low].sum():
        return low, ~low & ~from_high, from_high
    return low & ~from_low, ~low, from_low


def _graph_distances(graph: scipy.sparse.csr_array) -> npt.NDArray[np.float64]:
    """Coordinates of a connected graph: how much nearer each atom is to one landmark than to another."""
    landmarks = [0]
    distances: list[npt.NDArray[np.float64]] = []
    nearest = np.full(len(graph.indptr) - 1, np.inf)
    for _ in range(5):
        distances.append(np.asarray(dijkstra(graph, unweighted=True, indices=landmarks[-1])))
        nearest = np.minimum(nearest, distances[-1]) if len(distances) > 1 else distances[-1]
        landmarks.append(int(np.argmax(nearest)))
    # The first landmark was any atom; the second is far out.
    _, a, b, c, d = distances
    return np.stack([a - b, a - c, b - c, a - d, b - d, c - d, a])


def _rows(graph: scipy.sparse.csr_array, atoms: npt.NDArray[np.int64]) -> scipy.sparse.csr_array:
    return cast(scipy.sparse.csr_array, graph[atoms, :])


def _submatrix(graph: scipy.sparse.csr_array, atoms: npt.NDArray[np.int64]) -> scipy.sparse.csr_array:
    return cast(scipy.sparse.csr_array, _rows(graph, atoms)[:, atoms])


def _fronts(graph: scipy.sparse.csr_array, parts: list[npt.NDArray[np.int64]]) -> list[Front]:
    turn = np.empty(len(graph.indptr) - 1, dtype=np.int64)
    for index, atoms in enumerate(parts):
        turn[atoms] = index
    fronts: list[Front] = []
    waiting: list[list[int]] = [[] for _ in parts]
    for index, atoms in enumerate(parts):
        children = tuple(waiting[index])
        reached = [_rows(graph, atoms).indices, *(fronts[child].border for child in children)]
        border = np.unique(np.concatenate(reached)).astype(np.int64)
        border = border[turn[border] > index]
        border = border[np.argsort(turn[border], kind="stable")]
        fronts.append(Front(atoms, border, children))
        if len(border):
            waiting[int(turn[border[0]])].append(index)
    return fronts
