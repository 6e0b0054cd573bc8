"""The Fermi level of a crystal, from the number of its electrons."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.electronic.smearing import Smearing, SmearingKind

__all__ = ["Filling", "Smearing", "SmearingKind", "fill"]

_COUNT: Final = 1e-9
"""Electrons to which a count is exact; rounding of k weights stays below this."""

_FAR: Final = -1000.0
"""Widths from the Fermi level beyond which every occupation is zero in float64."""

_BISECTIONS: Final = 120
"""Halvings of an energy range that reach the last digit of float64 from any range."""


@dataclass(frozen=True)
class Filling:
    """How the electrons of a crystal fill its states.

    Attributes:
        fermi_level: [eV]; the middle of the gap for an insulator without smearing.
        occupations: (n_channels, n_k, n_states) electrons in each state, 0 to 2 (0 to 1 with spin).
        n_electrons: Σ_k w_k Σ_n f_nk.
        is_insulator: whether bands that every k fills alike are separated from the empty ones by a gap.
        entropy_energy: −TS [eV per cell], or what the smearing has in its place.
        smearing: that it was filled with.
    """

    fermi_level: float
    occupations: Float[Tensor, "n_channels n_k n_states"]
    n_electrons: float
    is_insulator: bool
    entropy_energy: float
    smearing: Smearing


def fill(
    energies: Float[Tensor, "n_channels n_k n_states"],
    weights: Float[Tensor, " n_k"],
    n_electrons: float,
    max_occupation: int,
    smearing: Smearing | None = None,
) -> Filling:
    """Find the Fermi level and fill the states.

    Args:
        energies: ε [eV] on a mesh of k; +∞ for states that were dropped.
        weights: of the k points, adding up to 1.
        n_electrons: in one cell.
        max_occupation: electrons that one state holds: 2 without spin, else 1.
        smearing: a step if not given, which only an insulator has a Fermi level for.

    Raises:
        ElectronicError: more electrons than the states hold, none, or a metal without smearing (with the overlap of
            its bands).
    """
    smearing = Smearing() if smearing is None else smearing
    capacity = max_occupation * float((weights * torch.isfinite(energies).sum(dim=(0, 2))).sum())
    if not 0 < n_electrons <= capacity + _COUNT:
        raise ElectronicError(
            f"{n_electrons:g} electrons for states that hold {capacity:g}",
            expected="more than 0 and at most as many as the states hold",
            suggestion="check the electron count, and whether many states were dropped as linearly dependent",
        )
    counts = insulating_counts(energies, n_electrons, max_occupation)
    if smearing.kind == "none":
        if counts is None:
            raise _metal(energies, n_electrons, max_occupation)
        top, bottom = band_edges(energies, counts)
        fermi_level = float(top.max()) if torch.isinf(bottom.min()) else float(top.max() + bottom.min()) / 2
        occupied = torch.arange(energies.shape[-1]) < torch.tensor(counts)[:, None, None]
        occupations = max_occupation * occupied.to(torch.float64).expand_as(energies)
        return Filling(fermi_level, occupations, _total(occupations, weights), True, 0.0, smearing)

    fermi_level = _level(energies, weights, n_electrons / max_occupation, smearing)
    x = _distance(energies, fermi_level, smearing)
    occupations = max_occupation * smearing.occupation(x)
    entropy_energy = smearing.width * max_occupation * _total(smearing.entropy(x), weights)
    return Filling(fermi_level, occupations, _total(occupations, weights), counts is not None, entropy_energy, smearing)


def insulating_counts(energies: Tensor, n_electrons: float, max_occupation: int) -> list[int] | None:
    """Occupied bands of each channel if they are the same at every k and lie below all others; None for a metal.

    Args:
        energies: (n_channels, n_k, n_states) [eV].
        n_electrons: in one cell.
        max_occupation: electrons that one state holds.
    """
    total = n_electrons / max_occupation
    if abs(total - round(total)) > _COUNT:
        return None
    # At most one way of sharing the electrons between the channels puts all occupied states below all empty ones.
    gaps = _gaps_of_shares(energies, round(total))
    return next((counts for counts, gap in gaps if gap > 0), None)


def band_edges(energies: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
    """Highest occupied and lowest empty energy of each channel at each k: (n_channels, n_k), −∞ and +∞ for none."""
    below = torch.full_like(energies[..., :1], -torch.inf)
    padded = torch.cat([below, energies, -below], dim=-1)
    place = torch.tensor(counts, device=energies.device)[:, None, None].expand_as(below)
    return padded.gather(-1, place).squeeze(-1), padded.gather(-1, place + 1).squeeze(-1)


def _gaps_of_shares(energies: Tensor, total: int) -> Iterator[tuple[list[int], float]]:
    """Gap above the occupied bands [eV] for each way of sharing ``total`` bands between the channels."""
    n_channels, _, n_states = energies.shape
    below = torch.full((n_channels, 1), -torch.inf, dtype=energies.dtype)
    tops = torch.cat([below, energies.amax(dim=1)], dim=1).tolist()
    bottoms = torch.cat([energies.amin(dim=1), -below], dim=1).tolist()
    if n_channels == 1:
        shares = [[total]] if total <= n_states else []
    else:
        # The even share first: it is the most common.
        ups = range(max(0, total - n_states), min(total, n_states) + 1)
        shares = [[up, total - up] for up in sorted(ups, key=lambda up: abs(2 * up - total))]
    for counts in shares:
        top = max(tops[channel][count] for channel, count in enumerate(counts))
        yield counts, min(bottoms[channel][count] for channel, count in enumerate(counts)) - top


def _total(per_state: Tensor, weights: Tensor) -> float:
    return float(torch.einsum("ckn,k->", per_state, weights))


def _level(energies: Tensor, weights: Tensor, n_bands: float, smearing: Smearing) -> float:
    """Level at which ``n_bands`` states are filled.

    Occupations that are not monotonic have several; the one meant is that nearest to the level of a plain Gaussian.
    """
    finite = energies[torch.isfinite(energies)]
    # The Fermi function has the longest tail: 1e-16 at 37 widths.
    low, high = float(finite.min()) - 40 * smearing.width, float(finite.max()) + 40 * smearing.width
    if smearing.kind in ("fermi-dirac", "gaussian"):
        return _middle(_counter(energies, weights, smearing), n_bands, low, high)
    start = _middle(_counter(energies, weights, Smearing("gaussian", smearing.width)), n_bands, low, high)
    count = _counter(energies, weights, smearing)
    reach = 0.0
    while abs(count(start) - n_bands) > _COUNT and start + reach <= high:
        reach += smearing.width / 8
        for a, b in ((start - reach, start), (start, start + reach)):
            if (count(a) - n_bands) * (count(b) - n_bands) <= 0:
                return _bisect(count, n_bands, a, b)
    return start


def _counter(energies: Tensor, weights: Tensor, smearing: Smearing) -> Callable[[float], float]:
    return lambda level: _total(smearing.occupation(_distance(energies, level, smearing)), weights)


def _distance(energies: Tensor, level: float, smearing: Smearing) -> Tensor:
    """(μ − ε)/width, bounded: a dropped state is infinitely far away, where x exp(−x²) has the form ∞ · 0."""
    return ((level - energies) / smearing.width).clamp(min=_FAR)


def _middle(count: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Middle of the range of levels at which the count is right: in a gap it is a range, not a point."""
    return (_bisect(count, target - _COUNT, low, high) + _bisect(count, target + _COUNT, low, high)) / 2


def _bisect(count: Callable[[float], float], target: float, low: float, high: float) -> float:
    rises = count(low) <= count(high)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if (count(middle) < target) == rises else (low, middle)
    return (low + high) / 2


def _metal(energies: Tensor, n_electrons: float, max_occupation: int) -> ElectronicError:
    return ElectronicError(
        f"a metal without smearing: {metal_reason(energies, n_electrons, max_occupation)}",
        expected="a gap between occupied and empty states at every k, for a step-like filling",
        suggestion="use smearing, for instance Smearing('fermi-dirac', 0.025); if it should have a gap, check the "
        "electron count",
    )


def metal_reason(energies: Tensor, n_electrons: float, max_occupation: int) -> str:
    """Why there is no gap, with the number: the overlap of the bands, or a band that is partly filled."""
    total = n_electrons / max_occupation
    if abs(total - round(total)) > _COUNT:
        return f"{n_electrons:g} electrons fill {total:g} bands, not a whole number"
    counts, gap = max(_gaps_of_shares(energies, round(total)), key=lambda share: share[1])
    return f"occupied and empty bands ({' + '.join(map(str, counts))} occupied) overlap by {-gap:.4g} eV"
