"""The way to the highest occupied state: from a rough count over exact ones to the two states that it lies between."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import ElectronicError
from adiabat.electronic.chebyshev_moments import ChebyshevMoments
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.kpm import kpm_moments
from adiabat.electronic.kpm_density import kpm_electron_count
from adiabat.electronic.kpm_settings import KpmSettings
from adiabat.electronic.multifrontal import SymmetricFactorization
from adiabat.electronic.shift_invert import Report, SparsePencil, search

SAME_LEVEL: Final = 1e-6
"""Energies [eV] nearer than this count as one level: the Fermi level then lies in it."""

_COARSE: Final = KpmSettings(resolution=0.5, n_vectors=8, batch=8, inverse_error=1e-2)
"""Of the rough count: good to some tens of states, which exact counting then corrects."""

_MOVES: Final = 40
_NEAR: Final = 12
"""States by which the count at a shift may differ from the occupied ones: Lanczos then reaches both edges."""

_BASIS: Final = 160
"""Vectors of that search, which is not led to convergence."""


@dataclass(frozen=True)
class Edges:
    """Rough HOMO and LUMO [eV], each with a bound on its distance to a state."""

    homo: float
    lumo: float
    homo_error: float
    lumo_error: float

    @property
    def is_one_level(self) -> bool:
        """Whether there is no gap at all."""
        return self.lumo - self.homo <= SAME_LEVEL


@dataclass(frozen=True)
class CoarseCount:
    """States below an energy, roughly, from few Chebyshev moments."""

    moments: ChebyshevMoments

    @classmethod
    def of(cls, crystal: Crystal, k_frac: npt.ArrayLike | None, report: Report | None) -> "CoarseCount":
        """Of one k, all channels together."""
        if report is not None:
            report("counting states roughly by kernel polynomials")
        return cls(kpm_moments(crystal, _COARSE, k_frac=k_frac))

    def __call__(self, energy: float) -> float:
        """Below an energy [eV]."""
        electrons = kpm_electron_count(self.moments, np.array([energy])).values[0]
        return float(electrons) / self.moments.max_occupation

    def energy(self, states: float) -> float:
        """Below which there are so many states [eV]."""
        low, high = self.moments.spectrum.low, self.moments.spectrum.high
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self(middle) < states else (low, middle)
        return (low + high) / 2


@dataclass(frozen=True)
class FermiSearch:
    """Counts and edges of all channels together.

    Attributes:
        pencils: of each channel.
        full: states that are occupied in full.
        partial: whether one more is occupied in part.
        tolerance: of energies [eV].
    """

    pencils: list[SparsePencil]
    full: int
    partial: bool
    tolerance: float

    def edges(self, count: CoarseCount, energy: float) -> tuple[float, Edges]:
        """A shift near the Fermi level [eV], and from there the edges as far as a short search shows them.

        Raises:
            ElectronicError: no such shift was found.
        """
        energy, factors = self._approach(count, energy)
        below = sum(factor.n_negative for factor in factors)
        n_below, n_above = max(1, below - self.full + 1), max(1, self.full - below + 1)
        found = [
            search(pencil, factor, n_below, n_above, self.tolerance, strict=False, max_basis=_BASIS)
            for pencil, factor in zip(self.pencils, factors, strict=True)
        ]
        offsets = np.concatenate([states.offsets for states in found])
        order = np.argsort(offsets)
        errors = np.concatenate([states.errors for states in found])[order]
        offsets = offsets[order]
        lumo = self.full - (below - int((offsets < 0).sum()))
        homo = lumo if self.partial else lumo - 1
        edges = Edges(
            energy + float(offsets[homo]), energy + float(offsets[lumo]), float(errors[homo]), float(errors[lumo])
        )
        self.pencils[0].say(f"occupied up to about {edges.homo:.6g} eV, empty from about {edges.lumo:.6g} eV")
        return energy, edges

    def lost(self) -> ElectronicError:
        """The error of a search that leads nowhere."""
        return ElectronicError(
            f"no energy with {self.full} states below it, and the states next to it, within {_MOVES} shifts",
            expected="one near the guess",
            suggestion="give a guess of the Fermi level, for instance from adiabat fermi",
        )

    def _approach(self, count: CoarseCount, energy: float) -> tuple[float, list[SymmetricFactorization]]:
        """A shift with nearly as many states below as are occupied, and the factors there."""
        low, high = count.moments.spectrum.low, count.moments.spectrum.high
        for _ in range(_MOVES):
            factors = [pencil.factorize(energy, 2 * _NEAR) for pencil in self.pencils]
            excess = sum(factor.n_negative for factor in factors) - self.full
            self.pencils[0].say(f"{self.full + excess} states below {energy:.6g} eV, {self.full} occupied")
            if abs(excess) <= _NEAR:
                return energy, factors
            del factors
            low, high = (low, energy) if excess > 0 else (energy, high)
            # Where the rough count, made right at this energy, says that the excess is gone; else half of what is left.
            proposed = count.energy(count(energy) - excess)
            margin = 0.02 * (high - low)
            energy = proposed if low + margin < proposed < high - margin else (low + high) / 2
        raise self.lost()
