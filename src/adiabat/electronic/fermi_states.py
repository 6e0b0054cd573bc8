"""Highest occupied and lowest empty states of a large cell, and those around them, from the electron count alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import ElectronicError
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.fermi_search import SAME_LEVEL, CoarseCount, Edges, FermiSearch
from adiabat.electronic.kpm import channels
from adiabat.electronic.shift_invert import Report, SparsePencil, StateWindow, joined, states_near

_ROUNDS: Final = 8
_WHOLE: Final = 1e-9
_WIDE: Final = 0.3
"""Gap [eV] from which the states below and above are searched each from beside their own edge."""

_BESIDE: Final = 0.05
"""Distance from that edge [eV]."""

_MORE: Final = 4
"""States beyond those asked for, that a degenerate level at the Fermi level may hold."""


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
    lies between, and then half of the states below and half above: from the middle, or from beside each edge if the gap
    is wide, where it would converge slowly from the middle.

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
    search = FermiSearch(pencils, full, partial, tolerance)
    count = CoarseCount.of(crystal, k_frac, report)
    energy = guess if guess is not None else count.energy(full)
    for _ in range(_ROUNDS):
        energy, edges = search.edges(count, energy)
        low, high = _shifts(edges)
        windows = _windows(pencils, low, high, half, tolerance, prove)
        below = [sum(w.first_index + int((w.energies < shift).sum()) for w in windows) for shift in (low, high)]
        if edges.is_one_level or below == [full, full]:
            homo, lumo = _edges(windows, low, below[0], full, partial)
            return FermiStates(homo, lumo, full, windows, sum(pencil.n_factorizations for pencil in pencils))
        energy = low if below[0] != full else high
    raise search.lost()


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


def _shifts(edges: Edges) -> tuple[float, float]:
    """Where to search the states below and those above [eV]: one place, or two near the edges of a wide gap."""
    if edges.is_one_level:
        beside = edges.lumo + 10 * SAME_LEVEL
        return beside, beside
    gap = edges.lumo - edges.homo
    low = edges.homo + max(2 * edges.homo_error, min(_BESIDE, gap / 4))
    high = edges.lumo - max(2 * edges.lumo_error, min(_BESIDE, gap / 4))
    middle = (edges.homo + edges.lumo) / 2
    return (low, high) if gap > _WIDE and low < high else (middle, middle)


def _windows(
    pencils: list[SparsePencil], low: float, high: float, half: int, tolerance: float, prove: bool
) -> tuple[StateWindow, ...]:
    if low == high:
        # Of a level that is degenerate at the Fermi level, all states are wanted.
        return tuple(
            states_near(pencil, low, n_below=half + _MORE, n_above=half, tolerance=tolerance, prove=prove)
            for pencil in pencils
        )
    return tuple(
        joined(
            states_near(pencil, low, n_below=half, n_above=0, tolerance=tolerance, prove=prove),
            states_near(pencil, high, n_below=0, n_above=half, tolerance=tolerance, prove=prove),
        )
        for pencil in pencils
    )


def _edges(windows: tuple[StateWindow, ...], shift: float, below: int, full: int, partial: bool) -> tuple[float, float]:
    """Energies of the states number ``full`` − 1 and ``full``, counted from 0, of all channels together."""
    energies = np.sort(np.concatenate([window.energies for window in windows]))
    first = below - int((energies < shift).sum())
    lumo = float(energies[full - first])
    return (lumo if partial else float(energies[full - 1 - first])), lumo
