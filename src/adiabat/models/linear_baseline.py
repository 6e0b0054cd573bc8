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

from adiabat.equivariant.harmonics import spherical_harmonics
from adiabat.models.layers import keep_float64
from adiabat.models.two_center import spline_weights

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
        n_kinds: number of kinds of centres that have weights of their own; the elements by default.
    """

    def __init__(self, n_species: int, n_irreps: Sequence[int], cutoff: float, *, n_kinds: int | None = None) -> None:
        super().__init__()
        self.n_species, self.cutoff, self.n_irreps = n_species, cutoff, tuple(n_irreps)
        self.n_kinds = n_kinds or n_species
        self.n_intervals = max(4, round(cutoff / _KNOT_SPACING))
        n_features = n_species * (self.n_intervals + 3)
        for l, n in enumerate(n_irreps):
            self.register_buffer(f"weight_{l}", torch.zeros(self.n_kinds, n_features, n, dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "LinearOnsite":
        """Stay in float64: weights of nearly dependent features cancel."""
        return keep_float64(self, lambda: super(LinearOnsite, self)._apply(fn, recurse))

    def forward(self, features: Tensor, kind: Tensor) -> Tensor:
        """(n_atoms, n_coefficients) of the natural irreps, L by L, m slower than the irreps; float64.

        Args:
            features: from :meth:`features`.
            kind: (n_atoms,) kind of each atom.
        """
        parts: list[Tensor] = []
        for l in range(len(self.n_irreps)):
            weight = getattr(self, f"weight_{l}").index_select(0, kind)
            parts.append((self._of_l(features, l) @ weight).flatten(1))
        return torch.cat(parts, dim=1)

    def features(self, vectors: Tensor, centre: Tensor, neighbor_species: Tensor, n_atoms: int) -> Tensor:
        """Σ_j B_n(r_ij) Y_lm(r̂_ij) for each element of the neighbors.

        Args:
            vectors: (n, 3) from centre to neighbor in Å; those beyond the cutoff add nothing.
            centre: (n,) atom.
            neighbor_species: (n,) index of the neighbor's element.
            n_atoms: number of atoms.

        Returns: (n_atoms, n_species · n_splines, (l_max + 1)²), float64.
        """
        x = vectors.detach().norm(dim=-1) / self.cutoff
        near = x < 1
        vectors, centre, neighbor_species = vectors[near].double(), centre[near], neighbor_species[near]
        x = vectors.norm(dim=-1) / self.cutoff
        harmonics = spherical_harmonics(vectors, len(self.n_irreps) - 1)
        interval, weights = spline_weights(x, self.n_intervals)
        weights = weights * ((1 - x**2) ** 3).unsqueeze(-1)
        n_splines = self.n_intervals + 3
        rows = ((centre * self.n_species + neighbor_species) * n_splines + interval).unsqueeze(-1)
        rows = rows + torch.arange(4, device=rows.device)
        summed = harmonics.new_zeros(n_atoms * self.n_species * n_splines, harmonics.shape[1])
        for k in range(4):
            summed = summed.index_add(0, rows[:, k], weights[:, k : k + 1] * harmonics)
        return summed.view(n_atoms, self.n_species * n_splines, -1)

    def fit(self, features: Tensor, coefficients: Tensor, kind: Tensor) -> None:
        """Least squares for every kind of atom and L.

        Args:
            features: (n_atoms, n_features, (l_max + 1)²) of all atoms.
            coefficients: (n_atoms, n_coefficients) of the natural irreps, less the mean of those with L = 0.
            kind: (n_atoms,) kind of each atom.
        """
        roots = _penalty_root(self.n_species, self.n_intervals + 3).to(features)
        for index in range(self.n_kinds):
            own = kind == index
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


def _penalty_root(n_species: int, n_splines: int) -> Tensor:
    """T with (T Tᵀ)⁻¹ = DᵀD + small · 1, D the second differences of each element's splines."""
    second = torch.diff(torch.eye(n_splines, dtype=torch.float64), n=2, dim=0)
    penalty = second.mT @ second + _SIZE_PENALTY * torch.eye(n_splines, dtype=torch.float64)
    root = torch.linalg.inv(torch.linalg.cholesky(penalty)).mT
    return torch.block_diag(*[root] * n_species)
