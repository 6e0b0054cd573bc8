"""Choose structures by their most uncertain, or newest, atom: one new surrounding in a large cell is not averaged."""

from collections.abc import Sequence

import numpy as np
import torch

from adiabat.campaigns.force_spreads import force_spreads
from adiabat.campaigns.selection.config import SelectConfig
from adiabat.campaigns.selection.entropy import novelty
from adiabat.campaigns.selection.environments import Environments, FloatArray, environments
from adiabat.data.structure import Structure
from adiabat.uncertainty.interface import UncertainModel


def choose_by_atom(
    candidates: Sequence[Structure],
    labelled: Sequence[Structure],
    config: SelectConfig,
    n: int,
    model: UncertainModel | None,
) -> list[int]:
    """Take the structure with the most wanted atom, until there are n, not one surrounding twice.

    Without a model an atom's score is the novelty of its surroundings against all that is labelled or chosen before.
    With one it is the spread of the force on it, times the part of its surroundings that no structure chosen before
    has: 1 − max K.

    Args:
        candidates: structures to choose from.
        labelled: structures with labels.
        config: cutoff, neighbors and bandwidth of the environments.
        n: number to choose.
        model: gives the spread of forces; None for novelty.

    Returns: indices in the order of choice.
    """
    found, known = (
        environments(part, cutoff=config.cutoff, n_neighbors=config.n_neighbors) for part in (candidates, labelled)
    )
    spreads = None
    if model is not None:
        spreads = torch.cat(force_spreads(model, candidates)).norm(dim=-1).numpy()
    scores = novelty(found, known, config.bandwidth) if spreads is None else spreads
    chosen: list[int] = []
    for _ in range(n):
        peaks = np.full(len(candidates), -np.inf)
        np.maximum.at(peaks, found.structure, scores)
        peaks[chosen] = -np.inf
        best = _first_largest(peaks, set(chosen))
        chosen.append(best)
        taken = _of_structure(found, best)
        fresh = novelty(found, taken, config.bandwidth)
        if spreads is None:
            scores = -np.logaddexp(-scores, -fresh)
        else:
            scores = np.minimum(scores, spreads * -np.expm1(-np.maximum(fresh, 0)))
    return chosen


def _first_largest(peaks: FloatArray, taken: set[int]) -> int:
    free = [index for index in range(len(peaks)) if index not in taken]
    return free[int(peaks[free].argmax())]


def _of_structure(found: Environments, index: int) -> Environments:
    own = found.structure == index
    none = np.zeros(int(own.sum()), dtype=np.int64)
    return Environments(found.vectors[own], found.atomic_numbers[own], none, 1)
