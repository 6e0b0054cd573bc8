"""Effective masses from the curvature of a band, by second-order perturbation in k."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.core.units import HBAR2_PER_ELECTRON_MASS
from adiabat.electronic.bands import as_k_points, solve_bands
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.crystal_matrices import CrystalMatrices
from adiabat.electronic.linear_algebra import eigh, eigvalsh
from adiabat.electronic.velocities import band_derivatives

DEGENERATE: Final = 1e-5
"""Energy difference [eV] below which states at k are one level."""

_ALIKE: Final = 1e-4
"""Share of a level's largest inverse mass by which its states may differ and still have one tensor."""

_SLOPE: Final = 1e-4
"""Slopes [eV·Å] of a level's states that differ by less are the same slope."""

_FLAT_BAND: Final = 1e-12
"""Inverse mass [1/m_e] below which a mass is infinite."""


@dataclass(frozen=True)
class EffectiveMass:
    """Expansion of one band about k: ε + slope·q + ½ q·(∂²ε)·q.

    Attributes:
        energy: ε [eV].
        slope: (3,) ∂ε/∂k [eV·Å]; zero at the edge of a band.
        inverse_mass: (3, 3) ∂²ε/∂k_a∂k_b m_e/ħ² [1/m_e]; zero along directions that are not periodic.
        masses: (3,) principal masses [m_e], negative where the band curves down; infinite along flat and along
            non-periodic directions.
        axes: (3, 3) the principal axes, in rows.
        n_degenerate: states of the level, all of which have this tensor.
    """

    energy: float
    slope: Float[Tensor, "3"]
    inverse_mass: Float[Tensor, "3 3"]
    masses: Float[Tensor, "3"]
    axes: Float[Tensor, "3 3"]
    n_degenerate: int


@dataclass(frozen=True)
class LevelExpansion:
    """A level at k to second order in q: eigenvalues of ε + Σ_a q_a W_a + ½ Σ_ab q_a q_b K_ab.

    Attributes:
        energy: ε [eV].
        states: bands of the level, from 0.
        first: (3, g, g) W [eV·Å].
        second: (3, 3, g, g) K [eV·Å²].
    """

    energy: float
    states: tuple[int, ...]
    first: Complex[Tensor, "3 g g"]
    second: Complex[Tensor, "3 3 g g"]


def expand_level(
    crystal: Crystal,
    k_frac: Float[Tensor, "3"] | npt.NDArray[np.float64],
    band: int,
    *,
    channel: int = 0,
    degenerate: float = DEGENERATE,
) -> LevelExpansion:
    """Expand the level that a band belongs to, by Löwdin partitioning in non-orthogonal orbitals.

    With C the states at k, W_a = C†(∂_aH − ε ∂_aS)C and s_a = C†∂_aS C, over states m outside the level,

        K_ab = C†(∂_a∂_bH − ε ∂_a∂_bS)C + Σ_m (W_a|m⟩⟨m|W_b + W_b|m⟩⟨m|W_a)/(ε − ε_m)
               − ½ (s_a W_b + W_b s_a + s_b W_a + W_a s_b).

    Args:
        crystal: H and S.
        k_frac: (3,) in fractions of the reciprocal lattice.
        band: from 0, in order of energy.
        channel: 1 for ↓ of collinear spins.
        degenerate: energy difference [eV] below which states are one level.

    Raises:
        ElectronicError: no such band.

    Source: [loewdin1951] for the partitioning.
    """
    points = as_k_points(torch.as_tensor(k_frac, dtype=torch.float64).reshape(1, -1))
    matrices = CrystalMatrices(crystal)
    states = solve_bands(crystal, points, coefficients=True)
    _check_band(crystal, states.energies, band, channel)
    part = band_derivatives(matrices, states)
    energies, c = part.energies[channel, 0], part.coefficients[channel, 0]
    energy = energies[band]
    inside = part.kept[channel, 0] & ((energies - energy).abs() <= degenerate)
    # The mean, so that no state of the level is special.
    energy = energies[inside].mean()
    outside = part.kept[channel, 0] & ~inside
    dh, ds = part.hamiltonian[:, channel, 0], part.overlap[:, channel, 0]
    to_level = (dh - energy * ds)[..., inside]
    first, coupling = to_level[:, inside], to_level[:, outside]
    s = ds[:, inside][..., inside]
    hh, ss = matrices.hessians(points)
    level = c[:, inside]
    second = level.mH @ (hh[:, :, channel, 0] - energy * ss[:, :, 0]) @ level
    through = torch.einsum("ami,m,bmj->abij", coupling.conj(), 1 / (energy - energies[outside]) + 0j, coupling)
    metric = torch.einsum("aij,bjk->abik", s, first) + torch.einsum("bij,ajk->abik", first, s)
    second = second + through + through.transpose(0, 1) - (metric + metric.transpose(0, 1)) / 2
    return LevelExpansion(
        float(energy), tuple(torch.nonzero(inside).flatten().tolist()), first, (second + second.mH) / 2
    )


