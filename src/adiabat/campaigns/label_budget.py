"""How to spend a budget of CPU time on labels of several levels of theory: which structures, at which level."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.campaigns.fidelity_choice import LevelLabels, choose, covariance_after, learn_levels
from adiabat.campaigns.selection.ace_rows import AceRows
from adiabat.core.errors import ConfigError, LabelError
from adiabat.data.record import Record
from adiabat.data.structure import Structure

MAX_CANDIDATES: Final = 300
"""Every label that is bought weighs all candidates anew; more than this many would take hours."""
_N_FEATURES: Final = 200
_LEARNING_ROWS: Final = 1500
"""Force components from which the levels' variances are learned; the time goes as their cube."""


def plan_labels(
    candidates: Sequence[Structure],
    labelled: Mapping[str, Sequence[Record]],
    costs: Mapping[str, float],
    budget: float,
    *,
    cutoff: float = 5.0,
) -> list[tuple[int, str]]:
    """Labels to compute, in order, so that the forces of the last level become known best for the CPU time.

    Args:
        candidates: structures to choose from, which also stand for what is to be known; :data:`MAX_CANDIDATES` at most.
        labelled: records with forces by level, the cheapest level first, the one to be known last; two or more
            structures a level, best the same ones at each.
        costs: of one label at each level [CPU-s].
        budget: sum of costs [CPU-s].
        cutoff: radius of the environments in Å.

    Returns: index of the candidate and name of the level, of labels that do not exist yet.

    Raises:
        ConfigError: too many candidates or none, or a level without a cost above zero.
        LabelError: a level with fewer than two structures with forces.
    """
    if not 0 < len(candidates) <= MAX_CANDIDATES:
        raise ConfigError(
            f"{len(candidates)} candidates",
            expected=f"1 to {MAX_CANDIDATES}",
            suggestion=f"thin them out first: adiabat data select CANDIDATES -n {MAX_CANDIDATES} -o fewer.xyz",
        )
    levels = list(labelled)
    known = {name: [record for record in records if "forces" in record.labels] for name, records in labelled.items()}
    for name, records in known.items():
        if len(records) < 2:
            raise LabelError(
                f"{len(records)} structures with forces at level {name!r}",
                expected="two or more of every level, best of the same structures",
                suggestion="label a few of the candidates at each level first",
            )
    everything = [*candidates, *(record.structure for records in known.values() for record in records)]
    ace = AceRows(np.concatenate([structure.atomic_numbers for structure in everything]).tolist(), cutoff)
    mixing = ace.mixing(everything, _N_FEATURES)
    free = [found.forces for found in ace.rows(candidates, mixing)]
    labels = [
        LevelLabels(levels.index(name), found.forces, _forces(record))
        for name, records in known.items()
        for record, found in zip(records, ace.rows([record.structure for record in records], mixing), strict=True)
    ]
    model = learn_levels(_sample(labels, len(levels)), len(levels))
    hashes = {structure.content_hash: index for index, structure in enumerate(candidates)}
    taken = [
        (hashes[record.structure.content_hash], name)
        for name, records in known.items()
        for record in records
        if record.structure.content_hash in hashes
    ]
    covariance = covariance_after(model, mixing.shape[1], labels)
    return choose(free, levels, costs, model, covariance, np.concatenate(free), budget, taken)


def _forces(record: Record) -> npt.NDArray[np.float64]:
    return np.asarray(record.labels["forces"], dtype=np.float64).ravel()


def _sample(labels: Sequence[LevelLabels], n_levels: int) -> list[LevelLabels]:
    """The first structures of each level, as many as the time allows; two at least."""
    share = _LEARNING_ROWS // n_levels
    chosen: list[LevelLabels] = []
    for level in range(n_levels):
        own = [part for part in labels if part.level == level]
        ends = np.cumsum([len(part.values) for part in own])
        chosen += own[: max(2, int(np.searchsorted(ends, share, side="right")))]
    return chosen
