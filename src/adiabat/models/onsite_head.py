"""Blocks (R = 0, i, i) of the operator head: irreps of each pair of shells, from products on the sphere."""

import math

import torch
from torch import Tensor, nn

from adiabat.data.graph import Graph
from adiabat.equivariant.clebsch_gordan import clebsch_gordan, shell_pair_to_irreps
from adiabat.equivariant.grid_products import SphereCurl, SphereProduct
from adiabat.models.config import OperatorConfig
from adiabat.models.layers import IrrepsLinear, LevelCorrections, ScalarNetwork, pieces
from adiabat.models.linear_baseline import LinearOnsite
from adiabat.models.operator_layout import OperatorLayout

_SPECIES_CHANNELS = 16
_ATOMS_AT_ONCE = 1024
"""Atoms whose products on the sphere are in memory together when nothing is differentiated: about 0.5 GB."""
OUTPUT_START = 0.1
"""Size of the last weights at the start: a first guess near the mean blocks beats a random one of full size."""


class OnsiteHead(nn.Module):
    """Coefficients of the blocks (i, i): irreps L of each pair of shells."""

    to_block: Tensor
    scale: Tensor
    mean: Tensor

    def __init__(
        self, width_in: int, l_max: int, n_species: int, layout: OperatorLayout, config: OperatorConfig,
        linear_cutoff: float | None, n_levels: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        channels, order = config.channels, config.order
        self.l_max, self.channels, self.order = l_max, channels, order
        self.l_out = 2 * layout.basis.l_max + (1 if layout.spin == "spinor" else 0)
        self.to_factors = IrrepsLinear(l_max, width_in, order * channels)
        self.product = SphereProduct(l_max, self.l_out, order)
        self.curl = SphereCurl(l_max, self.l_out)
        self.species = nn.Parameter(torch.randn(n_species, _SPECIES_CHANNELS))
        n_features = order * channels
        self.gate = ScalarNetwork(
            n_features + _SPECIES_CHANNELS, config.hidden, (self.l_out + 2) * n_features, zero_start=True
        )
        rows, self.n_natural, self.n_unnatural = _onsite_basis(layout, self.l_out)
        self.natural = nn.ParameterList(
            nn.Parameter(torch.randn(n_features, n) * (OUTPUT_START / math.sqrt(n_features))) for n in self.n_natural
        )
        self.unnatural = nn.ParameterList(
            nn.Parameter(torch.randn(channels, n) * (OUTPUT_START / math.sqrt(channels))) for n in self.n_unnatural
        )
        self.register_buffer("to_block", rows.to(torch.get_default_dtype()), persistent=False)
        n_kinds = max(1, n_levels) * n_species
        self.n_species, self.n_levels = n_species, n_levels
        self.register_buffer("scale", torch.ones(n_kinds, len(rows)))
        self.register_buffer("mean", torch.zeros(n_kinds, len(rows)))
        self.linear = None
        if linear_cutoff is not None:
            self.linear = LinearOnsite(n_species, self.n_natural, linear_cutoff, n_kinds=n_kinds)
        shapes = [(weight.shape[0], weight.shape[1]) for weight in self.last_weights]
        self.corrections = LevelCorrections(n_levels, shapes) if n_levels else None

    def forward(self, features: Tensor, graph: Graph, species: Tensor, vectors: Tensor) -> Tensor:
        """Blocks of every atom.

        Args:
            features: (n_atoms, irreps, width_in) node features.
            graph: for its pairs.
            species: (n_atoms,) index of each atom's element.
            vectors: (n_pairs, 3) in Å.

        Returns: (n_atoms, n_components · n_padded²) in eV.
        """
        linear = None
        kind = self.kind(graph, species)
        if self.linear is not None:
            linear = self.linear(self.linear_features(graph, species, vectors), kind).to(features.dtype)
        if torch.is_grad_enabled() or len(species) <= _ATOMS_AT_ONCE:
            return self._blocks(features, species, kind, linear)
        return torch.cat(
            [
                self._blocks(features[part], species[part], kind[part], None if linear is None else linear[part])
                for part in pieces(len(species), _ATOMS_AT_ONCE)
            ]
        )

    def kind(self, graph: Graph, species: Tensor) -> Tensor:
        """(n_atoms,) row of ``scale`` and ``mean`` of each atom: its element, at its structure's level of theory."""
        if not self.n_levels:
            return species
        return graph.fidelity_index.index_select(0, graph.structure_index) * self.n_species + species

    def _blocks(self, features: Tensor, species: Tensor, kind: Tensor, linear_part: Tensor | None) -> Tensor:
        corrections, parts = self.corrections, list[Tensor]()
        for index, (own, weight) in enumerate(
            zip(self.last_features(features, species), self.last_weights, strict=True)
        ):
            part = own @ weight
            if corrections is not None:
                part = part + corrections(index, own, kind // self.n_species)
            parts.append(part.flatten(1))
        coefficients = torch.cat(parts, dim=-1) * self.scale.index_select(0, kind)
        coefficients = coefficients + self.mean.index_select(0, kind)
        if linear_part is not None:
            missing = coefficients.shape[1] - linear_part.shape[1]
            coefficients = coefficients + nn.functional.pad(linear_part, (0, missing))
        return coefficients @ self.to_block

    def last_features(self, features: Tensor, species: Tensor) -> list[Tensor]:
        """What the coefficients are linear in, kind by kind: natural L = 0, 1, …, then unnatural ones.

        Coefficients of kind k are features @ last_weights[k], ordered by component first, times ``scale``, plus
        ``mean`` and the linear part where there is one.

        Args:
            features: (n_atoms, irreps, width_in) node features.
            species: (n_atoms,) index of each atom's element.

        Returns: a tensor (n_atoms, 2L + 1, n_features) each.
        """
        factors = self.to_factors(features)
        products = self.product(factors)
        linear = nn.functional.pad(factors[..., : self.channels], (0, 0, 0, products.shape[1] - factors.shape[1]))
        mixed = torch.cat([linear[:, : products.shape[1]], products], dim=-1)
        scalars = torch.cat([mixed[:, 0], self.species.index_select(0, species)], dim=-1)
        gates = self.gate(scalars).unflatten(-1, (self.l_out + 2, -1))
        parts = [mixed[:, l * l : (l + 1) ** 2] * (1 + gates[:, l : l + 1]) for l in range(self.l_out + 1)]
        parts[0] = parts[0] + gates[:, -1:]
        curls = self.curl(factors[..., : 2 * self.channels])
        if self.n_unnatural[0]:
            # A curl has no l = 0 part: a pseudoscalar, which chiral surroundings have, takes three factors.
            third = factors[..., -self.channels :]
            parts.append((curls[:, : third.shape[1]] * third[:, : curls.shape[1]]).sum(1, keepdim=True))
        return parts + [curls[:, l * l : (l + 1) ** 2] for l in range(1, len(self.n_unnatural))]

    @property
    def last_weights(self) -> list[Tensor]:
        """A (n_features, n_coefficients) matrix for each kind of :meth:`last_features`."""
        pseudoscalar, *unnatural = self.unnatural
        return [*self.natural, *([pseudoscalar] if self.n_unnatural[0] else []), *unnatural]

    @property
    def last_names(self) -> list[str]:
        """Names of the parameters that :attr:`last_weights` are."""
        first = 0 if self.n_unnatural[0] else 1
        natural = [f"natural.{l}" for l in range(len(self.natural))]
        return natural + [f"unnatural.{l}" for l in range(first, len(self.unnatural))]

    def linear_features(self, graph: Graph, species: Tensor, vectors: Tensor) -> Tensor:
        """What the linear part is linear in; arguments as of :meth:`forward`."""
        assert self.linear is not None
        centre, neighbor = graph.pair_index
        return self.linear.features(vectors, centre, species.index_select(0, neighbor), len(species))


def _onsite_basis(layout: OperatorLayout, l_out: int) -> tuple[Tensor, list[int], list[int]]:
    """Orthogonal rows (n_components · n_padded²)² from irreps to blocks, and how many irreps there are of each L.

    Natural L = 0, 1, … come first, then unnatural ones; within an L the component m is slower than the shell pair. The
    axial part of spinor blocks is coupled as one more l = 1, whose parity is even.
    """
    shells = layout.shells
    starts = torch.tensor([0, *(2 * l + 1 for l in shells)]).cumsum(0).tolist()
    n = starts[-1]
    n_components = math.prod(layout.component_shape)
    scalar_components = 2 if layout.spin == "collinear" else 1
    rows: dict[tuple[bool, int], list[Tensor]] = {(odd, l): [] for odd in (False, True) for l in range(l_out + 1)}
    for a, l1 in enumerate(shells):
        for b, l2 in enumerate(shells):
            change, ls = shell_pair_to_irreps(l1, l2)
            for l, part in zip(ls, change.split([2 * l + 1 for l in ls], dim=1), strict=True):
                block = torch.zeros(2 * l + 1, n, n, dtype=torch.float64)
                block[:, starts[a] : starts[a + 1], starts[b] : starts[b + 1]] = part.mT.unflatten(
                    1, (2 * l1 + 1, 2 * l2 + 1)
                )
                for component in range(scalar_components):
                    full = block.new_zeros(2 * l + 1, n_components, n, n)
                    full[:, component] = block
                    rows[bool((l1 + l2 + l) % 2), l].append(full.flatten(1))
                if layout.spin != "spinor":
                    continue
                for total in range(abs(l - 1), l + 2):
                    full = block.new_zeros(2 * total + 1, n_components, n, n)
                    full[:, 1:] = torch.einsum("mak,mxy->kaxy", clebsch_gordan(l, 1, total), block)
                    rows[bool((l1 + l2 + total) % 2), total].append(full.flatten(1))
    stacked = [torch.stack(group, dim=1).flatten(0, 1) for group in rows.values() if group]
    counts = [[len(rows[odd, l]) for l in range(l_out + 1)] for odd in (False, True)]
    return torch.cat(stacked), counts[0], counts[1]
