"""Bands as they are saved, read again and drawn: plain arrays with everything that a figure must say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from adiabat.core.operators import Spin

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BandEdges:
    """The gap of an insulator and where its edges are.

    Attributes:
        gap: cbm − vbm [eV].
        direct_gap: smallest distance of occupied and empty states at one k [eV].
        is_direct: whether they are the same.
        vbm: highest occupied energy [eV].
        cbm: lowest empty energy [eV].
        k_vbm: (3,) in fractions of the reciprocal lattice.
        k_cbm: (3,).
        k_direct: (3,) where the direct gap is smallest.
        channels: spin channels of the two edges.
    """

    gap: float
    direct_gap: float
    is_direct: bool
    vbm: float
    cbm: float
    k_vbm: Array
    k_cbm: Array
    k_direct: Array
    channels: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class BandComparison:
    """How far bands are from reference bands at the same k.

    Attributes:
        rms: root mean square difference [eV] within the window.
        rms_shifted: the same after removing the best constant shift [eV].
        shift: that shift, reference − bands [eV].
        largest: largest difference [eV] after removing it.
        window: energies [eV] relative to the reference's Fermi level within which reference states are compared.
        n_states: number of states compared, over all k.
    """

    rms: float
    rms_shifted: float
    shift: float
    largest: float
    window: tuple[float, float]
    n_states: int


@dataclass(frozen=True, eq=False)
class ReferenceBands:
    """Bands to lay over others.

    Attributes:
        distances: (n_k,) where its points stand on the path of the bands [1/Å]; NaN where they are not on it.
        energies: (n_channels, n_k, n_bands) [eV].
        source: what they are: a file, a method.
        fermi_level: [eV], if it is known.
        comparison: numbers, if bands were computed at its k.
    """

    distances: Array
    energies: Array
    source: str
    fermi_level: float | None = None
    comparison: BandComparison | None = None


@dataclass(frozen=True, eq=False)
class BandStructure:
    """Bands along a path.

    Attributes:
        k_frac: (n_k, 3) fractions of the reciprocal lattice of ``cell``.
        distances: (n_k,) length along the path [1/Å].
        branches: (start, stop) of each unbroken part of the path.
        tick_positions: (n_ticks,) [1/Å].
        tick_labels: labels of the high-symmetry points.
        energies: (n_channels, n_k, n_bands) [eV], ascending; +∞ where a state was dropped as linearly dependent.
        spin: ``none``, ``collinear`` (two channels, ↑ and ↓) or ``spinor``.
        smallest_overlap: (n_k,) λ_min of S(k).
        n_dropped: (n_k,) dropped states.
        n_electrons: electrons of the cell; None if not known.
        fermi_level: [eV], found on a mesh from the electron count; None if not known.
        edges: the gap; None for a metal, or if the electron count is not known.
        weights: group → (n_channels, n_k, n_bands) share of a group of orbitals in each state.
        reference: bands to compare with.
        cell: (3, 3) [Å].
        periodic: (3,).
        notes: sentences that a reader of the bands must know.
        metadata: source, structure, settings and versions, as plain JSON values.
    """

    k_frac: Array
    distances: Array
    branches: tuple[tuple[int, int], ...]
    tick_positions: Array
    tick_labels: tuple[str, ...]
    energies: Array
    spin: Spin
    smallest_overlap: Array
    n_dropped: npt.NDArray[np.int64]
    cell: Array
    periodic: npt.NDArray[np.bool_]
    n_electrons: float | None = None
    fermi_level: float | None = None
    edges: BandEdges | None = None
    weights: Mapping[str, Array] = field(default_factory=dict)
    reference: ReferenceBands | None = None
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def zero(self) -> float:
        """Energy from which figures count [eV]: the valence band's top, else the Fermi level, else 0."""
        if self.edges is not None:
            return self.edges.vbm
        return 0.0 if self.fermi_level is None else self.fermi_level

    @property
    def zero_name(self) -> str:
        """Symbol of that energy; empty if energies are absolute."""
        if self.edges is not None:
            return "VBM"
        return "" if self.fermi_level is None else "F"

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the spin channels; one empty name without."""
        return ("↑", "↓") if len(self.energies) == 2 else ("",)

    def label_of(self, k_frac: Array) -> str:
        """Label of a point of the path, or its coordinates: Γ, K, (0.21, 0, 0)."""
        for position, label in zip(self.tick_positions, self.tick_labels, strict=True):
            for index in np.flatnonzero(np.abs(self.distances - position) < 1e-9):
                difference = self.k_frac[index] - k_frac
                if np.allclose(difference, np.round(difference), atol=1e-6) and "|" not in label:
                    return label
        return point_name(k_frac)


def point_name(k_frac: Array) -> str:
    """Coordinates of a point, moved to the cell around Γ: (0.21, 0, 0)."""
    home = np.round(k_frac - np.round(k_frac), 6) + 0.0
    return f"({', '.join(f'{component:.4g}' for component in home)})"
