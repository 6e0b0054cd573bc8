"""The linear family: atomic cluster expansion, whose energy is linear in invariant products of sums over neighbors.

    A_i^{znlm} = Σ_j δ(z_j, z) R_n(r_ij) Y_lm(r̂_ij)        sums over neighbors
    B_i        = couplings of products of ν of them          ν = 1, 2, 3, 4: body order ν + 1
    E_i        = E_ref(Z_i) + scale · w_{Z_i} · (1, B_i)

A fit is one Bayesian linear regression on energies, forces and stress (``training/linear_fit.py``), and uncertainty is
that of the posterior of w.

Source: [drautz2019].
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
from ase.data import covalent_radii
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from adiabat.models.ace_products import ProductTable, product_table
from adiabat.models.config import LinearAceConfig, ModelConfig
from adiabat.models.layers import PolynomialEnvelope, keep_float64, pieces

_LADDER: Final = ((16, 14, 12), (14, 12, 9), (12, 10, 7), (10, 8, 5), (10, 6, 4), (8, 4, 3), (8, 4))
"""Degrees that are tried where none are given, the first with at most so many weights taken:"""
_MAX_WEIGHTS: Final = 10_000

_VALUES_AT_ONCE: Final = 2**23
"""Terms times atoms whose products are in memory together."""


def with_degrees(config: ModelConfig, n_species: int) -> ModelConfig:
    """The configuration with its degrees written out: those given, or as large as is affordable for the elements."""
    ace = config.linear_ace or LinearAceConfig.model_validate({})
    if ace.degrees is None:
        affordable = (degrees for degrees in _LADDER if _n_weights(ace, degrees, n_species) <= _MAX_WEIGHTS)
        ace = ace.model_copy(update={"degrees": next(affordable, _LADDER[-1])})
    return config.model_copy(update={"linear_ace": ace})


def _n_weights(ace: LinearAceConfig, degrees: Sequence[int], n_species: int) -> int:
    return n_species * (1 + sum(table.n_features for table in _tables(degrees, ace.l_max, n_species)))


def _tables(degrees: Sequence[int], l_max: int, n_species: int) -> list[ProductTable]:
    n_radial = radial_counts(degrees, l_max)
    return [product_table(index + 1, degree, n_species, n_radial) for index, degree in enumerate(degrees)]


def radial_counts(degrees: Sequence[int], l_max: int) -> list[int]:
    """Number of radial functions of each l: as many as some order has a use for."""
    # The other factors of a product have together at least the same l.
    of_l = [max([0, *(degree - 2 * l + 1 for degree in degrees[1:])]) for l in range(1, l_max + 1)]
    return [max(degrees) + 1, *of_l]


class PairRadial(nn.Module):
    """R_n(r; Z_i, Z_j) = u(r) T_n(s) for n = 0 …: Chebyshev polynomials of a distance that is stretched at bonds.

        x = 1/(1 + (r/r₀)²),    s from −1 to 1 as x goes from its value at the cutoff to 1

    r₀ is ``stretch`` times the sum of the two covalent radii, so that functions are densest where bonds are; u is the
    envelope, zero at the cutoff with two derivatives.

    Args:
        config: where they are densest, and the envelope.
        cutoff: radius in Å.
        n_functions: number of functions.
        atomic_numbers: the elements.
    """

    bond_lengths: Tensor

    def __init__(self, config: LinearAceConfig, cutoff: float, n_functions: int, atomic_numbers: Sequence[int]) -> None:
        super().__init__()
        self.n_functions, self.cutoff = n_functions, cutoff
        self.envelope = PolynomialEnvelope(cutoff, config.envelope_power)
        radii = torch.from_numpy(covalent_radii[list(atomic_numbers)] * config.stretch)
        lengths = (radii[:, None] + radii[None, :]).flatten().to(torch.get_default_dtype())
        self.register_buffer("bond_lengths", lengths, persistent=False)

    def forward(self, distances: Tensor, species_pair: Tensor) -> Tensor:
        """(n_edges, 1) distances [Å] and (n_edges,) pair numbers to (n_edges, n_functions)."""
        length = self.bond_lengths.index_select(0, species_pair).unsqueeze(-1)
        x = 1 / (1 + (distances / length).square())
        x_cutoff = 1 / (1 + (self.cutoff / length).square())
        s = 2 * (x - x_cutoff) / (1 - x_cutoff) - 1
        values = [torch.ones_like(s), s]
        for _ in range(2, self.n_functions):
            values.append(2 * s * values[-1] - values[-2])
        return torch.cat(values[: self.n_functions], dim=-1) * self.envelope(distances)


class InvariantProducts(nn.Module):
    """B from A, for all orders, by one table of monomials each.

    Args:
        tables: of ν = 1, 2, ….
    """

    def __init__(self, tables: Sequence[ProductTable]) -> None:
        super().__init__()
        self.orders = [table.order for table in tables]
        self.sizes = [table.n_features for table in tables]
        self.n_terms = sum(len(table.coefficients) for table in tables)
        for table in tables:
            name = f"order_{table.order}"
            self.register_buffer(f"{name}_factors", torch.from_numpy(table.factors.T.copy()), persistent=False)
            coefficients = torch.from_numpy(table.coefficients).to(torch.get_default_dtype())
            self.register_buffer(f"{name}_coefficients", coefficients, persistent=False)
            self.register_buffer(f"{name}_feature", torch.from_numpy(table.feature), persistent=False)

    def forward(self, sums: Tensor) -> Tensor:
        """(n_atoms, n_components) to (n_atoms, n_features)."""
        size = max(1, _VALUES_AT_ONCE // max(self.n_terms, 1))
        if len(sums) <= size:
            return self._products(sums)
        # Products are recomputed where they are differentiated: kept, they would be most of the memory of a batch.
        run = checkpoint if torch.is_grad_enabled() else _plainly
        return torch.cat([run(self._products, sums[part], use_reentrant=False) for part in pieces(len(sums), size)])

    def _products(self, sums: Tensor) -> Tensor:
        components = sums.mT.contiguous()
        parts = []
        for order, size in zip(self.orders, self.sizes, strict=True):
            first, *rest = getattr(self, f"order_{order}_factors")
            terms = components.index_select(0, first) * getattr(self, f"order_{order}_coefficients")[:, None]
            for factor in rest:
                terms = terms * components.index_select(0, factor)
            features = terms.new_zeros(size, terms.shape[1])
            parts.append(features.index_add(0, getattr(self, f"order_{order}_feature"), terms))
        return torch.cat(parts).mT


def _plainly(function: Callable[[Tensor], Tensor], sums: Tensor, *, use_reentrant: bool) -> Tensor:
    return function(sums)


class LinearAce(nn.Module):
    """The trunk of the linear family: node features are the invariants B, and nothing else.

    Args:
        config: sizes.
        atomic_numbers: the elements, ascending.
    """

    n_neighbors: Tensor
    radial_index: Tensor
    harmonic_index: Tensor

    def __init__(self, config: ModelConfig, atomic_numbers: Sequence[int]) -> None:
        super().__init__()
        ace = with_degrees(config, len(atomic_numbers)).linear_ace
        assert ace is not None
        assert ace.degrees is not None
        self.n_species, self.l_max = len(atomic_numbers), ace.l_max
        self.n_radial = radial_counts(ace.degrees, ace.l_max)
        self.radial = PairRadial(ace, config.cutoff, max(self.n_radial), atomic_numbers)
        self.tables = _tables(ace.degrees, ace.l_max, self.n_species)
        self.products = InvariantProducts(self.tables)
        self.n_local = sum((2 * l + 1) * count for l, count in enumerate(self.n_radial))
        shells = [(l, n) for l, count in enumerate(self.n_radial) for n in range(count)]
        places = [(n, l * l + m) for l, n in shells for m in range(2 * l + 1)]
        radial_index, harmonic_index = torch.tensor(places).mT
        self.register_buffer("radial_index", radial_index.contiguous(), persistent=False)
        self.register_buffer("harmonic_index", harmonic_index.contiguous(), persistent=False)
        self.register_buffer("n_neighbors", torch.tensor(1.0, dtype=torch.get_default_dtype()))

    @property
    def n_features(self) -> int:
        """Number of features of an atom, the constant among them."""
        return 1 + sum(table.n_features for table in self.tables)

    @property
    def orders(self) -> Tensor:
        """(n_features,) ν of each feature, 0 for the constant."""
        counts = [1, *(table.n_features for table in self.tables)]
        return torch.from_numpy(np.repeat(np.arange(len(counts)), counts))

    @property
    def degrees(self) -> Tensor:
        """(n_features,) Σ (n + l) of each feature."""
        return torch.from_numpy(np.concatenate([[0], *(table.degrees for table in self.tables)]).astype(np.int64))

    def edge_functions(self, species_pair: Tensor, distances: Tensor, harmonics: Tensor) -> Tensor:
        """R_n Y_lm of each edge, (n_edges, n_local), over the root of the mean number of neighbors."""
        radial = self.radial(distances, species_pair) * self.n_neighbors.rsqrt()
        return radial.index_select(1, self.radial_index) * harmonics.index_select(1, self.harmonic_index)

    def forward(self, species: Tensor, edge_index: Tensor, distances: Tensor, harmonics: Tensor) -> list[Tensor]:
        """Features of each atom; arguments as of :meth:`adiabat.models.trunk.Trunk.forward`.

        Returns: one tensor (n_atoms, 1, n_features) in a list, (1, B) of each atom.
        """
        centre, neighbor = edge_index
        of_neighbor = species.index_select(0, neighbor)
        pair = species.index_select(0, centre) * self.n_species + of_neighbor
        functions = self.edge_functions(pair, distances, harmonics)
        sums = functions.new_zeros(len(species) * self.n_species, self.n_local)
        sums = sums.index_add(0, centre * self.n_species + of_neighbor, functions).view(len(species), -1)
        products = self.products(sums)
        return [torch.cat([torch.ones_like(products[:, :1]), products], dim=1).unsqueeze(1)]


class LinearEnergyHead(nn.Module):
    """E_i = E_ref(Z_i) + scale · w_{Z_i} · (1, B_i).

    What the fit found about its own data stands beside the weights, in float64: from it, and the training data, the
    posterior can be made again.

    Args:
        n_species: number of elements the model knows.
        n_features: number of features of an atom.
    """

    reference: Tensor
    scale: Tensor
    prior: Tensor
    noise: Tensor

    def __init__(self, n_species: int, n_features: int) -> None:
        super().__init__()
        self.n_species = n_species
        self.weights = nn.Parameter(torch.zeros(n_species, n_features))
        self.register_buffer("reference", torch.zeros(n_species, dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("prior", torch.ones(n_species, n_features, dtype=torch.float64))
        self.register_buffer("noise", torch.full((3,), torch.nan, dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "LinearEnergyHead":
        """Keep reference energies, scale, prior and noise in float64 when the model is cast."""
        return keep_float64(self, lambda: super(LinearEnergyHead, self)._apply(fn, recurse))

    def forward(
        self, history: list[Tensor], species: Tensor, fidelity: Tensor | None = None, heads: Tensor | None = None
    ) -> Tensor:
        """(n_atoms,) atomic energies in eV, float64; there is one level of theory and one head."""
        energies = (history[-1][:, 0] * self.weights.index_select(0, species)).sum(-1)
        return energies.double() * self.scale + self.reference.index_select(0, species)

    def last_features(self, history: list[Tensor], species: Tensor) -> Tensor:
        """(n_atoms, n_species · n_features): what the energy is linear in, zero for other elements' weights."""
        features = history[-1][:, 0]
        own = torch.nn.functional.one_hot(species, self.n_species).to(features.dtype)
        return (own.unsqueeze(-1) * features.unsqueeze(-2)).flatten(1)

    @property
    def last_weights(self) -> Tensor:
        """(n_species · n_features,) weights in the order of :meth:`last_features`."""
        return self.weights.flatten()

    def moved(self, change: Tensor) -> dict[str, Tensor]:
        """Parameters, by name, with which :attr:`last_weights` are moved by ``change``, (n_species · n_features,)."""
        return {"weights": (self.weights + change.to(self.weights.dtype).view_as(self.weights)).detach()}
