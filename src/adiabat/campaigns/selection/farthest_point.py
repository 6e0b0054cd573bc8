"""Farthest-point choice: each next structure is the one that is least like all before it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def farthest_points(
    candidates: FloatArray, start: FloatArray, n: int, *, weights: Sequence[float] | FloatArray | None = None
) -> list[int]:
    """Greedily take the candidate farthest from the start and from those taken, each distance times its weight.

    Without a start, the first taken is the one of largest weight, or the one farthest from the centre.

    Args:
        candidates: (n_candidates, n_features).
        start: (n_start, n_features) of what is there already; may be empty.
        n: number to take.
        weights: (n_candidates,) positive; all equal by default.

    Returns: indices in the order of choice.
    """
    scale = np.ones(len(candidates)) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(start):
        nearest = np.min([_distances(candidates, point) for point in start], axis=0)
    elif weights is None:
        nearest = _distances(candidates, candidates.mean(axis=0))
    else:
        nearest = np.ones(len(candidates))
    fresh = not len(start)
    chosen: list[int] = []
    free = np.ones(len(candidates), dtype=bool)
    for _ in range(n):
        best = int(np.where(free, nearest * scale, -np.inf).argmax())
        chosen.append(best)
        free[best] = False
        distances = _distances(candidates, candidates[best])
        nearest, fresh = distances if fresh else np.minimum(nearest, distances), False
    return chosen


def _distances(points: FloatArray, point: FloatArray) -> FloatArray:
    return np.linalg.norm(points - point, axis=1)


def standardised(candidates: FloatArray, labelled: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both sets on the scale of the candidates: mean 0, and spread 1 in each feature that varies."""
    spread = candidates.std(axis=0)
    scale = np.where(spread > 1e-9, spread, np.inf)
    centre = candidates.mean(axis=0)
    return (candidates - centre) / scale, (labelled - centre) / scale
