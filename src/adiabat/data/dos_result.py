"""Densities of states as they are saved, read again and drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from adiabat.core.operators import Spin
from adiabat.data.band_structure import BandEdges

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DensityOfStates:
    """A density of states over energies.

    Attributes:
        grid: (n_grid,) energies [eV].
        total: (n_channels, n_grid) [states/eV/cell]; without spin both spins are counted.
        projections: group → (n_channels, n_grid) part of the density on a group of orbitals.
        spin: ``none``, ``collinear`` (two channels, ↑ and ↓) or ``spinor``.
        method: ``gaussian``, ``tetrahedron`` or ``kpm``.
        width: broadening [eV]; 0 for tetrahedra, the resolution for KPM.
        n_electrons: electrons of the cell; None if not known.
        fermi_level: [eV]; None if not known.
        edges: the gap; None for a metal or if it was not looked for.
        notes: sentences that a reader must know.
        metadata: source, structure, settings and versions, as plain JSON values.
    """

    grid: Array
    total: Array
    spin: Spin
    method: str
    width: float
    projections: Mapping[str, Array] = field(default_factory=dict)
    n_electrons: float | None = None
    fermi_level: float | None = None
    edges: BandEdges | None = None
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
    def integrated(self) -> Array:
        """(n_grid,) electrons between the lowest energy of the grid and each energy, by the trapezoidal rule."""
        density = self.total.sum(axis=0)
        steps = np.diff(self.grid) * (density[1:] + density[:-1]) / 2
        return np.concatenate([[0.0], np.cumsum(steps)])
