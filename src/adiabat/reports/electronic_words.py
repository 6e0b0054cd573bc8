"""Sentences and key numbers about bands and densities of states."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from adiabat.data.band_structure import Array, BandStructure
from adiabat.data.dos_result import DensityOfStates
from adiabat.reports.page import KeyNumber
from adiabat.reports.words import number

TINY_OVERLAP = 1e-4
"""λ_min(S) below which an error of 1 meV in H can be 10 eV in a band: no band is to be trusted without a look at it."""


def method_name(metadata: Mapping[str, Any]) -> str:
    """What to call the source of a result in a legend."""
    return str(metadata.get("method") or "bands")


def gap_sentence(result: BandStructure | DensityOfStates, name_of: Callable[[Array], str] | None = None) -> str:
    """Whether it is an insulator, and where its edges are.

    Args:
        result: bands or a density.
        name_of: turns k into a label; coordinates by default.
    """
    edges, name_of = result.edges, name_of or _coordinates
    if edges is None:
        if result.fermi_level is None:
            return "The electron count is not known, so neither a Fermi level nor a gap is given."
        return f"Occupied and empty states touch: a metal, with the Fermi level at {_signed(result.fermi_level)} eV."
    if edges.is_direct:
        return f"An insulator with a direct gap of {edges.gap:.3f} eV at {name_of(edges.k_direct)}."
    return (
        f"An insulator with an indirect gap of {edges.gap:.3f} eV from {name_of(edges.k_vbm)} to "
        f"{name_of(edges.k_cbm)}; the smallest direct gap is {edges.direct_gap:.3f} eV at {name_of(edges.k_direct)}."
    )


def band_numbers(bands: BandStructure) -> list[KeyNumber]:
    """What a reader of bands looks for first."""
    numbers = _level_numbers(bands)
    smallest = float(np.nanmin(bands.smallest_overlap)) if np.isfinite(bands.smallest_overlap).any() else None
    if smallest is not None:
        dropped = int(bands.n_dropped.max())
        detail = f"errors of H reach the bands amplified by up to {number(1 / max(smallest, 1e-16), 2)}"
        if dropped:
            detail += f"; {dropped} combinations of orbitals were dropped"
        numbers.append(KeyNumber("Smallest λ of S(k)", number(smallest), "", detail))
    if bands.reference is not None and bands.reference.comparison is not None:
        comparison = bands.reference.comparison
        numbers.append(
            KeyNumber(
                "From the reference",
                number(1000 * comparison.rms_shifted),
                "meV",
                f"root mean square without a common shift; {number(1000 * comparison.rms)} meV with it",
            )
        )
    return numbers


def dos_numbers(dos: DensityOfStates) -> list[KeyNumber]:
    """What a reader of a density of states looks for first."""
    numbers = _level_numbers(dos)
    if dos.fermi_level is not None and dos.n_electrons is not None and dos.grid[0] < dos.fermi_level < dos.grid[-1]:
        counted = float(np.interp(dos.fermi_level, dos.grid, dos.integrated))
        numbers.append(
            KeyNumber(
                "Electrons below E_F",
                number(counted, 5),
                "",
                f"of {dos.n_electrons:g}; what is missing or too much, broadening moved",
            )
        )
    return numbers


def _level_numbers(result: BandStructure | DensityOfStates) -> list[KeyNumber]:
    numbers: list[KeyNumber] = []
    if result.edges is not None:
        kind = "direct" if result.edges.is_direct else f"indirect; direct {result.edges.direct_gap:.3f} eV"
        numbers.append(KeyNumber("Gap", f"{result.edges.gap:.3f}", "eV", kind))
    if result.fermi_level is not None:
        detail = "middle of the gap" if result.edges is not None else "metal"
        numbers.append(KeyNumber("Fermi level", _signed(result.fermi_level), "eV", detail))
    if result.n_electrons is not None:
        numbers.append(KeyNumber("Electrons", f"{result.n_electrons:g}", "", "in the cell, outside pseudopotentials"))
    return numbers


def _coordinates(k: Array) -> str:
    return f"k = ({', '.join(f'{component:.3f}' for component in np.round(k, 6) + 0.0)})".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")
