"""Highest occupied and lowest empty states of a large cell, and those around them, from the electron count alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import ElectronicError
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.kpm import channels, kpm_moments
from adiabat.electronic.kpm_density import kpm_electron_count
from adiabat.electronic.kpm_settings import KpmSettings
from adiabat.electronic.multifrontal import SymmetricFactorization
from adiabat.electronic.shift_invert import Report, SparsePencil, StateWindow, states_near

_COARSE: Final = KpmSettings(resolution=0.5, n_vectors=8, batch=8, inverse_error=1e-2)
"""Of the first guess: good to some tens of states, which counting then corrects."""

_MOVES: Final = 40
_WHOLE: Final = 1e-9
_SAME: Final = 1e-6
"""Energies [eV] nearer than this count as one level: the Fermi level then lies in it."""


@dataclass(frozen=True)
class FermiStates:
    """States around the Fermi level at one k.

    Attributes:
        homo: highest energy of an occupied state [eV].
        lumo: lowest energy of a state that is not full [eV]; the same where one state is filled in part.
        n_occupied: states below the Fermi level, of all channels.
        windows: for each channel, the states nearest below and above.
        n_factorizations: it took.
    """

    homo: float
    lumo: float
    n_occupied: int
    windows: tuple[StateWindow, ...]
    n_factorizations: int

    @property
    def fermi_level(self) -> float:
        """Half way between the two [eV]."""
        return (self.homo + self.lumo) / 2

    @property
    def gap(self) -> float:
        """LUMO − HOMO at this k [eV]."""
        return self.lumo - self.homo


def states_around_fermi_level(
    crystal: Crystal,
    n_states: int,
    *,
    k_frac: npt.ArrayLike | None = None,
    coordinates: npt.NDArray[np.float64] | None = None,
    guess: float | None = None,
    tolerance: float = 1e-9,
    prove: bool = True,
    memory_limit: int | None = None,
    should_stop: Callable[[], bool] | None = None,
    report: Report | None = None,
) -> FermiStates:
    """HOMO, LUMO and the states around them, without computing any others.

    How many states lie below an energy is exact: the inertia of H − σS. A coarse kernel polynomial count, or the guess,
    leads near the energy at which that number is the number of occupied states; Lanczos finds the two states that it
    lies between, and then, from the middle of them, half of the states below and half above.

    Args:
        crystal: of any size; its electron count says which states are occupied.
        n_states: wanted in each channel, half of them below the Fermi level.
        k_frac: (3,); Γ if not given.
        coordinates: (n_atoms, d) [Å] of the atoms, from :func:`wrapped_coordinates`, which can make the factorization
            cheaper.
        guess: of the Fermi level [eV].
        tolerance: of the energies [eV].
        prove: whether to count the states of the result too, two more factorizations for each channel.
        memory_limit: bytes; what is free if not given.
        should_stop: asked between steps.
        report: called with what is being done.

    Raises:
        ElectronicError: too large for the memory, or no energy with that many states below was found.
        KeyboardInterrupt: stopped.
    """
    occupied = crystal.n_electrons / crystal.max_occupation
    full = math.floor(occupied + _WHOLE)
    partial = occupied - full > _WHOLE
    capacity = crystal.n_basis * crystal.n_channels
    if full + partial >= capacity:
        raise ElectronicError(
            f"{crystal.n_electrons:g} electrons, which fill all {capacity} states",
            expected="empty states above the occupied ones",
            suggestion="check the electron count",
        )
    pencils = [
        SparsePencil(h, s, coordinates=coordinates, memory_limit=memory_limit, should_stop=should_stop, report=report)
        for h, s in channels(crystal, k_frac)
    ]
    half = max(1, n_states // 2)
    # Refuse before the first guess is made, not after.
    pencils[0].estimate(2 * half).require(memory_limit)
    search = _Search(pencils, crystal, k_frac, full, half, tolerance)
    homo, lumo = search.edges(guess, partial)
    energy = (homo + lumo) / 2 if lumo - homo > _SAME else homo + 10 * _SAME
    windows = tuple(
        states_near(pencil, energy, n_below=half, n_above=half, tolerance=tolerance, prove=prove) for pencil in pencils
    )
    below = sum(w.first_index + int((w.energies < energy).sum()) for w in windows)
    if lumo - homo > _SAME and below != full:
        raise ElectronicError(
            f"{below} states below {energy:.6g} eV, between states that were taken for number {full} and {full + 1}",
            expected=f"{full} states",
            suggestion="give a guess of the Fermi level a little apart: a level of high degeneracy may lie on a shift",
        )
    return FermiStates(homo, lumo, full, windows, sum(pencil.n_factorizations for pencil in pencils))


def wrapped_coordinates(
    positions: npt.NDArray[np.float64], cell: npt.NDArray[np.float64], periodic: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """(n_atoms, 3) [Å] along the lattice vectors, wrapped into the cell where it repeats.

    Args:
        positions: (n_atoms, 3) [Å].
        cell: (3, 3) lattice vectors in rows [Å].
        periodic: (3,).
    """
    rows = np.asarray(cell, dtype=np.float64).copy()
    # A direction without a lattice vector gets one at right angles to the others.
    missing = np.flatnonzero(~np.asarray(periodic))
    kept = np.flatnonzero(periodic)
    _, _, directions = np.linalg.svd(rows[kept] if len(kept) else np.zeros((1, 3)))
    rows[missing] = directions[len(kept) :]
    fractions = positions @ np.linalg.inv(rows)
    fractions[:, kept] %= 1.0
    return fractions * np.linalg.norm(rows, axis=1)


@dataclass
class _Search:
    """The way to the highest occupied state."""

    pencils: list[SparsePencil]
    crystal: Crystal
    k_frac: npt.ArrayLike | None
    full: int
    half: int
    tolerance: float
    _bounds: tuple[float, float] = (0.0, 0.0)

    def edges(self, guess: float | None, partial: bool) -> tuple[float, float]:
        """HOMO and LUMO [eV]."""
        energy, factors = self._approach(guess)
        below = sum(factor.n_negative for factor in factors)
        n_below, n_above = max(1, below - self.full + 1), max(1, self.full - below + 1)
        found = [
            states_near(
                pencil, energy, n_below=n_below, n_above=n_above, tolerance=self.tolerance, prove=False, factor=factor
            ).energies
            for pencil, factor in zip(self.pencils, factors, strict=True)
        ]
        energies = np.sort(np.concatenate(found))
        # Number of the first of these among all states.
        first = below - int((energies < energy).sum())
        lumo = float(energies[self.full - first])
        return (lumo if partial else float(energies[self.full - 1 - first])), lumo

    def _approach(self, guess: float | None) -> tuple[float, list[SymmetricFactorization]]:
        """A shift with nearly as many states below as are occupied, and the factors there."""
        count = self._coarse_count()
        energy = guess if guess is not None else self._invert(count, self.full)
        low, high = -math.inf, math.inf
        near = max(4, self.half // 2)
        for _ in range(_MOVES):
            factors = [pencil.factorize(energy, 2 * self.half) for pencil in self.pencils]
            excess = sum(factor.n_negative for factor in factors) - self.full
            self.pencils[0].say(f"{self.full + excess} states below {energy:.6g} eV, {self.full} occupied")
            if abs(excess) <= near:
                return energy, factors
            del factors
            low, high = (low, energy) if excess > 0 else (energy, high)
            energy = self._next(count, energy, excess, low, high)
        raise ElectronicError(
            f"no energy with {self.full} states below it within {_MOVES} factorizations",
            expected="one near the guess",
            suggestion="give a guess of the Fermi level, for instance from adiabat fermi",
        )

    def _coarse_count(self) -> Callable[[float], float]:
        """States below an energy, roughly."""
        self.pencils[0].say("counting states roughly by kernel polynomials")
        moments = kpm_moments(self.crystal, _COARSE, k_frac=self.k_frac)
        self._bounds = (moments.spectrum.low, moments.spectrum.high)

        def count(energy: float) -> float:
            return float(kpm_electron_count(moments, np.array([energy])).values[0]) / moments.max_occupation

        return count

    def _invert(self, count: Callable[[float], float], states: float) -> float:
        low, high = self._bounds
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if count(middle) < states else (low, middle)
        return (low + high) / 2

    def _next(self, count: Callable[[float], float], energy: float, excess: int, low: float, high: float) -> float:
        """Where the rough count, made right at this energy, says that the excess is gone; else half of what is left."""
        proposed = self._invert(count, count(energy) - excess)
        low, high = max(low, self._bounds[0]), min(high, self._bounds[1])
        margin = 0.02 * (high - low)
        return proposed if low + margin < proposed < high - margin else (low + high) / 2
