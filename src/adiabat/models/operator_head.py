"""The operator head: every block of the Hamiltonian, or of its correction ΔH, from node features and bond geometry.

Off-site blocks are made in the frame of their bond, where two atoms' features, weighted by radial functions, are
multiplied around the bond's axis and mapped to Slater–Koster-like coefficients; on-site blocks are made of products on
the sphere. Both end as standardised coefficients times the scale that such a coefficient has in the training data.
The operator is Hermitian because each block is averaged with its partner's transpose.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from adiabat.data.graph import Graph
from adiabat.equivariant.frames import bond_rotation
from adiabat.equivariant.wigner import wigner_d_block
from adiabat.models.config import ModelConfig
from adiabat.models.layers import pieces
from adiabat.models.onsite_head import OnsiteHead
from adiabat.models.operator_layout import OperatorBlocks, OperatorLayout
from adiabat.models.pair_head import PairHead
from adiabat.models.spinor_parts import TRANSPOSE_SIGNS

_PAIRS_AT_ONCE = 16384
"""Pairs whose features are in memory together when nothing is differentiated: about 0.5 GB."""


class OperatorHead(nn.Module):
    """All blocks of H, or of ΔH where an H0 is computed.

    Args:
        config: the model's.
        n_species: number of elements the model knows.
        layout: the padded orbital axis and the spin.
        two_center: have a baseline of two-centre functions and of atoms' linear fields, in the place of an H0.
    """

    transpose_signs: Tensor

    def __init__(self, config: ModelConfig, n_species: int, layout: OperatorLayout, *, two_center: bool) -> None:
        super().__init__()
        assert config.operator is not None
        self.layout = layout
        reach = config.operator.pair_radius or 2 * config.cutoff
        width = config.layers * config.channels
        linear_cutoff = min(config.cutoff, reach) if two_center else None
        n_levels = len(config.fidelities)
        self.onsite = OnsiteHead(width, config.l_max, n_species, layout, config.operator, linear_cutoff, n_levels)
        self.pair = PairHead(
            width, config.l_max, n_species, layout, config.operator, reach, two_center=two_center, n_levels=n_levels
        )
        signs = torch.tensor(TRANSPOSE_SIGNS if layout.spin == "spinor" else (1.0,), dtype=torch.get_default_dtype())
        self.register_buffer("transpose_signs", signs.view(-1, 1, 1), persistent=False)

    def forward(self, history: list[Tensor], graph: Graph, species: Tensor, vectors: Tensor) -> OperatorBlocks:
        """Blocks [eV] in the laboratory frame, Hermitian by construction."""
        shape = (*self.layout.component_shape, self.layout.n_padded, self.layout.n_padded)
        features = torch.cat(history, dim=-1)
        onsite = self.onsite(features, graph, species, vectors).unflatten(-1, shape)
        pair = self._pairs(features, graph, species, vectors, shape)
        partner = pair.index_select(0, graph.pair_reverse)
        return OperatorBlocks(onsite=(onsite + self.transposed(onsite)) / 2, pair=(pair + self.transposed(partner)) / 2)

    def _pairs(
        self, features: Tensor, graph: Graph, species: Tensor, vectors: Tensor, shape: tuple[int, ...]
    ) -> Tensor:
        """Blocks of all pairs, not yet averaged with their partners; piece by piece where no gradient is kept."""
        if torch.is_grad_enabled() or len(vectors) <= _PAIRS_AT_ONCE:
            return self._from_frame(self.pair(features, graph, species, vectors).unflatten(-1, shape), vectors)
        blocks = features.new_empty(len(vectors), *shape)
        for part in pieces(len(vectors), _PAIRS_AT_ONCE):
            some = replace(graph, pair_index=graph.pair_index[:, part])
            made = self.pair(features, some, species, vectors[part]).unflatten(-1, shape)
            blocks[part] = self._from_frame(made, vectors[part])
        return blocks

    def _from_frame(self, blocks: Tensor, vectors: Tensor) -> Tensor:
        return turn_blocks(blocks, orbital_frame(vectors, self.layout).mT, bond_rotation(vectors).mT, self.layout)

    def transposed(self, blocks: Tensor) -> Tensor:
        """What the partner of a block has to be, so that the operator is Hermitian."""
        return blocks.mT if self.layout.spin != "spinor" else blocks.mT * self.transpose_signs

    def pair_coefficients(self, blocks: Tensor, vectors: Tensor) -> Tensor:
        """(n_pairs, n_coefficients) of blocks in the laboratory frame; see :class:`BondBlockBasis` for their order."""
        turn = orbital_frame(vectors, self.layout)
        in_frame = turn_blocks(blocks, turn, bond_rotation(vectors), self.layout)
        return in_frame.flatten(1) @ self.pair.to_block.to(blocks.dtype).mT


def turn_blocks(blocks: Tensor, turn: Tensor, rotation: Tensor, layout: OperatorLayout) -> Tensor:
    """D B Dᵀ for each block, and the rotation of the axial vector that three of a spinor's components are.

    Args:
        blocks: (n, …, n_padded, n_padded), … being the layout's spin components.
        turn: (n, n_padded, n_padded) D.
        rotation: (n, 3, 3) of the same turn, proper, on (x, y, z).
        layout: of the blocks.
    """
    if layout.spin == "none":
        return turn @ blocks @ turn.mT
    turned = turn.unsqueeze(1) @ blocks @ turn.mT.unsqueeze(1)
    if layout.spin == "collinear":
        return turned
    order = [1, 2, 0]  # y, z, x
    axial = torch.einsum("nab,nbij->naij", rotation[:, order][:, :, order], turned[:, 1:])
    return torch.cat([turned[:, :1], axial], dim=1)


def orbital_frame(vectors: Tensor, layout: OperatorLayout) -> Tensor:
    """(n_pairs, n_padded, n_padded) matrices that turn padded orbitals into each bond's frame."""
    l_max = layout.basis.l_max
    turn = wigner_d_block(l_max, bond_rotation(vectors))
    rows = torch.cat([torch.arange(l * l, (l + 1) ** 2) for l in layout.shells]).to(vectors.device)
    shell = torch.cat([torch.full((2 * l + 1,), k) for k, l in enumerate(layout.shells)]).to(vectors.device)
    same_shell = (shell[:, None] == shell[None, :]).to(vectors.dtype)
    return turn[:, rows[:, None], rows[None, :]] * same_shell
