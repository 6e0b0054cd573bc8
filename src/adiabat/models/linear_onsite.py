"""Linear part of the on-site blocks: what each neighbor adds to them by itself.

The block of atom i is, to first order, a sum over neighbors j of matrices that depend on the bond alone, as the crystal
field of Slater and Koster does. A coefficient that turns as Y_lm is then

    c_i^lm = Σ_j f_l(r_ij) Y_lm(r̂_ij),     f_l(r) = Σ_n w_ln B_n(r) (1 − (r/r_c)²)³

one f for each pair of elements and each irrep of a pair of shells, linear in w. Few weights, found by least squares
with a penalty on the roughness of f, whose strength leave-one-out errors choose: a small data set determines them.
The network learns the rest.

Source: [slater1954]; [allen1974] for the leave-one-out errors.
"""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from adiabat.models.layers import keep_float64
from adiabat.models.neighbor_density import NeighborDensity, roughness_root

_KNOT_SPACING: Final = 0.4
"""Å between the knots of f."""
_STRENGTHS: Final = [10.0**power for power in range(-12, 3)]
"""Of the penalty, against the mean square of the data in the directions that it measures."""
_SIZE_PENALTY: Final = 1e-2
"""Penalty on the size of w beside that on its second differences."""


class LinearOnsite(nn.Module):
    """Linear part of the natural irreps of every on-site block; zero until it is fitted.

    Args:
        n_species: number of elements.
        n_irreps: number of irreps of each natural L.
        cutoff: radius r_c in Å.
    """

    def __init__(self, n_species: int, n_irreps: Sequence[int], cutoff: float) -> None:
        super().__init__()
        self.n_species, self.n_irreps = n_species, tuple(n_irreps)
        self.density = NeighborDensity(n_species, cutoff, len(n_irreps) - 1, _KNOT_SPACING)
        for l, n in enumerate(n_irreps):
            shape = (n_species, self.density.n_features, n)
            self.register_buffer(f"weight_{l}", torch.zeros(shape, dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "LinearOnsite":
        """Stay in float64: weights of nearly dependent features cancel."""
        return keep_float64(self, lambda: super(LinearOnsite, self)._apply(fn, recurse))

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        """(n_atoms, n_coefficients) of the natural irreps, L by L, m slower than the irreps; float64.

        Args:
            features: from ``density``.
            species: (n_atoms,) index of each atom's element.
        """
        parts: list[Tensor] = []
        for l in range(len(self.n_irreps)):
            weight = getattr(self, f"weight_{l}").index_select(0, species)
            parts.append((self._of_l(features, l) @ weight).flatten(1))
        return torch.cat(parts, dim=1)

    def fit(self, features: Tensor, coefficients: Tensor, species: Tensor) -> None:
        """Least squares for every element and L.

        Args:
            features: (n_atoms, n_features, (l_max + 1)²) of all atoms.
            coefficients: (n_atoms, n_coefficients) of the natural irreps, less the mean of those with L = 0.
            species: (n_atoms,) index of each atom's element.
        """
        root = roughness_root(self.density.n_splines, _SIZE_PENALTY).to(features)
        roots = torch.block_diag(*[root] * self.n_species)
        for index in range(self.n_species):
            own = species == index
            if not bool(own.any()):
                continue
            start = 0
            for l, n in enumerate(self.n_irreps):
                stop = start + (2 * l + 1) * n
                targets = coefficients[own, start:stop].unflatten(1, (2 * l + 1, n)).flatten(0, 1)
                design = self._of_l(features[own], l).flatten(0, 1)
                getattr(self, f"weight_{l}")[index].copy_(ridge(design, targets, roots))
                start = stop

    @staticmethod
    def _of_l(features: Tensor, l: int) -> Tensor:
        return features[..., l * l : (l + 1) ** 2].mT


def ridge(design: Tensor, targets: Tensor, penalty_root: Tensor) -> Tensor:
    """Least squares with a quadratic penalty, its strength chosen by the leave-one-out errors.

    Args:
        design: (n_rows, n_features).
        targets: (n_rows, n_targets).
        penalty_root: (n_features, n_features) T such that the penalty of w is |T⁻¹ w|².

    Returns: (n_features, n_targets).

    Source: [allen1974].
    """
    turned = design @ penalty_root
    size = turned.square().sum(0).mean().sqrt().clamp(min=1e-30)
    left, singular, right = torch.linalg.svd(turned / size, full_matrices=False)
    along = left.mT @ targets
    best = None
    for strength in _STRENGTHS:
        shrink = singular.square() / (singular.square() + strength)
        leverage = (left.square() @ shrink).clamp(max=1 - 1e-3)
        residual = (targets - left @ (shrink.unsqueeze(1) * along)) / (1 - leverage).unsqueeze(1)
        error = float(residual.square().mean()) if residual.numel() else 0.0
        if best is None or error < best[0]:
            best = error, strength
    assert best is not None
    inverse = singular / (singular.square() + best[1])
    return penalty_root @ (right.mT @ (inverse.unsqueeze(1) * along)) / size
