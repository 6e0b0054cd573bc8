"""The posterior of the operator head's last layers, and the standard deviation of every entry of H.

A coefficient of column k in kind q (on-site: an L; pair: an M) is c = scale · φ·w_k with a label of noise s_k. Then the
columns of a kind share one precision, Λ_q = α + Σ φφᵀ, and cov(c_m, c_m') = scale² s_k² φ_mᵀ Λ_q⁻¹ φ_m': the components
m of a column share its weights, and different columns are independent. An entry of a block is h = ½ Σ (T_ij + T_jiᵀ) c,
T being the turn from the bond's frame to the laboratory's, and its variance follows with all covariances: it is exact
for this posterior, and so equivariant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adiabat.data.graph import Graph
from adiabat.equivariant.frames import bond_rotation
from adiabat.models.layers import pieces
from adiabat.models.model import Model, differentiable_geometry
from adiabat.models.operator_head import OperatorHead, orbital_frame, turn_blocks
from adiabat.models.operator_layout import OperatorBlocks
from adiabat.models.posterior import Posterior

_NUMBERS_AT_ONCE = 2**22
"""Entries of the turned unit blocks that are in memory together: about 0.1 GB with copies."""
_ROUNDING = 1e-6
"""Of float32 constants and their cancellation, relative."""


@dataclass(frozen=True, eq=False)
class KindPosterior:
    """The weights of one kind of coefficient.

    Attributes:
        posterior: of one column in units of its noise, (n_features,).
        noise: (n_columns,) s_k, in units of the coefficient; zero where nothing was learned.
    """

    posterior: Posterior
    noise: Tensor

    def draws(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, n_features, n_columns) draws of W − W̄ whose mean is zero."""
        n_columns = len(self.noise)
        found = self.posterior.sample(n * n_columns, generator).unflatten(0, (n, n_columns)).mT
        return (found - found.mean(0)) * self.noise.cpu()


