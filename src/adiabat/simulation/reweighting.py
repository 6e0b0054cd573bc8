"""What averages over a trajectory would have been on each member's surface, without running it again.

⟨A⟩_k = ⟨A w_k⟩/⟨w_k⟩,  w_k = exp(−β(E_k − E_run))                     exact, for small systems
⟨A⟩_k ≈ ⟨A⟩ − β(⟨A (E_k − E_run)⟩ − ⟨A⟩⟨E_k − E_run⟩)                  first cumulant, for large ones

Differences of total energies grow with the system and soon leave all the weight on one frame; then only the second
means anything. Source: [imbalzano2021].
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch

from adiabat.core.errors import LabelError
from adiabat.core.units import BOLTZMANN
from adiabat.data.graph import collate
from adiabat.data.structure import Structure
from adiabat.models.model import to_numpy
from adiabat.uncertainty.interface import UncertainModel

Array = npt.NDArray[np.float64]
Method = Literal["exponential", "cumulant"]

SMALLEST_SHARE: Final = 0.1
"""Effective frames over frames below which exponential weights are warned about."""

LARGEST_SHIFT: Final = 1.0
"""Standard deviation of β(E_k − E_run) above which a first cumulant is warned about: it is linear in that."""


class ReweightingWarning(UserWarning):
    """An average that rests on few frames, or on an expansion beyond its range."""


@dataclass(frozen=True, eq=False)
class ReweightedAverage:
    """An average over a trajectory, and its spread over the members.

    Attributes:
        mean: over the members, in the observable's shape and unit.
        std: standard deviation over the members: of what is sampled, and of the observable if members differ in it.
        values: (n_members, …) the average of each member.
        effective_frames: (n_members,) (Σw)²/Σw²: how many frames the exponential average of each rests on.
    """

    mean: Array
    std: Array
    values: Array
    effective_frames: Array


def reweighted_average(
    observable: Array,
    member_energies: Array,
    temperature: float,
    *,
    run_energies: Array | None = None,
    method: Method = "exponential",
) -> ReweightedAverage:
    """Averages on each member's surface from frames drawn on another.

    Args:
        observable: (n_frames, …), or (n_members, n_frames, …) where members differ in it.
        member_energies: (n_members, n_frames) E_k of each frame [eV].
        temperature: T of the run [K]; frames must be canonical.
        run_energies: (n_frames,) of the surface that was sampled [eV]; the mean of the members by default.
        method: ``exponential`` or ``cumulant``.

    Raises:
        LabelError: shapes that do not fit.

    Warns:
        ReweightingWarning: few effective frames, or energies too different for a first cumulant.
    """
    n_members, n_frames = member_energies.shape
    if observable.shape[:1] == (n_frames,) and observable.shape[:2] != (n_members, n_frames):
        observable = np.broadcast_to(observable, (n_members, *observable.shape))
    if observable.shape[:2] != (n_members, n_frames):
        raise LabelError(
            f"an observable of shape {observable.shape} for {n_members} members and {n_frames} frames",
            expected=f"({n_frames}, …) or ({n_members}, {n_frames}, …)",
            suggestion="put members first, then frames",
        )
    run = member_energies.mean(axis=0) if run_energies is None else run_energies
    shifts = (member_energies - run) / (BOLTZMANN * temperature)
    shifts = shifts - shifts.mean(axis=1, keepdims=True)
    weights = np.exp(-(shifts - shifts.min(axis=1, keepdims=True)))
    weights /= weights.sum(axis=1, keepdims=True)
    effective = 1.0 / (weights**2).sum(axis=1)
    if method == "cumulant":
        weights = (1.0 - shifts) / n_frames
        _warn_of_range(float(shifts.std(axis=1).max()))
    else:
        _warn_of_few(effective, n_frames)
    values = np.stack([np.tensordot(w, a, axes=1) for w, a in zip(weights, observable, strict=True)])
    return ReweightedAverage(values.mean(axis=0), values.std(axis=0, ddof=1), values, effective)


def member_energies(uncertain: UncertainModel, structures: Sequence[Structure], *, batch: int = 16) -> Array:
    """(n_members, n_structures) energies [eV]."""
    device = next(uncertain.model.parameters()).device
    columns: list[Array] = []
    for first in range(0, len(structures), batch):
        graphs = [uncertain.model.graph(one, ("energy",)) for one in structures[first : first + batch]]
        graph = collate(graphs).to(device)
        with torch.no_grad():
            columns.append(np.stack([to_numpy(member(graph, ("energy",)).energy) for member in uncertain.members]))
    return np.concatenate(columns, axis=1)


def _warn_of_few(effective: Array, n_frames: int) -> None:
    if effective.min() < SMALLEST_SHARE * n_frames:
        warnings.warn(
            f"{effective.min():.1f} effective of {n_frames} frames for one member: the average rests on few. "
            "Use method='cumulant', or sample longer",
            ReweightingWarning,
            stacklevel=3,
        )


def _warn_of_range(spread: float) -> None:
    if spread > LARGEST_SHIFT:
        warnings.warn(
            f"energies of one member differ from the run's by {spread:.2g} k_B T: a first cumulant is linear in that. "
            "Take the spread for its order of magnitude only",
            ReweightingWarning,
            stacklevel=3,
        )
