"""A candidate on its way: not yet held against its start, not yet judged by the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from adiabat.data.structure import Structure
from adiabat.simulation.connectivity import Connectivity, is_broken, is_evaporated, is_too_close


@dataclass(frozen=True, eq=False)
class Draft:
    """A candidate on its way.

    Attributes:
        structure: what may be labelled.
        start: the sound structure that it was made from.
        details: where exactly it comes from.
    """

    structure: Structure
    start: Structure
    details: Mapping[str, Any]


def moved(
    start: Structure, positions: npt.NDArray[np.float64], cell: npt.NDArray[np.float64] | None = None
) -> Structure:
    """The start with its atoms elsewhere; what its ``info`` says of the old place is left behind."""
    return replace(start, positions=positions, cell=start.cell if cell is None else cell, info={})


def matching_start(structure: Structure, starts: Sequence[Structure]) -> Structure | None:
    """The first start with the same atoms in the same order."""
    numbers = structure.atomic_numbers
    return next((start for start in starts if np.array_equal(start.atomic_numbers, numbers)), None)


def why_unphysical(draft: Draft, limits: Connectivity, *, allow_reactions: bool) -> str | None:
    """Why a candidate is not worth a label: ``too close``, ``evaporated``, ``broken``; or None."""
    if is_too_close(draft.structure, limits):
        return "too close"
    if allow_reactions:
        return None
    if is_broken(draft.start, draft.structure, limits) is not None:
        return "broken"
    return "evaporated" if is_evaporated(draft.start, draft.structure, limits) else None
