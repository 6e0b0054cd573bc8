"""A structure as the graph that a model reads: atoms, and directed edges between neighbors within a cutoff.

r_ij = r_j + S·cell − r_i,   |r_ij| < cutoff,   for edge e: i = edge_index[0, e], j = edge_index[1, e]
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adiabat.core.errors import StructureError
from adiabat.data.neighbors import find_neighbors
from adiabat.data.structure import OVERLAP_DISTANCE, Structure, overlapping_atoms


@dataclass(frozen=True, eq=False)
class Graph:
    """One structure, or a batch of several, as tensors.

    Every edge has its reverse, and edges are sorted by centre. Pairs are the atom pairs of the operator head: all
    ordered pairs within its own radius; their lists are empty when no operator is asked for.

    Attributes:
        atomic_numbers: (n_atoms,) int64.
        positions: (n_atoms, 3) in Å.
        cell: (n_structures, 3, 3) in Å, rows are lattice vectors.
        pbc: (n_structures, 3) bool.
        edge_index: (2, n_edges) int64; row 0 the centre i, row 1 the neighbor j.
        edge_shift: (n_edges, 3) whole cells S, in the dtype of ``positions``.
        structure_index: (n_atoms,) int64, the structure that an atom belongs to.
        n_structures: number of structures.
        pair_index: (2, n_pairs) int64, as ``edge_index``.
        pair_shift: (n_pairs, 3), as ``edge_shift``.
        pair_reverse: (n_pairs,) int64, the index of the pair (j, i, −S).
        fidelity_index: (n_structures,) int64, the level of theory to predict each structure at, by its place among the
            model's; 0, the model's target, by default.
    """

    atomic_numbers: Tensor
    positions: Tensor
    cell: Tensor
    pbc: Tensor
    edge_index: Tensor
    edge_shift: Tensor
    structure_index: Tensor
    n_structures: int
    pair_index: Tensor
    pair_shift: Tensor
    pair_reverse: Tensor
    fidelity_index: Tensor

    @property
    def n_atoms(self) -> int:
        """Number of atoms of all structures."""
        return self.atomic_numbers.shape[0]

    @property
    def n_edges(self) -> int:
        """Number of directed edges of all structures."""
        return self.edge_index.shape[1]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Graph":
        """Move all tensors to ``device`` and floating-point ones to ``dtype``."""
        tensors = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "n_structures"}
        moved = {
            name: tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)
            for name, tensor in tensors.items()
        }
        return replace(self, **moved)


def build_graph(
    structure: Structure,
    cutoff: float,
    *,
    pair_radius: float | None = None,
    fidelity: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Graph:
    """Find all neighbors of a molecule, slab or crystal.

    Args:
        structure: cells may be smaller than the cutoff, skewed or left-handed.
        cutoff: radius of the edges in Å.
        pair_radius: radius of the operator head's pairs in Å; ``math.inf`` takes all pairs of a molecule; None, none.
        fidelity: level of theory to predict at, by its place among the model's.
        dtype: of positions, cell and shifts.

    Raises:
        StructureError: two atoms nearer than ``OVERLAP_DISTANCE``, periodic images included, or an infinite
            ``pair_radius`` for a periodic structure.
    """
    edge_index, edge_shift = _neighbors(structure, cutoff)
    pair_index, pair_shift = _pairs(structure, pair_radius)
    return Graph(
        atomic_numbers=torch.from_numpy(np.array(structure.atomic_numbers, dtype=np.int64)),
        positions=torch.from_numpy(np.array(structure.positions)).to(dtype),
        cell=torch.from_numpy(np.array(structure.cell)).to(dtype)[None],
        pbc=torch.from_numpy(np.array(structure.pbc, dtype=bool))[None],
        edge_index=torch.from_numpy(edge_index),
        edge_shift=torch.from_numpy(edge_shift).to(dtype),
        structure_index=torch.zeros(structure.n_atoms, dtype=torch.int64),
        n_structures=1,
        pair_index=torch.from_numpy(pair_index),
        pair_shift=torch.from_numpy(pair_shift).to(dtype),
        pair_reverse=torch.from_numpy(_reverse(pair_index, pair_shift)),
        fidelity_index=torch.full((1,), fidelity, dtype=torch.int64),
    )


def collate(graphs: Sequence[Graph]) -> Graph:
    """Join graphs into one batch; atom, edge and pair order is kept, structure by structure."""
    atom_counts = [graph.n_atoms for graph in graphs]
    pair_counts = [graph.pair_reverse.shape[0] for graph in graphs]
    structure_counts = [graph.n_structures for graph in graphs]
    device = graphs[0].positions.device

    def joined(name: str, dim: int = 0) -> Tensor:
        return torch.cat([getattr(graph, name) for graph in graphs], dim)

    def shifted(name: str, owners: list[int], counts: list[int]) -> Tensor:
        # NumPy repeats on one thread; torch.repeat_interleave starts all of them for a few thousand numbers.
        starts = np.cumsum([0, *owners[:-1]])
        return joined(name, -1) + torch.from_numpy(np.repeat(starts, counts)).to(device)

    return Graph(
        atomic_numbers=joined("atomic_numbers"),
        positions=joined("positions"),
        cell=joined("cell"),
        pbc=joined("pbc"),
        edge_index=shifted("edge_index", atom_counts, [graph.n_edges for graph in graphs]),
        edge_shift=joined("edge_shift"),
        structure_index=shifted("structure_index", structure_counts, atom_counts),
        n_structures=sum(structure_counts),
        pair_index=shifted("pair_index", atom_counts, pair_counts),
        pair_shift=joined("pair_shift"),
        pair_reverse=shifted("pair_reverse", pair_counts, pair_counts),
        fidelity_index=joined("fidelity_index"),
    )


def separate(graph: Graph) -> list[Graph]:
    """The structures of a batch, one graph each; the inverse of :func:`collate`."""
    if graph.n_structures == 1:
        return [graph]
    of_edge = graph.structure_index.index_select(0, graph.edge_index[0])
    of_pair = graph.structure_index.index_select(0, graph.pair_index[0])
    atoms, edges, pairs = (
        torch.bincount(index, minlength=graph.n_structures).tolist()
        for index in (graph.structure_index, of_edge, of_pair)
    )
    first_atom, first_edge, first_pair = (np.cumsum([0, *counts]) for counts in (atoms, edges, pairs))
    found: list[Graph] = []
    for index in range(graph.n_structures):
        own, edge, pair = (slice(first[index], first[index + 1]) for first in (first_atom, first_edge, first_pair))
        found.append(
            Graph(
                atomic_numbers=graph.atomic_numbers[own],
                positions=graph.positions[own],
                cell=graph.cell[index : index + 1],
                pbc=graph.pbc[index : index + 1],
                edge_index=graph.edge_index[:, edge] - int(first_atom[index]),
                edge_shift=graph.edge_shift[edge],
                structure_index=torch.zeros_like(graph.structure_index[own]),
                n_structures=1,
                pair_index=graph.pair_index[:, pair] - int(first_atom[index]),
                pair_shift=graph.pair_shift[pair],
                pair_reverse=graph.pair_reverse[pair] - int(first_pair[index]),
                fidelity_index=graph.fidelity_index[index : index + 1],
            )
        )
    return found


def _neighbors(structure: Structure, cutoff: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Edges (2, n_edges) and shifts (n_edges, 3), sorted by centre, neighbor and shift."""
    found = find_neighbors(structure, max(cutoff, OVERLAP_DISTANCE))
    if len(found.distances) and found.distances.min() < OVERLAP_DISTANCE:
        nearest = int(found.distances.argmin())
        i, j = found.index[:, nearest].tolist()
        raise overlapping_atoms((i, j), float(found.distances[nearest]))
    return found.index, found.shift


def _pairs(structure: Structure, pair_radius: float | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    if pair_radius is None:
        return np.zeros((2, 0), dtype=np.int64), np.zeros((0, 3), dtype=np.int64)
    if math.isfinite(pair_radius):
        return _neighbors(structure, pair_radius)
    if np.any(structure.pbc):
        raise StructureError(
            "a periodic structure with an infinite pair radius",
            expected="a finite radius for crystals and slabs, which have infinitely many pairs",
            suggestion="set pair_radius to the reach of the basis, about 8 Å",
        )
    i, j = np.nonzero(~np.eye(structure.n_atoms, dtype=bool))
    return np.stack([i, j]).astype(np.int64), np.zeros((len(i), 3), dtype=np.int64)


def _reverse(index: npt.NDArray[np.int64], shift: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Index of (j, i, −S) for each (i, j, S): both lists sorted by one key stand in the same order."""
    forward = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], index[1], index[0]))
    backward = np.lexsort((-shift[:, 2], -shift[:, 1], -shift[:, 0], index[0], index[1]))
    reverse = np.empty(len(shift), dtype=np.int64)
    reverse[backward] = forward
    return reverse
