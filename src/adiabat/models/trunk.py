"""The default trunk: messages summed over neighbors first, products of the sums on the nodes.

One layer, for node i with neighbors j:

    A_i^lm = Σ_j R_l(r_ij) φ_j Y_lm(r̂_ij) + R'_l(r_ij) (W h_j)^lm            messages
    B_i    = A_i, [A'_i A''_i], [A'_i A''_i A'''_i]                            products on the sphere
    h_i   ← gate(W B_i + W h_i + s_f)

where s_f, in the scalars only, tells the level of theory f where one model learns several, and
φ_j = W (Σ_m Y_lm(r̂_ij) h_j^lm)_l is the neighbor's own surroundings as seen along the bond. That scalar carries
the correlation of two neighborhoods at the price of a dot product instead of a tensor product on every edge.
"""

import math

import torch
from torch import Tensor, nn

from adiabat.equivariant.grid_products import SphereProduct
from adiabat.models.config import ModelConfig
from adiabat.models.layers import (
    BesselBasis,
    IrrepsLinear,
    PolynomialEnvelope,
    ScalarNetwork,
    l_of_component,
    pieces,
)

_SPECIES_CHANNELS = 16
_EDGES_AT_ONCE = 32768
"""Edges whose messages are in memory together when nothing is differentiated: about 0.3 GB."""
_ATOMS_AT_ONCE = 1024
"""Atoms whose products on the sphere are in memory together, likewise."""


class EdgeRadial(nn.Module):
    """Radial functions of every layer, each pair of species its own: R(r; Z_i, Z_j), zero at the cutoff."""

    def __init__(self, config: ModelConfig, n_species: int, n_functions: list[int]) -> None:
        super().__init__()
        self.bessel = BesselBasis(config.cutoff, config.n_bessel)
        self.envelope = PolynomialEnvelope(config.cutoff)
        self.species = nn.Parameter(torch.randn(n_species * n_species, _SPECIES_CHANNELS))
        width_in = config.n_bessel + _SPECIES_CHANNELS
        self.networks = nn.ModuleList(
            ScalarNetwork(width_in, config.hidden, config.hidden, n_out) for n_out in n_functions
        )

    def forward(self, distances: Tensor, species_pair: Tensor) -> list[Tensor]:
        """(n_edges, 1) distances [Å] and (n_edges,) pair numbers to (n_edges, n_functions) a layer."""
        envelope = self.envelope(distances)
        features = self._features(distances, species_pair, envelope)
        return [network(features) * envelope for network in self.networks]

    def of_layer(self, layer: int, distances: Tensor, species_pair: Tensor) -> Tensor:
        """The functions of one layer alone."""
        envelope = self.envelope(distances)
        return self.networks[layer](self._features(distances, species_pair, envelope)) * envelope

    def _features(self, distances: Tensor, species_pair: Tensor, envelope: Tensor) -> Tensor:
        species = self.species.index_select(0, species_pair)
        return torch.cat([self.bessel(distances) * envelope, species], dim=-1)


class Layer(nn.Module):
    """One round: messages, products, update."""

    l_of_component: Tensor
    sum_over_m: Tensor

    def __init__(self, config: ModelConfig, n_species: int, *, first: bool) -> None:
        super().__init__()
        l_max, channels, order = config.l_max, config.channels, config.order
        self.l_max, self.channels, self.first = l_max, channels, first
        self.product = SphereProduct(l_max, l_max, order)
        self.to_factors = IrrepsLinear(l_max, channels, order * channels)
        self.from_products = IrrepsLinear(l_max, order * channels, channels)
        self.species_weights = nn.Parameter(1 + 0.3 * torch.randn(n_species, l_max + 1, order * channels))
        self.gate = ScalarNetwork(channels, channels, channels * (l_max + 1))
        if first:
            self.species_scalars = nn.Parameter(torch.randn(n_species, channels))
        else:
            width = (l_max + 1) * channels
            self.from_neighbor = IrrepsLinear(l_max, channels, channels)
            self.along_bond = nn.Parameter(torch.randn(width, width) / math.sqrt(width))
            self.residual = IrrepsLinear(l_max, channels, channels)
        component_l = l_of_component(l_max)
        self.register_buffer("l_of_component", component_l, persistent=False)
        dot = torch.nn.functional.one_hot(component_l).mT / torch.sqrt(2.0 * torch.arange(l_max + 1) + 1)[:, None]
        self.register_buffer("sum_over_m", dot.to(torch.get_default_dtype()), persistent=False)

    @staticmethod
    def n_radial(config: ModelConfig, *, first: bool) -> int:
        """Radial functions that one layer takes per edge."""
        return (1 if first else 2) * (config.l_max + 1) * config.channels

    def messages(self, features: Tensor | None, radial: Tensor, harmonics: Tensor, neighbor: Tensor) -> Tensor:
        """Message along every edge, (n_edges, (l_max + 1)², channels)."""
        radial = radial.unflatten(-1, (-1, self.l_max + 1, self.channels))
        y = harmonics.unsqueeze(-1)
        if features is None:
            return y * radial[:, 0].index_select(1, self.l_of_component)
        sent = self.from_neighbor(features).index_select(0, neighbor)
        seen = torch.matmul(self.sum_over_m, y * sent)
        phi = radial[:, 0] * (seen.flatten(1) @ self.along_bond).view_as(seen)
        both = torch.stack([phi, radial[:, 1]]).index_select(2, self.l_of_component)
        return y * both[0] + sent * both[1]

    def update(
        self, features: Tensor | None, summed: Tensor, species: Tensor, fidelity_scalars: Tensor | None
    ) -> Tensor:
        """New node features from the summed messages, (n_atoms, (l_max + 1)², channels).

        Args:
            features: of the layer before; None in the first.
            summed: messages, (n_atoms, (l_max + 1)², channels).
            species: (n_atoms,).
            fidelity_scalars: (n_atoms, channels) what the level of theory adds to the scalars, if there are several.
        """
        products = torch.cat([summed, self.product(self.to_factors(summed))], dim=-1)
        weights = self.species_weights.index_select(0, species).index_select(1, self.l_of_component)
        updated = self.from_products(products * weights)
        if features is not None:
            updated = updated + self.residual(features)
        scalars = updated[:, 0]
        if self.first:
            scalars = scalars + self.species_scalars.index_select(0, species)
        if fidelity_scalars is not None:
            scalars = scalars + fidelity_scalars
        change, gates = self.gate(scalars).split([self.channels, self.l_max * self.channels], dim=-1)
        scalars = (scalars + change).unsqueeze(1)
        gates = (1 + torch.tanh(gates)).unflatten(-1, (self.l_max, self.channels))
        return torch.cat([scalars, updated[:, 1:] * gates.index_select(1, self.l_of_component[1:] - 1)], dim=1)


