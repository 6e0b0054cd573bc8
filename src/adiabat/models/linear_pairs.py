"""Linear part of the blocks between atoms: what each third atom adds by itself.

Beyond the two-centre functions, a block feels the neighbors of both its ends. To first order in each of them its
coefficients in the bond's frame are linear in the two neighbor densities, seen in that frame, with functions of the
bond's length as weights:

    c_ij^(M) = a e^(−b r) Σ_k B_k(r_ij) Σ_{end, z, n, l ≥ M} w_k A_end^(z, n, l M)

For each pair of elements and each M that is one least-squares problem, whose solution takes seconds. Roughness in r is
penalised, and the penalty's strength chosen by leave-one-out errors, each range of distances counting alike: there are
few short bonds, and they matter most.

Source: [allen1974]; the coefficients are those of [slater1954] and their kin with M > 0.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from adiabat.equivariant.frames import bond_frame
from adiabat.models.layers import keep_float64
from adiabat.models.neighbor_density import NeighborDensity, roughness_root
from adiabat.models.two_center import fade, spline_weights

L_MAX: Final = 3
"""Of the neighbor densities; coefficients with larger M are left to the network."""
_KNOT_SPACING: Final = 1.25
"""Å between the knots of the neighbor densities."""
_BOND_SPACING: Final = 1.5
"""Å between the knots of the weights along the bond's length."""
_SIZE_PENALTY: Final = 1e-2
_STRENGTHS: Final = [10.0**power for power in range(-10, 1)]
"""Of the penalty, against the mean eigenvalue of the normal matrix."""
_BIN: Final = 0.75
"""Å; width of the ranges of distances that count alike."""
_LARGEST_WEIGHT: Final = 30.0
"""Of a pair in a sparse range against the mean."""
_MAX_PAIRS: Final = 12000
"""Pairs of two elements from which the weights are found; more are thinned out evenly."""


