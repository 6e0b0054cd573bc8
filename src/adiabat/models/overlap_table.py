"""The overlap of a basis whose functions are not known, as Slater–Koster functions of the distance.

S of two atoms depends on nothing but their bond: in its frame only the coefficients with M = 0 that are even under
reflection exist, each a function of the distance. Tables of them, read from labels, are therefore as good as the
functions themselves, at distances that the labels have; others are refused, where the overlap is of any size.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from adiabat.core.errors import ModelError
from adiabat.data.graph import Graph
from adiabat.equivariant.bond_blocks import bond_block_basis
from adiabat.models.layers import keep_float64, pieces
from adiabat.models.operator_head import orbital_frame
from adiabat.models.operator_layout import OperatorLayout
from adiabat.models.two_center import TwoCenterFunctions, exponential_fit

_KNOT_SPACING: Final = 0.1
"""Å; an overlap is known to the last digit, so that it can be tabulated finely."""
_PAIRS_AT_ONCE: Final = 65536
_SLACK: Final = 1
"""Knots beside one with data to which the tables are continued."""
_MATTERS: Final = 1e-3
"""Overlap at which a distance without data is refused; smaller ones are bridged smoothly."""


class OverlapTable(nn.Module):
    """S of every pair of elements against distance, and within every element.

    Args:
        n_species: number of elements.
        layout: the padded orbital axis.
        radius: where S ends, in Å.
    """

    onsite: Tensor
    covered: Tensor

    def __init__(self, n_species: int, layout: OperatorLayout, radius: float) -> None:
        super().__init__()
        self.layout, self.n_species = OperatorLayout(layout.basis), n_species
        basis = bond_block_basis(layout.shells)
        self.n_even = basis.n_even
        self._even = basis.matrix[: basis.n_even]
        self.functions = TwoCenterFunctions(
            n_species * n_species, basis.n_even, radius, int(np.ceil(radius / _KNOT_SPACING))
        )
        n_padded = layout.n_padded
        self.register_buffer("onsite", torch.zeros(n_species, n_padded, n_padded, dtype=torch.float64))
        covered = torch.zeros(n_species * n_species, self.functions.n_intervals, dtype=torch.float64)
        self.register_buffer("covered", covered)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "OverlapTable":
        """Stay in float64: errors of S reach the bands as those of H do."""
        return keep_float64(self, lambda: super(OverlapTable, self)._apply(fn, recurse))

    def blocks(self, graph: Graph, species: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """On-site and pair blocks of S, padded, float64.

        Args:
            graph: for its pairs.
            species: (n_atoms,) index of each atom's element.
            vectors: (n_pairs, 3) in Å, float64.

        Raises:
            ModelError: two atoms are at a distance that no two of their elements have in the labels, and their overlap
                is not small there.
        """
        kinds = self._kinds(graph, species)
        self._refuse_gaps(graph, kinds, vectors.norm(dim=-1))
        parts = [self._turned_back(vectors[part], kinds[part]) for part in pieces(len(vectors), _PAIRS_AT_ONCE)]
        n = self.layout.n_padded
        pair = torch.cat(parts) if parts else vectors.new_zeros(0, n, n)
        partner = pair.index_select(0, graph.pair_reverse).mT
        return self.onsite.index_select(0, species), (pair + partner) / 2

    def _refuse_gaps(self, graph: Graph, kinds: Tensor, distances: Tensor) -> None:
        functions = self.functions
        interval = (distances / functions.radius * functions.n_intervals).long().clamp(max=functions.n_intervals - 1)
        size = (functions.amplitude[kinds] * torch.exp(-functions.decay[kinds] * distances.unsqueeze(1))).amax(1)
        unknown = (self.covered[kinds, interval] == 0) & (size > _MATTERS)
        if bool(unknown.any()):
            worst = int(torch.where(unknown, size, 0).argmax())
            i, j = graph.pair_index[:, worst].tolist()
            raise ModelError(
                f"atoms {i} and {j} at {float(distances[worst]):.3f} Å, whose overlap is to be looked up",
                expected="distances that the labels have for these elements, within about 0.1 Å",
                suggestion="label larger or strained cells that have such distances, and train again",
            )

    def _turned_back(self, vectors: Tensor, kinds: Tensor) -> Tensor:
        values = self.functions(vectors.norm(dim=-1, keepdim=True), kinds)
        in_frame = (values @ self._even.to(values)).unflatten(-1, (self.layout.n_padded, self.layout.n_padded))
        turn = orbital_frame(vectors, self.layout)
        return turn.mT @ in_frame @ turn

    def _kinds(self, graph: Graph, species: Tensor) -> Tensor:
        centre, neighbor = graph.pair_index
        return species.index_select(0, centre) * self.n_species + species.index_select(0, neighbor)

    def fit(self, labelled: Sequence[tuple[Graph, Tensor, Tensor, Tensor, Tensor]]) -> float:
        """Read the tables from labels.

        Args:
            labelled: for each structure its graph, species, pair vectors (float64), and on-site and pair blocks of S.

        Returns: the largest error of an element of S on these structures.
        """
        coefficients, distances, kinds, atoms, onsite = [], [], [], [], []
        for graph, species, vectors, home, pair in labelled:
            turn = orbital_frame(vectors, self.layout)
            coefficients.append(((turn @ pair @ turn.mT).flatten(1) @ self._even.mT).numpy())
            distances.append(vectors.norm(dim=-1).numpy())
            kinds.append(self._kinds(graph, species).numpy())
            atoms.append(species.numpy())
            onsite.append(home.numpy())
        all_atoms, all_onsite = np.concatenate(atoms), np.concatenate(onsite)
        for index in range(self.n_species):
            own = all_onsite[all_atoms == index]
            if len(own):
                self.onsite[index].copy_(torch.from_numpy(own.mean(axis=0)))
        self._fit_pairs(np.concatenate(coefficients), np.concatenate(distances), np.concatenate(kinds))
        worst = 0.0
        for graph, species, vectors, home, pair in labelled:
            ours = self.blocks(graph, species, vectors)
            worst = max(
                worst, *(float((a - b).abs().max()) if len(a) else 0.0 for a, b in zip(ours, (home, pair), strict=True))
            )
        return worst

    def _fit_pairs(
        self, values: npt.NDArray[np.float64], distances: npt.NDArray[np.float64], kinds: npt.NDArray[np.int64]
    ) -> None:
        for kind in range(len(self.covered)):
            own = kinds == kind
            if own.any():
                self._mark(kind, distances[own])
                scale = exponential_fit(distances[own], np.square(values[own]), negligible=1e-9)
                self.functions.fit(kind, distances[own], values[own], *scale)

    def _mark(self, kind: int, distances: npt.NDArray[np.float64]) -> None:
        n = self.functions.n_intervals
        interval = np.minimum((distances / self.functions.radius * n).astype(np.int64), n - 1)
        for shift in range(-_SLACK, _SLACK + 1):
            self.covered[kind, np.clip(interval + shift, 0, n - 1)] = 1
