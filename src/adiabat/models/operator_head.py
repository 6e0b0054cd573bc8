"""The operator head: every block of the Hamiltonian's correction ΔH from node features and bond geometry.

Off-site blocks are made in the frame of their bond, where two atoms' features, weighted by radial functions, are
multiplied around the bond's axis and mapped to Slater–Koster-like coefficients; on-site blocks are made of products on
the sphere. Both end as standardised coefficients times the scale that such a coefficient has in the training data.
ΔH is Hermitian because each block is averaged with its partner's transpose.
"""

import math

import torch
from torch import Tensor, nn

from adiabat.data.graph import Graph
from adiabat.equivariant.bond_blocks import bond_block_basis
from adiabat.equivariant.clebsch_gordan import shell_pair_to_irreps
from adiabat.equivariant.frames import bond_frame, bond_rotation, m_major_order, to_bond_frame
from adiabat.equivariant.grid_products import CircleProduct, SphereCurl, SphereProduct
from adiabat.equivariant.wigner import wigner_d_block
from adiabat.models.config import ModelConfig, OperatorConfig
from adiabat.models.layers import BesselBasis, IrrepsLinear, PolynomialEnvelope, ScalarNetwork
from adiabat.models.operator_layout import OperatorBlocks, OperatorLayout

_SPECIES_CHANNELS = 16
_FADE_POWER = 16
"""Of the envelope at a pair radius: half is left at 0.86 of the radius, nothing at all of it, with two derivatives."""
_OUTPUT_START = 0.1
"""Size of the last weights at the start: a first guess near the mean blocks beats a random one of full size."""


