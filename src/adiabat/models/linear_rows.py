"""What the energy, forces and stress of the linear family are linear in: one row of features for each number.

    E = E_ref + Φ_E · w,    F_a = Φ_F · w,    σ = Φ_σ · w

The derivative of a feature is analytic, ∂B/∂r = Σ_A (∂B/∂A)(∂A/∂r): ∂B/∂A is sparse, of one pattern for all atoms, and
∂A/∂r are the derivatives of each edge's own functions.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from adiabat.core.errors import ModelError
from adiabat.core.voigt import VOIGT_COLUMNS, VOIGT_ROWS
from adiabat.data.graph import Graph
from adiabat.equivariant.harmonics import spherical_harmonics
from adiabat.models.ace_products import ProductTable
from adiabat.models.linear_ace import LinearAce, LinearEnergyHead
from adiabat.models.model import Model

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """Rows of one structure, float64, for the weights of all elements in the order of ``last_weights``.

    Attributes:
        energy: (n_weights,) [eV].
        forces: (3 n_atoms, n_weights) [eV/Å], x, y, z of each atom; None if not asked for.
        stress: (6, n_weights) [eV/Å³], xx, yy, zz, yz, xz, xy; None if not asked for.
    """

    energy: Array
    forces: Array | None = None
    stress: Array | None = None


class RowBuilder:
    """Makes rows of one model, whose tables are turned to sparse patterns once.

    Args:
        model: of the family linear-ace, in any precision; rows are computed in float64.

    Raises:
        ModelError: the model is of another family.
    """

    def __init__(self, model: Model) -> None:
        if not (isinstance(model.trunk, LinearAce) and isinstance(model.energy_head, LinearEnergyHead)):
            raise ModelError(
                f"a model of the family {model.config.family!r}",
                expected="one of the family 'linear-ace', whose energy is linear in its weights",
                suggestion="train with model.family: linear-ace; other families have a last layer (`last_features`)",
            )
        self.model = model
        self.trunk = model.trunk
        self.n_species = len(model.atomic_numbers)
        self.n_features = model.trunk.n_features
        self.scale = float(model.energy_head.scale)
        n_components = self.n_species * self.trunk.n_local
        self._values = [_value_pattern(table) for table in self.trunk.tables]
        self._derivatives = [_derivative_pattern(table, n_components) for table in self.trunk.tables]

    @property
    def n_weights(self) -> int:
        """Number of weights of all elements."""
        return self.n_species * self.n_features

    def rows(self, graph: Graph, outputs: Collection[str]) -> FeatureRows:
        """Rows of one structure.

        Args:
            graph: one structure, of the model's cutoff, in float64.
            outputs: ``energy`` always; ``forces`` and ``stress`` where asked for.
        """
        species = self.model.species(graph.atomic_numbers)
        centre, neighbor = graph.edge_index.numpy()
        owners, of_neighbor = species.numpy(), species.numpy()[neighbor]
        derivatives = bool({"forces", "stress"} & set(outputs))
        functions, gradients = self._edge_functions(graph, species, derivatives=derivatives)
        components = self._sums(graph, species, functions)
        values = self._values_of_atoms(components)
        energy = np.zeros((self.n_species, self.n_features))
        for atom, own in enumerate(owners):
            energy[own] += values[:, atom]
        energy = energy.ravel() * self.scale
        if gradients is None:
            return FeatureRows(energy)
        forces = np.zeros((self.n_species, self.n_features, graph.n_atoms, 3))
        strain = np.zeros((self.n_species, self.n_features, 6))
        vectors = self.model.edge_vectors(graph).double().numpy()
        slopes = [pattern.values(components) for pattern in self._derivatives]
        first_edge = np.searchsorted(centre, np.arange(graph.n_atoms + 1))
        for atom, own in enumerate(owners):
            edges = slice(first_edge[atom], first_edge[atom + 1])
            moved, place = np.unique(np.append(neighbor[edges], atom), return_inverse=True)
            columns = self._component_derivatives(gradients[edges], vectors[edges], of_neighbor[edges], place)
            where = slice(None) if len(moved) == graph.n_atoms else moved
            start = 1
            for pattern, slope in zip(self._derivatives, slopes, strict=True):
                found = pattern.matrix(slope[:, atom]) @ columns
                features = slice(start, start + len(found))
                forces[own, features][:, where] -= found[:, :-6].reshape(len(found), -1, 3)
                strain[own, features] += found[:, -6:]
                start = features.stop
        return FeatureRows(
            energy,
            forces.reshape(self.n_weights, -1).T * self.scale if "forces" in outputs else None,
            self._stress(strain, graph) if "stress" in outputs else None,
        )

    def atomic_rows(self, graph: Graph) -> Array:
        """(n_atoms, n_weights): what the atomic energies are linear in [eV]; weights of other elements have zeros."""
        species = self.model.species(graph.atomic_numbers)
        functions, _ = self._edge_functions(graph, species, derivatives=False)
        values = self._values_of_atoms(self._sums(graph, species, functions))
        rows = np.zeros((graph.n_atoms, self.n_species, self.n_features))
        rows[np.arange(graph.n_atoms), species.numpy()] = values.T * self.scale
        return rows.reshape(graph.n_atoms, -1)

    def _sums(self, graph: Graph, species: Tensor, functions: Array) -> Array:
        """A, the sums over neighbors, (n_components, n_atoms)."""
        centre, neighbor = graph.edge_index.numpy()
        sums = np.zeros((graph.n_atoms, self.n_species, self.trunk.n_local))
        np.add.at(sums, (centre, species.numpy()[neighbor]), functions)
        return sums.reshape(graph.n_atoms, -1).T

    def _values_of_atoms(self, components: Array) -> Array:
        """(n_features, n_atoms) features, the constant first, from the sums over neighbors."""
        ones = np.ones((1, components.shape[1]))
        return np.concatenate([ones, *(pattern.apply(components) for pattern in self._values)])

    def _component_derivatives(
        self, gradients: Array, vectors: Array, of_neighbor: npt.NDArray[np.int64], place: npt.NDArray[np.int64]
    ) -> Array:
        """∂A_i of one atom by positions, its own among them, and by strain: (n_components, 3 n_moved + 6).

        Args:
            gradients: (n_edges, n_local, 3) of its edges' functions.
            vectors: (n_edges, 3) to the neighbors, in Å.
            of_neighbor: (n_edges,) their elements.
            place: (n_edges + 1,) which of the n_moved atoms each edge leads to, and which is the atom itself; periodic
                images are one atom.
        """
        n_local = gradients.shape[1]
        by_position = np.zeros((self.n_species, int(place.max()) + 1, n_local, 3))
        by_strain = np.zeros((self.n_species, n_local, 3, 3))
        np.add.at(by_position, (of_neighbor, place[:-1]), gradients)
        for z in np.unique(of_neighbor):
            of_z = of_neighbor == z
            by_position[z, place[-1]] -= gradients[of_z].sum(0)
            by_strain[z] = np.einsum("ex,eky->kxy", vectors[of_z], gradients[of_z])
        symmetric = (by_strain + by_strain.transpose(0, 1, 3, 2))[..., VOIGT_ROWS, VOIGT_COLUMNS] / 2
        columns = [by_position.transpose(0, 2, 1, 3).reshape(self.n_species * n_local, -1), symmetric.reshape(-1, 6)]
        return np.concatenate(columns, axis=1)

    def _stress(self, strain: Array, graph: Graph) -> Array:
        volume = abs(float(np.linalg.det(graph.cell[0].double().numpy())))
        return strain.reshape(self.n_weights, 6).T * (self.scale / volume)

    def _edge_functions(self, graph: Graph, species: Tensor, *, derivatives: bool) -> tuple[Array, Array | None]:
        """R_n Y_lm of each edge (n_edges, n_local), and their gradients (n_edges, n_local, 3) if asked for."""
        centre, neighbor = graph.edge_index
        pair = species[centre] * self.n_species + species[neighbor]

        def functions(vectors: Tensor) -> Tensor:
            distances = vectors.norm(dim=-1, keepdim=True)
            harmonics = spherical_harmonics(vectors / distances, self.trunk.l_max, normalize=False)
            return self.trunk.edge_functions(pair, distances, harmonics)

        vectors = self.model.edge_vectors(graph).double().detach()
        if not derivatives:
            return functions(vectors).detach().numpy(), None
        with torch.enable_grad():
            vectors.requires_grad_()
            values = functions(vectors)
            # Σ u ∂f/∂r is linear in the multipliers u, so its derivative by u is ∂f/∂r: one pass for each axis.
            multipliers = torch.zeros_like(values, requires_grad=True)
            (gradient,) = torch.autograd.grad(values, vectors, multipliers, create_graph=True)
            slopes = [
                torch.autograd.grad(gradient[:, axis].sum(), multipliers, retain_graph=True)[0] for axis in range(3)
            ]
        return values.detach().numpy(), torch.stack(slopes, dim=-1).numpy()


class _ValuePattern:
    """Features from products of components, as one sparse matrix over the monomials."""

    def __init__(self, table: ProductTable) -> None:
        self.factors = table.factors.T
        n_terms = len(table.coefficients)
        shape = (table.n_features, n_terms)
        self.sum = sparse.csr_matrix((table.coefficients, (table.feature, np.arange(n_terms))), shape=shape)

    def apply(self, components: Array) -> Array:
        """(n_components, n_atoms) to (n_features, n_atoms)."""
        products = components[self.factors[0]]
        for factor in self.factors[1:]:
            products = products * components[factor]
        return self.sum @ products


class _DerivativePattern:
    """∂B/∂A: for each feature and component on which it depends, a sum of products of the other factors."""

    def __init__(self, table: ProductTable, n_components: int) -> None:
        order, n_terms = table.order, len(table.coefficients)
        places = np.concatenate([table.feature * n_components + table.factors[:, k] for k in range(order)])
        unique, slot = np.unique(places, return_inverse=True)
        self.others = [[table.factors[:, j] for j in range(order) if j != k] for k in range(order)]
        coefficients = np.tile(table.coefficients, order)
        shape = (len(unique), order * n_terms)
        self.n_products = order * n_terms
        self.sum = sparse.csr_matrix((coefficients, (slot, np.arange(order * n_terms))), shape=shape)
        self.columns = unique % n_components
        self.row_starts = np.searchsorted(unique // n_components, np.arange(table.n_features + 1))
        self.shape = (table.n_features, n_components)

    def values(self, components: Array) -> Array:
        """(n_components, n_atoms) to the nonzero ∂B/∂A, (n_nonzero, n_atoms)."""
        parts = []
        for others in self.others:
            if not others:
                parts.append(np.ones((self.n_products, components.shape[1])))
                continue
            products = components[others[0]]
            for factor in others[1:]:
                products = products * components[factor]
            parts.append(products)
        return self.sum @ np.concatenate(parts)

    def matrix(self, values: Array) -> sparse.csr_matrix:
        """∂B/∂A of one atom, (n_features, n_components)."""
        return sparse.csr_matrix((values, self.columns, self.row_starts), shape=self.shape)


@lru_cache(maxsize=32)
def _value_pattern(table: ProductTable) -> _ValuePattern:
    return _ValuePattern(table)


@lru_cache(maxsize=32)
def _derivative_pattern(table: ProductTable, n_components: int) -> _DerivativePattern:
    return _DerivativePattern(table, n_components)
