"""Force rows without training: derivatives of the linear family's invariants, assembled by sparse products.

A feature is a monomial of a few sums over neighbors, so its derivative touches a few of them: the chain rule is a
sparse matrix, features by sums, times the derivatives of the sums. That is hundreds of times cheaper than a pass of
automatic differentiation for each feature or coordinate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from adiabat.data.graph import Graph, build_graph, collate
from adiabat.data.structure import Structure
from adiabat.equivariant.harmonics import spherical_harmonics
from adiabat.models.config import ModelConfig
from adiabat.models.layers import pieces
from adiabat.models.linear_ace import LinearAce
from adiabat.uncertainty.derivatives import directional_derivatives

FloatArray = npt.NDArray[np.float64]

_EDGES_AT_ONCE = 6000
_BASIS_STRUCTURES = 24
"""Structures whose forces decide which combinations of features are kept."""


@dataclass(frozen=True, eq=False)
class StructureRows:
    """What energy and forces of a structure are linear in.

    Attributes:
        energy: (n_features,) sum over its atoms.
        forces: (3 n_atoms, n_features).
    """

    energy: FloatArray
    forces: FloatArray


class AceRows:
    """Rows of energies and forces in the invariants of the linear family, scaled by how likely they are.

    A weight of order ν and degree d is believed to be about e^(−(ν − 1)/2)/(1 + d) in size; features are scaled by
    that, so that the scaled weights are equally likely. Of the rules tried on 20 to 80 frames of rMD17 ethanol this was
    among the best; others were within 5 % of it, or up to twice as far off.

    Args:
        atomic_numbers: the elements.
        cutoff: radius in Å.
        degrees: see :class:`adiabat.models.config.LinearAceConfig`.
        l_max: see there.
    """

    def __init__(
        self, atomic_numbers: Sequence[int], cutoff: float = 5.0, degrees: tuple[int, ...] = (10, 8, 5), l_max: int = 4
    ) -> None:
        self.atomic_numbers = np.unique(np.asarray(atomic_numbers, dtype=np.int64))
        self.cutoff, self.l_max = cutoff, l_max
        config = ModelConfig.model_validate(
            {"family": "linear-ace", "cutoff": cutoff, "linear_ace": {"degrees": degrees, "l_max": l_max}}
        )
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            self.trunk = LinearAce(config, self.atomic_numbers.tolist())
        finally:
            torch.set_default_dtype(default)
        orders, degree = self.trunk.orders.numpy()[1:], self.trunk.degrees.numpy()[1:]
        self.scale = np.exp(-0.5 * (orders - 1)) / (1.0 + degree)

    @property
    def n_features(self) -> int:
        """Number of features of a structure, element by element of the centres."""
        return len(self.scale) * len(self.atomic_numbers)

    def rows(self, structures: Sequence[Structure], mixing: FloatArray | None = None) -> list[StructureRows]:
        """Rows of each structure.

        Args:
            structures: of these elements.
            mixing: (n_features, n_kept) combinations of features to give in their place.
        """
        return list(self._rows(structures, mixing))

    def mixing(self, structures: Sequence[Structure], n_kept: int) -> FloatArray:
        """(n_features, n_kept) the combinations that carry most of the forces' variance on a sample of structures."""
        sample = structures[:: max(1, len(structures) // _BASIS_STRUCTURES)][:_BASIS_STRUCTURES]
        forces = np.concatenate([found.forces for found in self.rows(sample)])
        # The space of the right singular vectors, through the smaller of the two Gram matrices.
        values, left = np.linalg.eigh(forces @ forces.T)
        kept = slice(None, -min(n_kept, int((values > 1e-10 * values[-1]).sum())) - 1, -1)
        return np.linalg.qr(forces.T @ left[:, kept])[0]

    def force_scale(self, structures: Sequence[Structure], mixing: FloatArray) -> float:
        """Root mean square length of a force row, on a sample of structures."""
        sample = structures[:: max(1, len(structures) // _BASIS_STRUCTURES)][:_BASIS_STRUCTURES]
        forces = np.concatenate([found.forces for found in self.rows(sample, mixing)])
        return max(float(np.sqrt((forces**2).sum(axis=1).mean())), np.finfo(float).tiny)

    def _rows(self, structures: Sequence[Structure], mixing: FloatArray | None) -> Iterator[StructureRows]:
        graphs = [build_graph(structure, self.cutoff) for structure in structures]
        largest = max((graph.n_edges for graph in graphs), default=1)
        for part in pieces(len(graphs), max(1, _EDGES_AT_ONCE // max(largest, 1))):
            graph = collate(graphs[part])
            functions, slopes = self._edges(graph)
            edge = 0
            for own in graphs[part]:
                edges = slice(edge, edge + own.n_edges)
                edge += own.n_edges
                yield self._of_structure(own, functions[edges], slopes[edges], mixing)

    def _edges(self, graph: Graph) -> tuple[FloatArray, FloatArray]:
        """R_n Y_lm of each edge (n_edges, n_local), and its derivatives by the edge's vector (n_edges, n_local, 3)."""
        centre, neighbor = graph.edge_index
        species = self._species(graph)
        pair = species[centre] * len(self.atomic_numbers) + species[neighbor]
        shift = torch.einsum("ek,ekx->ex", graph.edge_shift, graph.cell[graph.structure_index[centre]])
        vectors = graph.positions[neighbor] - graph.positions[centre] + shift

        def functions(at: Tensor, _: Tensor) -> Tensor:
            distances = at.norm(dim=-1, keepdim=True)
            harmonics = spherical_harmonics(at / distances, self.l_max, normalize=False)
            return self.trunk.edge_functions(pair, distances, harmonics)

        axes = torch.eye(3, dtype=vectors.dtype)[:, None, :].expand(-1, len(vectors), -1)
        none = vectors.new_zeros(1)
        slopes = directional_derivatives(functions, vectors, none, axes, none.expand(3, 1))
        return functions(vectors, none).detach().numpy(), slopes.permute(1, 2, 0).numpy()

    def _species(self, graph: Graph) -> Tensor:
        return torch.from_numpy(np.searchsorted(self.atomic_numbers, graph.atomic_numbers.numpy()))

    def _of_structure(
        self, graph: Graph, functions: FloatArray, slopes: FloatArray, mixing: FloatArray | None
    ) -> StructureRows:
        species = self._species(graph).numpy()
        centre, neighbor = graph.edge_index.numpy()
        n_own = len(self.scale)
        blocks = np.eye(self.n_features) if mixing is None else mixing
        energy = np.zeros(blocks.shape[1])
        gradient = np.zeros((graph.n_atoms, 3, blocks.shape[1]))
        for atom in range(graph.n_atoms):
            edges = slice(*np.searchsorted(centre, [atom, atom + 1]))
            sums, moved, derivatives = self._sums(atom, neighbor[edges], species, functions[edges], slopes[edges])
            values, jacobian = self._monomials.evaluate(sums)
            own = slice(species[atom] * n_own, (species[atom] + 1) * n_own)
            scaled = (jacobian @ derivatives.reshape(len(sums), -1)) * self.scale[:, None]
            if mixing is None:
                energy[own] += values * self.scale
                gradient[moved, :, own] += scaled.T.reshape(len(moved), 3, n_own)
            else:
                energy += (values * self.scale) @ blocks[own]
                gradient[moved] += (scaled.T @ blocks[own]).reshape(len(moved), 3, -1)
        return StructureRows(energy, -gradient.reshape(3 * graph.n_atoms, -1))

    def _sums(
        self, atom: int, neighbor: npt.NDArray[np.int64], species: npt.NDArray[np.int64], functions: FloatArray,
        slopes: FloatArray,
    ) -> tuple[FloatArray, npt.NDArray[np.int64], FloatArray]:  # fmt: skip
        """A of an atom (n_sums,), the atoms that it depends on (n,), and its derivatives by their places."""
        n_species, n_local = len(self.atomic_numbers), functions.shape[1]
        moved, local = np.unique(np.append(neighbor, atom), return_inverse=True)
        sums = np.zeros((n_species, n_local))
        np.add.at(sums, species[neighbor], functions)
        derivatives = np.zeros((n_species, len(moved), n_local, 3))
        np.add.at(derivatives, (species[neighbor], local[:-1]), slopes)
        np.subtract.at(derivatives, (species[neighbor], local[-1]), slopes)
        return sums.ravel(), moved, derivatives.transpose(0, 2, 1, 3).reshape(n_species * n_local, len(moved), 3)

    @cached_property
    def _monomials(self) -> "_Monomials":
        return _Monomials(self.trunk)


class _Monomials:
    """All features of an atom as sums of monomials of A, with their derivatives by A."""

    def __init__(self, trunk: LinearAce) -> None:
        self.n_sums = trunk.n_species * trunk.n_local
        self.tables = trunk.tables
        self.starts = np.cumsum([0, *(table.n_features for table in trunk.tables)])

    def evaluate(self, sums: FloatArray) -> tuple[FloatArray, csr_matrix]:
        """(n_features,) values, and their derivatives (n_features, n_sums)."""
        values = np.zeros(self.starts[-1])
        rows, columns, entries = [], [], []
        for table, start in zip(self.tables, self.starts, strict=False):
            factors = sums[table.factors]
            np.add.at(values, start + table.feature, table.coefficients * factors.prod(axis=1))
            for k in range(table.order):
                rows.append(start + table.feature)
                columns.append(table.factors[:, k])
                entries.append(table.coefficients * np.delete(factors, k, axis=1).prod(axis=1))
        shape = (int(self.starts[-1]), self.n_sums)
        return values, csr_matrix((np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns))), shape)