@dataclass(frozen=True, eq=False)
class OperatorPosterior:
    """All kinds, in the order of the heads' ``last_features``."""

    onsite: tuple[KindPosterior, ...]
    pair: tuple[KindPosterior, ...]

    def spread(self, model: Model, graph: Graph) -> OperatorBlocks:
        """Standard deviation of every entry [eV], of padding zero."""
        head = model.operator_head
        assert head is not None
        device = graph.positions.device
        onsite_features, pair_features = operator_features(model, graph)
        onsite_whitened, pair_whitened = (
            [kind.posterior.to(device).whitened(part) for kind, part in zip(kinds, features, strict=True)]
            for kinds, features in ((self.onsite, onsite_features), (self.pair, pair_features))
        )
        species = model.species(graph.atomic_numbers)
        onsite_scale = head.onsite.scale.index_select(0, head.onsite.kind(graph, species)).double()
        vectors = model.pair_vectors(graph).to(model.dtype)
        pair_scale = head.pair.scale(graph, species, vectors).double()
        onsite = self._onsite_variance(head, onsite_whitened, onsite_scale)
        pair = self._pair_variance(head, pair_whitened, pair_scale, vectors.double(), graph.pair_reverse)
        return OperatorBlocks(onsite.clamp(min=0).sqrt().to(model.dtype), pair.sqrt().to(model.dtype))

    def moved(self, model: Model, n: int, generator: torch.Generator) -> list[dict[str, Tensor]]:
        """For each of n draws, the last weights by their names in the model."""
        assert model.operator_head is not None
        found: list[dict[str, Tensor]] = [{} for _ in range(n)]
        for part, kinds in (("onsite", self.onsite), ("pair", self.pair)):
            head = model.operator_head.get_submodule(part)
            for name, weight, kind in zip(head.last_names, head.last_weights, kinds, strict=True):  # pyright: ignore[reportArgumentType]
                changes = kind.draws(n, generator).to(weight.device, weight.dtype)
                for k in range(n):
                    found[k][f"operator_head.{part}.{name}"] = (weight + changes[k]).detach()
        return found

    def _onsite_variance(self, head: OperatorHead, whitened: Sequence[Tensor], scale: Tensor) -> Tensor:
        shape = (*head.layout.component_shape, head.layout.n_padded, head.layout.n_padded)
        units = head.onsite.to_block.double().unflatten(-1, shape)
        units = (units + head.transposed(units)) / 2
        units = torch.where(units.abs() > _ROUNDING, units, 0)
        result = scale.new_zeros(len(scale), *shape)
        for part in pieces(len(scale), _rows_at_once(units)):
            turned = units.unsqueeze(0).expand(len(scale[part]), *units.shape)
            own = [_gram(rows[part], rows[part]) for rows in whitened]
            result[part] = self._sum(self.onsite, turned, turned, scale[part], scale[part], own)
        return result

    def _pair_variance(
        self, head: OperatorHead, whitened: Sequence[Tensor], scale: Tensor, vectors: Tensor, partner: Tensor
    ) -> Tensor:
        shape = (*head.layout.component_shape, head.layout.n_padded, head.layout.n_padded)
        units = head.pair.to_block.double().unflatten(-1, shape)
        result = scale.new_zeros(len(scale), *shape)
        for part in pieces(len(scale), _rows_at_once(units)):
            other = partner[part]
            mine = _turned_units(head, units, vectors[part])
            theirs = head.transposed(_turned_units(head, units, vectors[other]))
            own = [_gram(rows[part], rows[part]) for rows in whitened]
            cross = [_gram(rows[part], rows[other]) for rows in whitened]
            of_other = [_gram(rows[other], rows[other]) for rows in whitened]
            a, b = scale[part], scale[other]
            apart = self._sum(self.pair, mine, mine, a, a, own) + self._sum(self.pair, theirs, theirs, b, b, of_other)
            together = apart + 2 * self._sum(self.pair, mine, theirs, a, b, cross)
            # What symmetry makes zero cancels to rounding, whose root would be no longer small.
            result[part] = torch.where(together > _ROUNDING * apart, together, 0) / 4
        return result

    def _sum(
        self, kinds: Sequence[KindPosterior], left: Tensor, right: Tensor,
        left_scale: Tensor, right_scale: Tensor, gram: Sequence[Tensor],
    ) -> Tensor:  # fmt: skip
        """Σ_k s_k² Σ_mm' a_km T_km G_mm' b_km' T'_km' of each entry.

        Args:
            kinds: of the coefficients.
            left: (n, n_coefficients, …) T, blocks that a unit of each coefficient gives.
            right: likewise T'.
            left_scale: (n, n_coefficients) a.
            right_scale: likewise b.
            gram: (n, n_components, n_components) φ_mᵀ Λ⁻¹ φ_m' of each kind.
        """
        total = left.new_zeros(left.shape[0], *left.shape[2:])
        start = 0
        for kind, matrix in zip(kinds, gram, strict=True):
            n_components, n_columns = matrix.shape[-1], len(kind.noise)
            columns = slice(start, start + n_components * n_columns)
            start = columns.stop
            if not n_columns:
                continue
            noise = kind.noise.to(left.device).square()
            a, b = (s[:, columns].unflatten(1, (n_components, n_columns)) for s in (left_scale, right_scale))
            u, v = (t[:, columns].unflatten(1, (n_components, n_columns)) for t in (left, right))
            for m in range(n_components):
                for other in range(n_components):
                    weight = a[:, m] * b[:, other] * noise * matrix[:, m, other, None]
                    total += torch.einsum("pk,pk...,pk...->p...", weight, u[:, m], v[:, other])
        return total


def operator_features(model: Model, graph: Graph) -> tuple[list[Tensor], list[Tensor]]:
    """What the coefficients are linear in, of on-site blocks and of pairs; see the heads' ``last_features``."""
    head = model.operator_head
    assert head is not None
    with torch.no_grad():
        species = model.species(graph.atomic_numbers)
        positions, cell, _ = differentiable_geometry(graph, model.dtype, ())
        features = torch.cat(model.node_features(graph, species, positions, cell, None), dim=-1)
        vectors = model.pair_vectors(graph).to(model.dtype)
        return head.onsite.last_features(features, species), head.pair.last_features(features, graph, species, vectors)


def _turned_units(head: OperatorHead, units: Tensor, vectors: Tensor) -> Tensor:
    """(n_pairs, n_coefficients, …) blocks in the laboratory frame that a unit of each coefficient gives."""
    n_pairs, n_units = len(vectors), len(units)
    turn = orbital_frame(vectors, head.layout).mT.repeat_interleave(n_units, 0)
    rotation = bond_rotation(vectors).mT.repeat_interleave(n_units, 0)
    blocks = units.repeat(n_pairs, *(1 for _ in units.shape[1:]))
    return turn_blocks(blocks, turn, rotation, head.layout).unflatten(0, (n_pairs, n_units))


def _gram(left: Tensor, right: Tensor) -> Tensor:
    """(n, m, m') inner products of whitened rows (n, m, n_features)."""
    return left @ right.mT


def _rows_at_once(units: Tensor) -> int:
    return max(1, _NUMBERS_AT_ONCE // units.numel())
