"""Wigner D matrices in real harmonics: Y(R v) = D(R) Y(v), for proper and improper R.

D is read off the harmonics of a few rotated points: it is the only matrix that takes Y(p) to Y(R p) for 2l + 1
independent p. That makes it a polynomial in the entries of R, without Euler angles, differentiable to any order, and
with the natural parity (−1)^l of an improper R built in.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from adiabat.equivariant.harmonics import spherical_harmonics


def wigner_d(l: int, rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch m m"]:
    """D matrix of one l; see :func:`wigner_d_all`."""
    return wigner_d_all(l, rotation)[l]


def wigner_d_all(l_max: int, rotation: Float[Tensor, "*batch 3 3"]) -> list[Float[Tensor, "*batch m m"]]:
    """D matrices of l = 0 … l_max, with Y_l(R v) = D_l(R) Y_l(v) and D(R1 R2) = D(R1) D(R2).

    Args:
        l_max: largest l.
        rotation: orthogonal R, acting on column vectors; improper ones give (−1)^l times the proper part's D.

    Returns:
        one (…, 2l + 1, 2l + 1) tensor per l, in the dtype of ``rotation``.
    """
    harmonics, inverses = _probe_harmonics(l_max, rotation)
    ranges = [slice(l * l, (l + 1) ** 2) for l in range(l_max + 1)]
    return [harmonics[..., rows].mT @ inverses[:, rows] for rows in ranges]


def wigner_d_block(l_max: int, rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch irreps irreps"]:
    """The same D matrices on the diagonal of one matrix, which rotates (…, irreps, channels) in one batched product.

    On CPU that product is up to twice as fast as one per l, zeros and all (benchmarks/equivariant_kernels.py).
    """
    harmonics, inverses = _probe_harmonics(l_max, rotation)
    return harmonics.mT @ inverses * _same_l(l_max, rotation.dtype, rotation.device)


def rotate_irreps(
    features: Float[Tensor, "*batch irreps channels"], d_matrices: Sequence[Float[Tensor, "*batch m m"]]
) -> Float[Tensor, "*batch irreps channels"]:
    """Apply D_l to each l of features of natural parity.

    Args:
        features: (…, (l_max + 1)², channels).
        d_matrices: D_0 … D_l_max, as :func:`wigner_d_all` gives them; transpose each to rotate back.
    """
    sizes = [d.shape[-1] for d in d_matrices]
    parts = features.split(sizes, dim=-2)
    return torch.cat([d @ part for d, part in zip(d_matrices, parts, strict=True)], dim=-2)


def _probe_harmonics(
    l_max: int, rotation: Float[Tensor, "*batch 3 3"]
) -> tuple[Float[Tensor, "*batch point irreps"], Float[Tensor, "point irreps"]]:
    """Harmonics of every rotated probe point, and the inverses that solve D Y(p) = Y(R p) for D."""
    points, inverses = _probe(l_max, rotation.dtype, rotation.device)
    # R is orthogonal, so nothing needs normalizing
    return spherical_harmonics(points @ rotation.mT, l_max, normalization="norm", normalize=False), inverses


@cache
def _probe(
    l_max: int, dtype: torch.dtype, device: torch.device
) -> tuple[Float[Tensor, "point 3"], Float[Tensor, "point irreps"]]:
    points = _well_spread_points(l_max)
    harmonics = spherical_harmonics(points, l_max, normalization="norm")
    inverses = [torch.linalg.pinv(harmonics[:, l * l : (l + 1) ** 2]).mT for l in range(l_max + 1)]
    return points.to(dtype=dtype, device=device), torch.cat(inverses, dim=1).to(dtype=dtype, device=device)


@cache
def _same_l(l_max: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "irreps irreps"]:
    blocks = [torch.ones(2 * l + 1, 2 * l + 1) for l in range(l_max + 1)]
    return torch.block_diag(*blocks).to(dtype=dtype, device=device)


def _well_spread_points(l_max: int) -> Float64[Tensor, "point 3"]:
    """2 l_max + 1 unit vectors, the fewest that serve; the best-conditioned of a few hundred random draws.

    Rounding errors of D grow with the condition number, which is below 10 for l_max ≤ 6.
    """
    generator = np.random.default_rng(0)
    draws = torch.from_numpy(generator.standard_normal((300, 2 * l_max + 1, 3)))
    draws = draws / draws.norm(dim=-1, keepdim=True)
    harmonics = spherical_harmonics(draws, l_max, normalization="norm")
    condition = torch.stack([torch.linalg.cond(harmonics[..., l * l : (l + 1) ** 2]) for l in range(l_max + 1)])
    return draws[condition.amax(dim=0).argmin()]
