"""Information entropy of a set of environments, and how much a structure would add to it."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from adiabat.campaigns.selection.environments import Environments, FloatArray, joined

_ROWS_AT_ONCE = 1024
"""Environments whose kernels to all others are in memory together."""


def novelty(queries: Environments, reference: Environments, bandwidth: float = 0.015) -> FloatArray:
    """δH(Y|X) = −ln Σ_j K(Y, X_j) of each environment Y, K(X, Y) = exp(−|X − Y|²/2h²), in nats: (n_queries,).

    Below zero where the reference has such environments already, above it where it has none; infinite where it has
    none of that element, for environments of different elements share nothing.

    Args:
        queries: the Y.
        reference: the X.
        bandwidth: h in 1/Å.

    Source: [schwalbekoda2025] eq. 2.
    """
    found = np.full(len(queries.vectors), np.inf)
    for rows, other in _same_element(queries, reference):
        exponents = -_squares(queries.vectors[rows], reference.vectors[other]) / (2 * bandwidth**2)
        found[rows] = -logsumexp(exponents, axis=1)
    return found


def information_entropy(found: Environments, bandwidth: float = 0.015) -> float:
    """H = −1/n Σ_i ln(1/n Σ_j K(X_i, X_j)) in nats: 0 for n equal environments, ln n for n that share nothing.

    Source: [schwalbekoda2025] eq. 1.
    """
    return float((novelty(found, found, bandwidth) + np.log(len(found.vectors))).mean())


def choose_by_entropy(candidates: Environments, labelled: Environments, n: int, bandwidth: float) -> list[int]:
    """Greedily take the structure with which the entropy of all that is labelled becomes largest.

    Args:
        candidates: environments to choose from, by structure.
        labelled: environments that are there already.
        n: number of structures.
        bandwidth: h in 1/Å.

    Returns: indices of candidates in the order of choice.
    """
    n_labelled = len(labelled.vectors)
    everything = joined(labelled, candidates)
    shared = _shared(everything, candidates, bandwidth)
    owner = np.concatenate([np.full(n_labelled, -1), candidates.structure])
    there = owner < 0
    sums = np.exp(-novelty(everything, labelled, bandwidth))
    sizes = np.bincount(candidates.structure, minlength=candidates.n_structures)
    own = np.arange(n_labelled, len(owner))
    chosen: list[int] = []
    for _ in range(n):
        # What is there, and what a candidate brings, each seen with the candidate added.
        logarithms = np.log(sums[there][:, None] + shared[there]).sum(axis=0)
        brought = np.log(sums[own] + shared[own, candidates.structure])
        logarithms += np.bincount(candidates.structure, weights=brought, minlength=candidates.n_structures)
        totals = there.sum() + sizes
        entropies = np.log(totals) - logarithms / totals
        entropies[chosen] = -np.inf
        best = int(entropies.argmax())
        chosen.append(best)
        there |= owner == best
        sums = sums + shared[:, best]
    return chosen


def _shared(rows: Environments, structures: Environments, bandwidth: float) -> FloatArray:
    """(n_rows, n_structures) Σ_j K(X_i, Y_j) over the environments j of each structure."""
    table = np.zeros((len(rows.vectors), structures.n_structures))
    for own, other in _same_element(rows, structures):
        owner = structures.structure[other]
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        kernel = np.exp(-_squares(rows.vectors[own], structures.vectors[other]) / (2 * bandwidth**2))
        table[np.ix_(own, owner[starts])] += np.add.reduceat(kernel, starts, axis=1)
    return table


def _same_element(a: Environments, b: Environments) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Rows of a and of b of one element, a thousand rows of a at a time."""
    for element in np.unique(a.atomic_numbers):
        own, other = np.flatnonzero(a.atomic_numbers == element), np.flatnonzero(b.atomic_numbers == element)
        for start in range(0, len(own) if len(other) else 0, _ROWS_AT_ONCE):
            yield own[start : start + _ROWS_AT_ONCE], other


def _squares(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.maximum((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T, 0)