class OnsiteHead(nn.Module):
    """Coefficients of the blocks (i, i): irreps L of each pair of shells."""

    to_block: Tensor
    scale: Tensor
    mean: Tensor

    def __init__(
        self, width_in: int, l_max: int, n_species: int, layout: OperatorLayout, config: OperatorConfig
    ) -> None:
        super().__init__()
        channels, order = config.channels, config.order
        self.l_max, self.channels, self.order = l_max, channels, order
        self.l_out = 2 * layout.basis.l_max
        self.to_factors = IrrepsLinear(l_max, width_in, order * channels)
        self.product = SphereProduct(l_max, self.l_out, order)
        self.curl = SphereCurl(l_max, self.l_out)
        self.species = nn.Parameter(torch.randn(n_species, _SPECIES_CHANNELS))
        n_features = order * channels
        self.gate = ScalarNetwork(
            n_features + _SPECIES_CHANNELS, config.hidden, (self.l_out + 2) * n_features, zero_start=True
        )
        rows, self.n_natural, self.n_unnatural = _onsite_basis(layout.shells, self.l_out)
        self.natural = nn.ParameterList(
            nn.Parameter(torch.randn(n_features, n) * (_OUTPUT_START / math.sqrt(n_features))) for n in self.n_natural
        )
        self.unnatural = nn.ParameterList(
            nn.Parameter(torch.randn(channels, n) * (_OUTPUT_START / math.sqrt(channels))) for n in self.n_unnatural
        )
        self.register_buffer("to_block", rows.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("scale", torch.ones(n_species, len(rows)))
        self.register_buffer("mean", torch.zeros(n_species, len(rows)))

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        """(n_atoms, irreps, width_in) node features to (n_atoms, n_padded²) blocks [eV]."""
        factors = self.to_factors(features)
        products = self.product(factors)
        linear = nn.functional.pad(factors[..., : self.channels], (0, 0, 0, products.shape[1] - factors.shape[1]))
        mixed = torch.cat([linear[:, : products.shape[1]], products], dim=-1)
        scalars = torch.cat([mixed[:, 0], self.species.index_select(0, species)], dim=-1)
        gates = self.gate(scalars).unflatten(-1, (self.l_out + 2, -1))
        parts: list[Tensor] = []
        for l, weight in enumerate(self.natural):
            part = mixed[:, l * l : (l + 1) ** 2] * (1 + gates[:, l : l + 1])
            part = part + gates[:, -1:] if l == 0 else part
            parts.append((part @ weight).flatten(1))
        curls = self.curl(factors[..., : 2 * self.channels])
        parts += [(curls[:, l * l : (l + 1) ** 2] @ weight).flatten(1) for l, weight in enumerate(self.unnatural) if l]
        coefficients = torch.cat(parts, dim=-1) * self.scale.index_select(0, species)
        return (coefficients + self.mean.index_select(0, species)) @ self.to_block


class PairHead(nn.Module):
    """Coefficients of the blocks (R, i, j) in the frame of the bond: M = 0, 1, … of each pair of shells."""

    to_block: Tensor
    amplitude: Tensor
    decay: Tensor
    l_of_m_major: Tensor

    def __init__(
        self, width_in: int, l_max: int, n_species: int, layout: OperatorLayout, config: OperatorConfig, reach: float
    ) -> None:
        super().__init__()
        channels, order = config.channels, config.order
        self.l_max, self.channels, self.n_species = l_max, channels, n_species
        self.m_out = 2 * layout.basis.l_max
        basis = bond_block_basis(layout.shells)
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
        self.out = nn.ParameterList(
            torch.randn(n_features, n) * (_OUTPUT_START / math.sqrt(n_features)) for n in counts
        )
        self.out_odd = nn.Parameter(
            torch.randn(l_max * channels, self.n_odd) * (_OUTPUT_START / math.sqrt(max(1, l_max * channels)))
        )

        dtype = torch.get_default_dtype()
        self.register_buffer("to_block", basis.matrix.to(dtype), persistent=False)
        order_l = torch.tensor([math.isqrt(k) for k in m_major_order(l_max)])
        self.register_buffer("l_of_m_major", order_l, persistent=False)
        n_coefficients = len(basis.matrix)
        self.register_buffer("amplitude", torch.ones(n_species * n_species, n_coefficients))
        self.register_buffer("decay", torch.zeros(n_species * n_species, n_coefficients))

    def forward(self, features: Tensor, graph: Graph, species: Tensor, vectors: Tensor) -> Tensor:
        """Blocks in each bond's frame.

        Args:
            features: (n_atoms, irreps, width_in) node features.
            graph: for its pairs.
            species: (n_atoms,) index of each atom's element.
            vectors: (n_pairs, 3) in Å.

        Returns: (n_pairs, n_padded²) in eV.
        """
        centre, neighbor = graph.pair_index
        distances = vectors.norm(dim=-1, keepdim=True)
        pair = species.index_select(0, centre) * self.n_species + species.index_select(0, neighbor)
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
        parts = [(mixed[:, 0] * (1 + gates[:, 0]) + gates[:, -1]) @ self.out[0], self._odd(factors) @ self.out_odd]
        for m, weight in enumerate(list(self.out)[1:], start=1):
            both = mixed[:, 2 * m - 1 : 2 * m + 1] * (1 + gates[:, m : m + 1])
            parts.append((both @ weight).flatten(1))
        scale = self.amplitude.index_select(0, pair) * torch.exp(-self.decay.index_select(0, pair) * distances)
        if self.envelope is not None:
            scale = scale * self.envelope(distances)
        return (torch.cat(parts, dim=-1) * scale) @ self.to_block

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


class OperatorHead(nn.Module):
    """All blocks of ΔH.

    Args:
        config: the model's.
        n_species: number of elements the model knows.
        layout: the padded orbital axis.
    """

    def __init__(self, config: ModelConfig, n_species: int, layout: OperatorLayout) -> None:
        super().__init__()
        assert config.operator is not None
        self.layout = layout
        reach = config.operator.pair_radius or 2 * config.cutoff
        width = config.layers * config.channels
        self.onsite = OnsiteHead(width, config.l_max, n_species, layout, config.operator)
        self.pair = PairHead(width, config.l_max, n_species, layout, config.operator, reach)

    def forward(self, history: list[Tensor], graph: Graph, species: Tensor, vectors: Tensor) -> OperatorBlocks:
        """Blocks of ΔH [eV] in the laboratory frame, Hermitian by construction."""
        n = self.layout.n_padded
        features = torch.cat(history, dim=-1)
        onsite = self.onsite(features, species).unflatten(-1, (n, n))
        in_frame = self.pair(features, graph, species, vectors).unflatten(-1, (n, n))
        turn = orbital_frame(vectors, self.layout)
        pair = turn.mT @ in_frame @ turn
        partner = pair.index_select(0, graph.pair_reverse).mT
        return OperatorBlocks(onsite=(onsite + onsite.mT) / 2, pair=(pair + partner) / 2)


def orbital_frame(vectors: Tensor, layout: OperatorLayout) -> Tensor:
    """(n_pairs, n_padded, n_padded) matrices that turn padded orbitals into each bond's frame."""
    l_max = layout.basis.l_max
    turn = wigner_d_block(l_max, bond_rotation(vectors))
    rows = torch.cat([torch.arange(l * l, (l + 1) ** 2) for l in layout.shells]).to(vectors.device)
    shell = torch.cat([torch.full((2 * l + 1,), k) for k, l in enumerate(layout.shells)]).to(vectors.device)
    same_shell = (shell[:, None] == shell[None, :]).to(vectors.dtype)
    return turn[:, rows[:, None], rows[None, :]] * same_shell


def _onsite_basis(shells: tuple[int, ...], l_out: int) -> tuple[Tensor, list[int], list[int]]:
    """Orthogonal rows (n_padded², n_padded²) from irreps to blocks, and how many irreps there are of each L.

    Natural L = 0, 1, … come first, then unnatural ones; within an L the component m is slower than the shell pair.
    """
    starts = torch.tensor([0, *(2 * l + 1 for l in shells)]).cumsum(0).tolist()
    n = starts[-1]
    rows: dict[tuple[bool, int], list[Tensor]] = {(odd, l): [] for odd in (False, True) for l in range(l_out + 1)}
    for a, l1 in enumerate(shells):
        for b, l2 in enumerate(shells):
            basis, ls = shell_pair_to_irreps(l1, l2)
            columns = basis.split([2 * l + 1 for l in ls], dim=1)
            for l, part in zip(ls, columns, strict=True):
                full = torch.zeros(2 * l + 1, n, n, dtype=torch.float64)
                full[:, starts[a] : starts[a + 1], starts[b] : starts[b + 1]] = part.mT.unflatten(
                    1, (2 * l1 + 1, 2 * l2 + 1)
                )
                rows[bool((l1 + l2 + l) % 2), l].append(full.flatten(1))
    stacked = [torch.stack(group, dim=1).flatten(0, 1) for group in rows.values() if group]
    counts = [[len(rows[odd, l]) for l in range(l_out + 1)] for odd in (False, True)]
    return torch.cat(stacked), counts[0], counts[1]