class Trunk(nn.Module):
    """Node features of a graph.

    Args:
        config: sizes.
        n_species: number of elements the model knows.
    """

    n_neighbors: Tensor

    def __init__(self, config: ModelConfig, n_species: int) -> None:
        super().__init__()
        self.config, self.n_species, self.l_max = config, n_species, config.l_max
        first = [index == 0 for index in range(config.layers)]
        self.radial = EdgeRadial(config, n_species, [Layer.n_radial(config, first=is_first) for is_first in first])
        self.layers = nn.ModuleList(Layer(config, n_species, first=is_first) for is_first in first)
        n_fidelities = len(config.fidelities)
        self.fidelity_scalars = (
            nn.Parameter(torch.zeros(config.layers, n_fidelities, config.channels)) if n_fidelities else None
        )
        self.register_buffer("n_neighbors", torch.tensor(1.0, dtype=torch.get_default_dtype()))

    def forward(
        self, species: Tensor, edge_index: Tensor, distances: Tensor, harmonics: Tensor, fidelity: Tensor | None = None
    ) -> list[Tensor]:
        """Node features after each layer.

        Args:
            species: (n_atoms,) index of each atom's element.
            edge_index: (2, n_edges) centre and neighbor.
            distances: (n_edges, 1) in Å.
            harmonics: (n_edges, (l_max + 1)²) of the direction to the neighbor, component-normalised.
            fidelity: (n_atoms,) level of theory of each atom's structure, where the model has several; the first by
                default.

        Returns:
            one (n_atoms, (l_max + 1)², channels) tensor a layer, all of natural parity.
        """
        centre, neighbor = edge_index
        pair = species.index_select(0, centre) * self.n_species + species.index_select(0, neighbor)
        piecewise = not torch.is_grad_enabled() and len(distances) > _EDGES_AT_ONCE
        radials = None if piecewise else self.radial(distances, pair)
        features: Tensor | None = None
        history: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            if radials is None:
                shape = (len(species), harmonics.shape[1], self.config.channels)
                summed = harmonics.new_zeros(shape)
                for part in pieces(len(distances), _EDGES_AT_ONCE):
                    radial = self.radial.of_layer(index, distances[part], pair[part])
                    messages = layer.messages(features, radial, harmonics[part], neighbor[part])
                    summed.index_add_(0, centre[part], messages)
            else:
                messages = layer.messages(features, radials[index], harmonics, neighbor)
                summed = messages.new_zeros(len(species), *messages.shape[1:]).index_add(0, centre, messages)
            summed = summed * self.n_neighbors.rsqrt()
            level = self._of_fidelity(index, species, fidelity)
            if piecewise:
                features = torch.cat(
                    [
                        layer.update(
                            None if features is None else features[part],
                            summed[part],
                            species[part],
                            None if level is None else level[part],
                        )
                        for part in pieces(len(species), _ATOMS_AT_ONCE)
                    ]
                )
            else:
                features = layer.update(features, summed, species, level)
            history.append(features)
        return history

    def _of_fidelity(self, layer: int, species: Tensor, fidelity: Tensor | None) -> Tensor | None:
        """(n_atoms, channels) what each atom's level of theory adds to the scalars of a layer."""
        if self.fidelity_scalars is None:
            return None
        level = torch.zeros_like(species) if fidelity is None else fidelity
        return self.fidelity_scalars[layer].index_select(0, level)