class LinearPairs(nn.Module):
    """Linear part of every coefficient with M ≤ 3; zero until it is fitted.

    Args:
        n_species: number of elements.
        n_even: number of even coefficients with M = 0.
        n_odd: number of odd ones, which have no linear part.
        n_pairs: number of (cos, sin) pairs for M = 1, 2, ….
        cutoff: radius of the neighbor densities in Å.
        radius: where all blocks end, in Å.
    """

    amplitude: Tensor
    decay: Tensor

    def __init__(
        self, n_species: int, n_even: int, n_odd: int, n_pairs: tuple[int, ...], cutoff: float, radius: float
    ) -> None:
        super().__init__()
        self.n_even, self.n_odd, self.n_pairs, self.radius = n_even, n_odd, n_pairs, radius
        self.density = NeighborDensity(n_species, cutoff, L_MAX, _KNOT_SPACING)
        self.n_intervals = max(4, round(radius / _BOND_SPACING))
        n_coefficients = n_even + n_odd + 2 * sum(n_pairs)
        n_kinds = n_species * n_species
        self.register_buffer("amplitude", torch.zeros(n_kinds, n_coefficients, dtype=torch.float64))
        self.register_buffer("decay", torch.zeros(n_kinds, n_coefficients, dtype=torch.float64))
        for m, n_out in self._groups():
            shape = (n_kinds, self.n_intervals + 3, self._width(m), n_out)
            self.register_buffer(f"weight_{m}", torch.zeros(shape, dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "LinearPairs":
        """Stay in float64: weights of nearly dependent features cancel."""
        return keep_float64(self, lambda: super(LinearPairs, self)._apply(fn, recurse))

    def _groups(self) -> list[tuple[int, int]]:
        """M, and the number of coefficients that it has on each side."""
        counts = [self.n_even, *self.n_pairs][: L_MAX + 1]
        return [(m, n) for m, n in enumerate(counts) if n]

    def _width(self, m: int) -> int:
        return 2 * self.density.n_features * (L_MAX + 1 - m)

    def forward(self, density: Tensor, pair_index: Tensor, kinds: Tensor, vectors: Tensor) -> Tensor:
        """(n_pairs, n_coefficients), float64.

        Args:
            density: (n_atoms, n_features, 16) from ``density``.
            pair_index: (2, n_pairs).
            kinds: (n_pairs,) ordered pair of elements.
            vectors: (n_pairs, 3) in Å.
        """
        vectors = vectors.double()
        distances = vectors.norm(dim=-1, keepdim=True)
        seen = self.seen(density, pair_index, vectors)
        interval, along = spline_weights(distances.squeeze(-1) / self.radius, self.n_intervals)
        values = vectors.new_zeros(len(vectors), self.amplitude.shape[1])
        for kind in kinds.unique().tolist():
            own = (kinds == kind).nonzero().squeeze(-1)
            for m, n_out in self._groups():
                weight = getattr(self, f"weight_{m}")[kind]
                for side, place in enumerate(self._places(m)):
                    rows = self._component(seen.index_select(0, own), m, side)
                    every = (rows @ weight.permute(1, 0, 2).flatten(1)).unflatten(1, (-1, n_out))
                    chosen = every.gather(1, _four(interval[own]).unsqueeze(-1).expand(-1, -1, n_out))
                    summed = (chosen * along[own].unsqueeze(-1)).sum(1)
                    columns = torch.arange(place.start, place.stop, device=own.device)
                    values = values.index_put((own.unsqueeze(1), columns), summed)
        scale = self.amplitude.index_select(0, kinds) * torch.exp(-self.decay.index_select(0, kinds) * distances)
        return values * scale * fade(distances / self.radius)

    def fit(
        self, seen: Tensor, distances: Tensor, kinds: Tensor, coefficients: Tensor, amplitude: Tensor, decay: Tensor
    ) -> None:
        """Least squares for every pair of elements and every M.

        Args:
            seen: from :meth:`seen`, of all pairs.
            distances: (n_pairs, 1) in Å.
            kinds: (n_pairs,).
            coefficients: (n_pairs, n_coefficients), less the two-centre functions.
            amplitude: (n_kinds, n_coefficients) of a · exp(−b r), the size of the coefficients; zero for none.
            decay: as ``amplitude``, in 1/Å.
        """
        self.amplitude.copy_(amplitude)
        self.decay.copy_(decay)
        root = roughness_root(self.n_intervals + 3, _SIZE_PENALTY)
        for kind in range(len(amplitude)):
            own = (kinds == kind).nonzero().squeeze(-1)
            if not len(own):
                continue
            own = own[:: max(1, -(-len(own) // _MAX_PAIRS))]
            r = distances[own]
            scale = amplitude[kind] * torch.exp(-decay[kind] * r)
            targets = torch.where(scale > 0, coefficients[own] / scale, 0)
            splines = _dense_splines(r.squeeze(-1) / self.radius, self.n_intervals) @ root
            for m, _ in self._groups():
                sides = self._places(m)
                design = torch.cat(
                    [
                        (self._component(seen[own], m, side).unsqueeze(1) * splines.unsqueeze(2)).flatten(1)
                        for side in range(len(sides))
                    ]
                )
                found = weighted_ridge(
                    design, torch.cat([targets[:, place] for place in sides]), r.squeeze(-1).repeat(len(sides))
                )
                weight = torch.einsum("kq,qfo->kfo", root, found.unflatten(0, (len(root), -1)))
                getattr(self, f"weight_{m}")[kind].copy_(weight)

    @staticmethod
    def seen(density: Tensor, pair_index: Tensor, vectors: Tensor) -> Tensor:
        """Neighbor densities of both ends in the frame of each bond: (n_pairs, 16 m-major, 2 n_features)."""
        centre, neighbor = pair_index
        ends = torch.cat([density.index_select(0, centre), density.index_select(0, neighbor)], dim=1)
        return bond_frame(vectors.double(), L_MAX) @ ends.mT

    def _component(self, seen: Tensor, m: int, side: int) -> Tensor:
        """All l of one component: m = 0, or the cosine (side 0) or sine of m."""
        start = sum((2 if k else 1) * (L_MAX + 1 - k) for k in range(m))
        n_l = L_MAX + 1 - m
        return seen[:, start + side * n_l : start + (side + 1) * n_l].flatten(1)

    def _places(self, m: int) -> list[slice]:
        """Where the coefficients of M stand: once for M = 0, else cosines and sines."""
        if m == 0:
            return [slice(0, self.n_even)]
        start = self.n_even + self.n_odd + 2 * sum(self.n_pairs[: m - 1])
        n = self.n_pairs[m - 1]
        return [slice(start, start + n), slice(start + n, start + 2 * n)]


def weighted_ridge(design: Tensor, targets: Tensor, distances: Tensor) -> Tensor:
    """Least squares with a penalty on the size of the solution, each range of distances counting alike.

    Args:
        design: (n_rows, n_features).
        targets: (n_rows, n_targets), of size one.
        distances: (n_rows,) in Å.

    Returns: (n_features, n_targets).

    Source: [allen1974] for the leave-one-out errors that choose the penalty.
    """
    bins = (distances / _BIN).long()
    members = torch.bincount(bins).to(design)
    share = len(distances) / (members[bins] * (members > 0).sum())
    weight = share.clamp(max=_LARGEST_WEIGHT).sqrt().unsqueeze(1)
    rows, wanted = design * weight, targets * weight
    eigenvalues, vectors = torch.linalg.eigh(rows.mT @ rows)
    eigenvalues = eigenvalues.clamp(min=0)
    mean = float(eigenvalues.mean())
    if not mean > 0:
        return design.new_zeros(design.shape[1], targets.shape[1])
    along, turned = vectors.mT @ (rows.mT @ wanted), rows @ vectors
    size = _by_bin(targets.square().mean(1), bins, members)
    present = (members > 0) & (size > 1e-12)
    best: tuple[float, Tensor] | None = None
    for strength in _STRENGTHS:
        shrunk = along / (eigenvalues + strength * mean).unsqueeze(1)
        leverage = (turned.square() @ (1 / (eigenvalues + strength * mean))).clamp(max=1 - 1e-3)
        residual = (wanted - turned @ shrunk) / ((1 - leverage).unsqueeze(1) * weight)
        relative = (_by_bin(residual.square().mean(1), bins, members) / size)[present].log().mean()
        if best is None or float(relative) < best[0]:
            best = float(relative), shrunk
    assert best is not None
    return vectors @ best[1]


def _by_bin(values: Tensor, bins: Tensor, members: Tensor) -> Tensor:
    return torch.zeros_like(members).index_add(0, bins, values) / members.clamp(min=1)


def _four(interval: Tensor) -> Tensor:
    return interval.unsqueeze(-1) + torch.arange(4, device=interval.device)


def _dense_splines(x: Tensor, n_intervals: int) -> Tensor:
    interval, weights = spline_weights(x, n_intervals)
    return x.new_zeros(len(x), n_intervals + 3).scatter(1, _four(interval), weights)
