"""Density of states by Gaussian broadening."""

import math
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from adiabat.core.errors import ElectronicError

_CHUNK: Final = 2**22
"""Elements of (state, energy) pairs that are held at a time."""


def density_of_states(
    energies: Float[Tensor, "n_channels n_k n_states"],
    weights: Float[Tensor, " n_k"],
    grid: Float[Tensor, " n_grid"],
    *,
    width: float,
    max_occupation: int,
    projections: Float[Tensor, "n_channels n_k n_groups n_states"] | None = None,
) -> Float[Tensor, "n_channels *n_groups n_grid"]:
    """Density of states Σ_k w_k Σ_n g(E − ε_nk), with a Gaussian g of unit area.

    Args:
        energies: ε [eV]; +∞ for states that were dropped.
        weights: of the k points, adding up to 1.
        grid: energies E [eV].
        width: standard deviation of the Gaussian [eV].
        max_occupation: electrons that one state holds: without spin the density counts both spins.
        projections: share of each group in each state, for a projected density.

    Returns: [states/eV/cell], with an axis over groups if there are projections.

    Raises:
        ElectronicError: a width that is not positive.
    """
    if not width > 0:
        raise ElectronicError(
            f"a broadening of {width:g} eV",
            expected="a positive width",
            suggestion="about the spacing of energies on the k-mesh, such as 0.05 eV, or the tetrahedron method",
        )
    n_channels, n_k, n_states = energies.shape
    norm = max_occupation / (width * math.sqrt(2 * math.pi))
    shares = torch.ones_like(energies).unsqueeze(2) if projections is None else projections
    shares = (shares * (norm * weights)[None, :, None, None]).transpose(2, 3).reshape(n_channels, n_k * n_states, -1)
    centres = energies.reshape(n_channels, n_k * n_states)
    step = max(1, _CHUNK // (n_channels * len(grid)))
    total = shares.new_zeros(n_channels, len(grid), shares.shape[-1])
    for start in range(0, n_k * n_states, step):
        here = slice(start, start + step)
        total += torch.exp(-0.5 * ((grid[:, None] - centres[:, None, here]) / width) ** 2) @ shares[:, here]
    return total.squeeze(-1) if projections is None else total.transpose(1, 2)
