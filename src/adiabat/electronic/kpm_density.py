"""Densities of states, electron counts and the Fermi level from Chebyshev moments, each with its statistical error."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import ElectronicError
from adiabat.electronic.chebyshev_moments import ChebyshevMoments

Array = npt.NDArray[np.float64]

_CHUNK: Final = 2**22
_BISECTIONS: Final = 60


@dataclass(frozen=True)
class Estimated:
    """A curve and its standard error.

    Attributes:
        values: mean over the random vectors.
        errors: its standard error from their scatter, of the same shape; NaN from one vector.
    """

    values: Array
    errors: Array


@dataclass(frozen=True)
class FermiEstimate:
    """A Fermi level from a stochastic electron count.

    Attributes:
        level: [eV], the middle of ``low`` and ``high``.
        low: where the count less its standard error is reached first.
        high: where the count plus its standard error is left. In a gap that is wider than both the resolution and the
            statistical error, low and high lie in the gap.
        count_error: standard error of the electron count at the level [e].
    """

    level: float
    low: float
    high: float
    count_error: float


def kpm_density(moments: ChebyshevMoments, energies: Array) -> Estimated:
    """Density of states [states/eV/cell], (n_channels, n_energies), Jackson-broadened; without spin both spins count.

    Args:
        moments: from :func:`adiabat.electronic.kpm.kpm_moments`.
        energies: [eV].
    """
    return _estimated(moments.values, moments, energies, _density_basis)


def kpm_projected_density(moments: ChebyshevMoments, energies: Array) -> Estimated:
    """Density of each group of orbitals [states/eV/cell], (n_channels, n_groups, n_energies).

    Raises:
        ElectronicError: the moments were computed without groups.
    """
    if moments.projected is None:
        raise ElectronicError(
            "moments without groups of orbitals",
            expected="projected moments",
            suggestion="kpm_moments(..., groups=crystal.orbital_atoms)",
        )
    return _estimated(moments.projected, moments, energies, _density_basis)


def kpm_electron_count(moments: ChebyshevMoments, energies: Array) -> Estimated:
    """Electrons [e] of one cell, (n_energies,), that fill all states of all channels up to each energy [eV]."""
    total = moments.values.sum(axis=0)[None]
    counted = _estimated(total, moments, energies, _count_basis)
    return Estimated(counted.values[0], counted.errors[0])


def kpm_fermi_level(moments: ChebyshevMoments, n_electrons: float) -> FermiEstimate:
    """Energy up to which the states hold a number of electrons, with the range that its error allows.

    The error of a count of N occupied states is about √(2N/n_vectors) electrons, hundreds for ten thousand atoms: too
    much to say which state is the highest. That needs :mod:`adiabat.electronic.fermi_states`, which counts exactly.

    Raises:
        ElectronicError: more electrons than the states hold, or none.
    """
    capacity = moments.max_occupation * moments.n_states
    if not 0 < n_electrons < capacity:
        raise ElectronicError(
            f"{n_electrons:g} electrons for states that hold {capacity:g}",
            expected="more than 0 and fewer than the states hold",
            suggestion="check the electron count",
        )

    def level(electrons: float) -> float:
        low, high = moments.spectrum.low, moments.spectrum.high
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if count(middle).values[0] < electrons else (low, middle)
        return (low + high) / 2

    def count(energy: float) -> Estimated:
        return kpm_electron_count(moments, np.array([energy]))

    error = float(np.nan_to_num(count(level(n_electrons)).errors[0]))
    tiny = 1e-6 * n_electrons
    low = level(max(tiny, n_electrons - error - tiny))
    high = level(min(capacity - tiny, n_electrons + error + tiny))
    return FermiEstimate((low + high) / 2, low, high, error)


def jackson_kernel(n_moments: int) -> Array:
    """Damping g_n that keeps a truncated Chebyshev series positive, with a peak of nearly Gaussian shape.

    Source: [weisse2006] eq. 71.
    """
    n, N = np.arange(n_moments), n_moments + 1
    angle = np.pi / N
    return ((N - n) * np.cos(angle * n) + np.sin(angle * n) / np.tan(angle)) / N


def _estimated(
    values: Array, moments: ChebyshevMoments, energies: Array, basis: Callable[[Array, int], Array]
) -> Estimated:
    """Mean and standard error over vectors (the last axis but one) of Σ_n g_n μ_n b_n(E)."""
    n_moments = values.shape[-1]
    weights = jackson_kernel(n_moments) * np.where(np.arange(n_moments) == 0, 1.0, 2.0)
    x = (np.asarray(energies, dtype=np.float64) - moments.spectrum.centre) / moments.spectrum.half_width
    scale = moments.max_occupation / (moments.spectrum.half_width if basis is _density_basis else 1.0)
    damped = values * weights * scale
    step = max(1, _CHUNK // n_moments)
    parts = [damped @ basis(x[start : start + step], n_moments) for start in range(0, len(x), step)]
    curves = np.concatenate(parts, axis=-1)
    n_vectors = curves.shape[-2]
    mean = curves.mean(axis=-2)
    errors = curves.std(axis=-2, ddof=1) / np.sqrt(n_vectors) if n_vectors > 1 else np.full_like(mean, np.nan)
    return Estimated(mean, errors)


def _density_basis(x: Array, n_moments: int) -> Array:
    """T_n(x) / (π √(1 − x²)), (n_moments, n_energies); zero outside."""
    inside = np.abs(x) < 1
    angle = np.arccos(np.where(inside, x, 0.0))
    return np.where(inside, np.cos(np.outer(np.arange(n_moments), angle)) / (np.pi * np.sin(angle)), 0.0)


def _count_basis(x: Array, n_moments: int) -> Array:
    """∫_{−1}^x T_n / (π √(1 − x²)): 1 − θ/π, and −sin(nθ)/(nπ) for n > 0."""
    angle = np.arccos(x.clip(-1, 1))
    n = np.arange(1, n_moments)
    return np.concatenate([(1 - angle / np.pi)[None], -np.sin(np.outer(n, angle)) / (np.pi * n[:, None])])