def effective_mass(
    crystal: Crystal,
    k_frac: Float[Tensor, "3"] | npt.NDArray[np.float64],
    band: int,
    *,
    channel: int = 0,
    degenerate: float = DEGENERATE,
) -> EffectiveMass:
    """Mass tensor of one band at one k.

    Args:
        crystal: H and S.
        k_frac: (3,) in fractions of the reciprocal lattice.
        band: from 0, in order of energy.
        channel: 1 for ↓ of collinear spins.
        degenerate: energy difference [eV] below which states are one level.

    Raises:
        ElectronicError: no such band; or a level whose states part with k, which have no tensor.
    """
    level = expand_level(crystal, k_frac, band, channel=channel, degenerate=degenerate)
    g = len(level.states)
    slope = torch.einsum("aii->a", level.first).real / g
    curvature = torch.einsum("abii->ab", level.second).real / g
    one = torch.eye(g, dtype=level.first.dtype)
    split = float((level.first - slope[:, None, None] * one).abs().max())
    warp = float((level.second - curvature[:, :, None, None] * one).abs().max()) / HBAR2_PER_ELECTRON_MASS
    scale = float(curvature.abs().max()) / HBAR2_PER_ELECTRON_MASS
    if split > _SLOPE or warp > _ALIKE * max(scale, 1.0):
        bands = ", ".join(map(str, level.states))
        raise ElectronicError(
            f"bands {bands}, degenerate to {degenerate:g} eV at k, which part with slopes that differ by {split:.3g} "
            f"eV·Å and inverse masses by {warp:.3g} / m_e",
            expected="a single band, or degenerate ones that stay together, for a mass tensor",
            suggestion="ask for the masses along a direction, directional_masses(), or for a k beside this one",
        )
    inverse = curvature / HBAR2_PER_ELECTRON_MASS
    values, axes = eigh(inverse)
    return EffectiveMass(level.energy, slope, inverse, _masses(values), axes.mT, g)


def directional_masses(
    crystal: Crystal,
    k_frac: Float[Tensor, "3"] | npt.NDArray[np.float64],
    band: int,
    direction: Float[Tensor, "3"] | npt.NDArray[np.float64],
    *,
    channel: int = 0,
    degenerate: float = DEGENERATE,
) -> Float[Tensor, " g"]:
    """Masses [m_e] along a direction of all states that are degenerate with a band: heavy and light holes, say.

    Args:
        crystal: H and S.
        k_frac: (3,) in fractions of the reciprocal lattice.
        band: from 0, in order of energy.
        direction: (3,) Cartesian, of any length.
        channel: 1 for ↓ of collinear spins.
        degenerate: energy difference [eV] below which states are one level.

    Returns: (g,) ħ²/(∂²ε/∂q²), in the order of the inverse masses, ascending.

    Raises:
        ElectronicError: no such band, or no direction.
    """
    level = expand_level(crystal, k_frac, band, channel=channel, degenerate=degenerate)
    d = torch.as_tensor(direction, dtype=torch.float64)
    if not float(d.norm()) > 0:
        raise ElectronicError("a direction of length 0", expected="a Cartesian vector", suggestion="[1, 0, 0] for x")
    d = (d / d.norm()).to(level.first.dtype)
    slopes, rotation = eigh(torch.einsum("a,aij->ij", d, level.first))
    second = rotation.mH @ torch.einsum("a,b,abij->ij", d, d, level.second) @ rotation
    # States that part with different slopes do not mix in second order.
    together = (slopes.unsqueeze(-1) - slopes.unsqueeze(-2)).abs() <= _SLOPE
    return _masses(eigvalsh(second * together) / HBAR2_PER_ELECTRON_MASS)


def finite_difference_inverse_mass(
    crystal: Crystal,
    k_frac: Float[Tensor, "3"] | npt.NDArray[np.float64],
    band: int,
    *,
    channel: int = 0,
    step: float = 0.01,
) -> Float[Tensor, "3 3"]:
    """∂²ε/∂k_a∂k_b m_e/ħ² [1/m_e] by finite differences of fourth order: the check on :func:`effective_mass`.

    Args:
        crystal: H and S; three periodic directions, or fewer, along which alone k is moved.
        k_frac: (3,) in fractions of the reciprocal lattice.
        band: from 0, in order of energy; the band must stay the same one within two steps.
        channel: 1 for ↓ of collinear spins.
        step: of k [1/Å].

    Raises:
        ElectronicError: no such band.
    """
    start = torch.as_tensor(k_frac, dtype=torch.float64)
    rows = torch.from_numpy(np.where(crystal.periodic[:, None], crystal.cell, 0.0))
    offsets = torch.tensor([-2, -1, 1, 2], dtype=torch.float64)
    factors = torch.tensor([1, -8, 8, -1], dtype=torch.float64) / (12 * step)
    # Cartesian q is k_frac = q · cell / 2π; the second derivative is the first derivative twice.
    moves = torch.einsum("p,ax->pax", offsets * step, torch.eye(3, dtype=torch.float64))
    cartesian = moves[:, None, :, None] + moves[None, :, None, :]
    points = start + cartesian.reshape(-1, 3) @ rows.mT / (2 * torch.pi)
    energies = solve_bands(crystal, points).energies
    _check_band(crystal, energies, band, channel)
    values = energies[channel, :, band].reshape(4, 4, 3, 3)
    return torch.einsum("p,r,prab->ab", factors, factors, values) / HBAR2_PER_ELECTRON_MASS


def _masses(inverse: Tensor) -> Tensor:
    flat = inverse.abs() < _FLAT_BAND
    return torch.where(flat, torch.inf, 1 / torch.where(flat, 1.0, inverse))


def _check_band(crystal: Crystal, energies: Tensor, band: int, channel: int) -> None:
    n_bands = int(torch.isfinite(energies).sum(dim=-1).min())
    if not 0 <= band < n_bands or not 0 <= channel < crystal.n_channels:
        raise ElectronicError(
            f"band {band} of channel {channel}",
            expected=f"a band from 0 to {n_bands - 1} of a channel from 0 to {crystal.n_channels - 1}",
            suggestion="count from 0; the highest occupied band of N electrons without spin is N/2 − 1",
        )
