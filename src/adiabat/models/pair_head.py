"""Blocks (R, i, j) of the operator head, made in the frame of their bond."""

import math

import torch
from torch import Tensor, nn

from adiabat.data.graph import Graph
from adiabat.equivariant.bond_blocks import bond_block_basis
from adiabat.equivariant.frames import bond_frame, m_major_order, to_bond_frame
from adiabat.equivariant.grid_products import CircleProduct
from adiabat.models.config import OperatorConfig
from adiabat.models.layers import BesselBasis, IrrepsLinear, LevelCorrections, PolynomialEnvelope, ScalarNetwork
from adiabat.models.onsite_head import OUTPUT_START
from adiabat.models.operator_layout import OperatorLayout
from adiabat.models.two_center import TwoCenterFunctions

_SPECIES_CHANNELS = 16
_FADE_POWER = 16
"""Of the envelope at a pair radius: half is left at 0.86 of the radius, nothing at all of it, with two derivatives."""
_KNOT_SPACING = 0.15
"""Å between the knots of the two-centre baseline."""


class PairHead(nn.Module):
    """Coefficients of the blocks (R, i, j) in the frame of the bond: M = 0, 1, … of each pair of shells."""

    to_block: Tensor
    amplitude: Tensor
    decay: Tensor
    l_of_m_major: Tensor

    def __init__(
        self, width_in: int, l_max: int, n_species: int, layout: OperatorLayout, config: OperatorConfig, reach: float,
        *, two_center: bool, n_levels: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        channels, order = config.channels, config.order
        self.l_max, self.channels, self.n_species = l_max, channels, n_species
        basis = bond_block_basis(layout.shells, layout.spin)
        self.m_out = len(basis.n_pairs)
        self.n_even, self.n_odd, self.n_pairs = basis.n_even, basis.n_odd, basis.n_pairs

        self.from_centre = IrrepsLinear(l_max, width_in, channels)
        self.from_neighbor = IrrepsLinear(l_max, width_in, channels)
        self.bessel = BesselBasis(reach, config.n_bessel)
        self.envelope = PolynomialEnvelope(config.pair_radius, _FADE_POWER) if config.pair_radius else None
        self.species = nn.Parameter(torch.randn(n_species * n_species, _SPECIES_CHANNELS))
        self.radial = ScalarNetwork(
            config.n_bessel + _SPECIES_CHANNELS, config.hidden, config.hidden, 2 * (l_max + 1) * channels
        )
        fan_in = [(l_max + 1 - m) * 2 * channels for m in range(l_max + 1)]
        self.mixing = nn.ParameterList(torch.randn(n, order * channels) / math.sqrt(n) for n in fan_in)
        self.product = CircleProduct(l_max, self.m_out, order)
        n_features = order * channels
        self.gate = ScalarNetwork(
            n_features + config.n_bessel + _SPECIES_CHANNELS, config.hidden, config.hidden,
            (self.m_out + 2) * n_features, zero_start=True,
        )  # fmt: skip
        counts = [self.n_even, *self.n_pairs]
        self.out = nn.ParameterList(torch.randn(n_features, n) * (OUTPUT_START / math.sqrt(n_features)) for n in counts)
        self.out_odd = nn.Parameter(
            torch.randn(l_max * channels, self.n_odd) * (OUTPUT_START / math.sqrt(max(1, l_max * channels)))
        )

        dtype = torch.get_default_dtype()
        self.register_buffer("to_block", basis.matrix.to(dtype), persistent=False)
        order_l = torch.tensor([math.isqrt(k) for k in m_major_order(l_max)])
        self.register_buffer("l_of_m_major", order_l, persistent=False)
        n_coefficients, n_kinds = len(basis.matrix), max(1, n_levels) * n_species**2
        self.n_levels = n_levels
        self.register_buffer("amplitude", torch.ones(n_kinds, n_coefficients))
        self.register_buffer("decay", torch.zeros(n_kinds, n_coefficients))
        self.baseline = None
        if two_center:
            self.baseline = TwoCenterFunctions(n_kinds, self.n_even, reach, math.ceil(reach / _KNOT_SPACING))
        shapes = [(weight.shape[0], weight.shape[1]) for weight in self.last_weights]
        self.corrections = LevelCorrections(n_levels, shapes) if n_levels else None

    def forward(self, features: Tensor, graph: Graph, species: Tensor, vectors: Tensor) -> Tensor:
        """Blocks in each bond's frame.

        Args:
            features: (n_atoms, irreps, width_in) node features.
            graph: for its pairs.
            species: (n_atoms,) index of each atom's element.
            vectors: (n_pairs, 3) in Å.

        Returns: (n_pairs, n_components · n_padded²) in eV.
        """
        distances = vectors.norm(dim=-1, keepdim=True)
        kind = self.kind(graph, species)
        corrections, parts = self.corrections, list[Tensor]()
        for index, (own, weight) in enumerate(
            zip(self.last_features(features, graph, species, vectors), self.last_weights, strict=True)
        ):
            part = own @ weight
            if corrections is not None:
                part = part + corrections(index, own, kind // self.n_species**2)
            parts.append(part.flatten(1))
        coefficients = torch.cat(parts, dim=-1) * self._scale(kind, distances)
        if self.baseline is not None:
            missing = coefficients.shape[1] - self.n_even
            baseline = self.baseline(distances, kind).to(coefficients.dtype)
            coefficients = coefficients + nn.functional.pad(baseline, (0, missing))
        return coefficients @ self.to_block

    def last_features(self, features: Tensor, graph: Graph, species: Tensor, vectors: Tensor) -> list[Tensor]:
        """What the coefficients are linear in, kind by kind: M = 0, M = 0 odd, M = 1, 2, …; arguments as of forward.

        Coefficients of kind k are features @ last_weights[k], ordered by component first, times :meth:`scale`, plus the
        baseline where there is one.

        Returns: a tensor (n_pairs, n_components, n_features) each, the components being cosine and sine where M > 0.
        """
        centre, neighbor = graph.pair_index
        distances = vectors.norm(dim=-1, keepdim=True)
        pair = self._species_pair(graph, species)
        geometry = torch.cat([self.bessel(distances), self.species.index_select(0, pair)], dim=-1)
        ends = [
            self.from_centre(features).index_select(0, centre),
            self.from_neighbor(features).index_select(0, neighbor),
        ]
        seen = to_bond_frame(torch.cat(ends, dim=-1), bond_frame(vectors, self.l_max))
        weights = self.radial(geometry).unflatten(-1, (self.l_max + 1, -1)).index_select(1, self.l_of_m_major)
        factors = self._mix(seen * weights)
        mixed = self._multiply(factors)
        gates = self.gate(torch.cat([mixed[:, 0], geometry], dim=-1)).unflatten(-1, (self.m_out + 2, -1))
        even = (mixed[:, 0] * (1 + gates[:, 0]) + gates[:, -1]).unsqueeze(1)
        turning = [mixed[:, 2 * m - 1 : 2 * m + 1] * (1 + gates[:, m : m + 1]) for m in range(1, self.m_out + 1)]
        return [even, self._odd(factors).unsqueeze(1), *turning]

    @property
    def last_weights(self) -> list[Tensor]:
        """A (n_features, n_coefficients) matrix for each kind of :meth:`last_features`."""
        even, *turning = self.out
        return [even, self.out_odd, *turning]

    @property
    def last_names(self) -> list[str]:
        """Names of the parameters that :attr:`last_weights` are."""
        return ["out.0", "out_odd", *(f"out.{m}" for m in range(1, len(self.out)))]

    def scale(self, graph: Graph, species: Tensor, vectors: Tensor) -> Tensor:
        """(n_pairs, n_coefficients) in eV for each unit of a coefficient."""
        return self._scale(self.kind(graph, species), vectors.norm(dim=-1, keepdim=True))

    def kind(self, graph: Graph, species: Tensor) -> Tensor:
        """(n_pairs,) row of ``amplitude`` and ``decay``: the pair's elements, at its structure's level of theory."""
        pair = self._species_pair(graph, species)
        if not self.n_levels:
            return pair
        level = graph.fidelity_index.index_select(0, graph.structure_index.index_select(0, graph.pair_index[0]))
        return level * self.n_species**2 + pair

    def _scale(self, kind: Tensor, distances: Tensor) -> Tensor:
        scale = self.amplitude.index_select(0, kind) * torch.exp(-self.decay.index_select(0, kind) * distances)
        return scale if self.envelope is None else scale * self.envelope(distances)

    def _species_pair(self, graph: Graph, species: Tensor) -> Tensor:
        centre, neighbor = graph.pair_index
        return species.index_select(0, centre) * self.n_species + species.index_select(0, neighbor)

    def _mix(self, seen: Tensor) -> Tensor:
        """Mix l and channels of each │m│: (n_pairs, 2 l_max + 1, order · channels), m = 0, +1, −1, …."""
        parts: list[Tensor] = []
        start = 0
        for m, weight in enumerate(self.mixing):
            n_signs, n_l = (2 if m else 1), self.l_max + 1 - m
            part = seen[:, start : start + n_signs * n_l]
            # no -1 here: a lone atom has no pairs, and torch cannot guess a size beside a zero
            parts.append(part.reshape(len(seen), n_signs, n_l * seen.shape[-1]) @ weight)
            start += n_signs * n_l
        return torch.cat(parts, dim=1)

    def _multiply(self, factors: Tensor) -> Tensor:
        products = self.product(factors)
        n_missing = products.shape[1] - factors.shape[1]
        linear = nn.functional.pad(factors[..., : self.channels], (0, 0, 0, max(0, n_missing)))
        return torch.cat([linear[:, : products.shape[1]], products], dim=-1)

    def _odd(self, factors: Tensor) -> Tensor:
        """u₊ v₋ − u₋ v₊ of each m: the M = 0 products that change sign under a reflection through the bond."""
        u, v = factors[:, 1:, : self.channels], factors[:, 1:, self.channels : 2 * self.channels]
        return (u[:, 0::2] * v[:, 1::2] - u[:, 1::2] * v[:, 0::2]).flatten(1)
