"""The band gap, and where its edges are."""

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.electronic.bands import BandStates
from adiabat.electronic.fermi import band_edges, insulating_counts, metal_reason

_SAME_ENERGY: Final = 1e-6
"""Energies [eV] closer than this are one edge: a gap is direct if the direct gap exceeds it by less."""


@dataclass(frozen=True)
class BandGap:
    """Edges of the bands on the k points that were solved.

    Attributes:
        gap: cbm − vbm [eV].
        direct_gap: smallest distance of the lowest empty from the highest occupied state at one k [eV], whatever
            their spins.
        vbm: highest occupied energy [eV].
        cbm: lowest empty energy [eV].
        k_vbm: (3,) where the highest occupied state is, in fractions of the reciprocal lattice.
        k_cbm: (3,) where the lowest empty state is.
        k_direct: (3,) where the direct gap is smallest.
        vbm_channel: spin channel of the highest occupied state: 0, or 1 for ↓ of collinear spins.
        cbm_channel: spin channel of the lowest empty state.
        n_occupied: occupied bands of each channel.
    """

    gap: float
    direct_gap: float
    vbm: float
    cbm: float
    k_vbm: Float[Tensor, "3"]
    k_cbm: Float[Tensor, "3"]
    k_direct: Float[Tensor, "3"]
    vbm_channel: int
    cbm_channel: int
    n_occupied: tuple[int, ...]

    @property
    def is_direct(self) -> bool:
        """Whether the edges are at one k, among points of equal energy too."""
        return self.direct_gap - self.gap < _SAME_ENERGY

    @property
    def fermi_level(self) -> float:
        """Middle of the gap [eV]."""
        return (self.vbm + self.cbm) / 2


def band_gap(states: BandStates, n_electrons: float, max_occupation: int) -> BandGap:
    """Find the gap on the k points that were solved, a mesh or a path.

    Args:
        states: bands; a gap is only as good as the k points, which may miss the edges.
        n_electrons: in one cell.
        max_occupation: electrons that one state holds.

    Raises:
        ElectronicError: a metal, with the overlap of its bands; or no empty band in the basis.
    """
    counts = insulating_counts(states.energies, n_electrons, max_occupation)
    if counts is None:
        raise ElectronicError(
            f"the gap of a metal: {metal_reason(states.energies, n_electrons, max_occupation)}",
            expected="an insulator: the same bands occupied at every k, below all empty ones",
            suggestion="ask for the density of states or the Fermi level instead; if it should have a gap, check the "
            "electron count",
        )
    top, bottom = band_edges(states.energies, counts)
    if bool(torch.isinf(bottom.min())):
        raise ElectronicError(
            f"{n_electrons:g} electrons, which fill all {states.energies.shape[-1]} bands",
            expected="at least one empty band",
            suggestion="use a larger basis; a minimal one may have no empty states",
        )
    n_k = len(states.k_frac)
    at_vbm, at_cbm = int(top.argmax()), int(bottom.argmin())
    direct = bottom.amin(dim=0) - top.amax(dim=0)
    vbm, cbm = float(top.max()), float(bottom.min())
    return BandGap(
        gap=cbm - vbm,
        direct_gap=float(direct.min()),
        vbm=vbm,
        cbm=cbm,
        k_vbm=states.k_frac[at_vbm % n_k],
        k_cbm=states.k_frac[at_cbm % n_k],
        k_direct=states.k_frac[int(direct.argmin())],
        vbm_channel=at_vbm // n_k,
        cbm_channel=at_cbm // n_k,
        n_occupied=tuple(counts),
    )
