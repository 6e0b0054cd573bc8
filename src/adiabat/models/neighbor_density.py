"""The neighbor density of an atom: what the linear baselines of operators are linear in.

    A_i^(z, n, lm) = Σ_{j of element z} B_n(r_ij) (1 − (r_ij/r_c)²)³ Y_lm(r̂_ij)

with uniform cubic B-splines B_n. Two continuous derivatives, also at the cutoff.

Source: [drautz2019] eq. 15.
"""

import torch
from torch import Tensor

from adiabat.equivariant.harmonics import spherical_harmonics
from adiabat.models.two_center import spline_weights


class NeighborDensity:
    """Radial splines and harmonics of all neighbors, summed by element; float64.

    Args:
        n_species: number of elements.
        cutoff: r_c in Å.
        l_max: largest l.
        knot_spacing: Å between the knots of the splines, about.
    """

    def __init__(self, n_species: int, cutoff: float, l_max: int, knot_spacing: float) -> None:
        self.n_species, self.cutoff, self.l_max = n_species, cutoff, l_max
        self.n_intervals = max(4, round(cutoff / knot_spacing))
        self.n_splines = self.n_intervals + 3
        self.n_features = n_species * self.n_splines

    def __call__(self, vectors: Tensor, centre: Tensor, neighbor_species: Tensor, n_atoms: int) -> Tensor:
        """Sum over neighbors.

        Args:
            vectors: (n, 3) from centre to neighbor in Å; those beyond the cutoff add nothing.
            centre: (n,) atom.
            neighbor_species: (n,) index of the neighbor's element.
            n_atoms: number of atoms.

        Returns: (n_atoms, n_features, (l_max + 1)²).
        """
        near = vectors.detach().norm(dim=-1) < self.cutoff
        vectors, centre, neighbor_species = vectors[near].double(), centre[near], neighbor_species[near]
        x = vectors.norm(dim=-1) / self.cutoff
        harmonics = spherical_harmonics(vectors, self.l_max)
        interval, weights = spline_weights(x, self.n_intervals)
        weights = weights * ((1 - x**2) ** 3).unsqueeze(-1)
        first = (centre * self.n_species + neighbor_species) * self.n_splines + interval
        summed = harmonics.new_zeros(n_atoms * self.n_features, harmonics.shape[1])
        for k in range(4):
            summed = summed.index_add(0, first + k, weights[:, k : k + 1] * harmonics)
        return summed.view(n_atoms, self.n_features, -1)


def roughness_root(n_splines: int, size_penalty: float) -> Tensor:
    """T with (T Tᵀ)⁻¹ = DᵀD + ``size_penalty`` · 1, D the second differences along a line of splines; float64.

    Source: [eilers1996].
    """
    second = torch.diff(torch.eye(n_splines, dtype=torch.float64), n=2, dim=0)
    penalty = second.mT @ second + size_penalty * torch.eye(n_splines, dtype=torch.float64)
    return torch.linalg.inv(torch.linalg.cholesky(penalty)).mT
