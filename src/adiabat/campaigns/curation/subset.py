"""Keep the errors, drop the frames: the part of a labelled data set that tells nearly what all of it does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adiabat.campaigns.selection import SelectConfig, select
from adiabat.campaigns.selection.entropy import information_entropy, novelty
from adiabat.campaigns.selection.environments import environments
from adiabat.data.record import Record
from adiabat.data.splits import Split

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Subset:
    """What is kept, and what that leaves uncovered.

    Attributes:
        kept: indices of the frames, in the order of choice.
        n_frames: of the whole data set.
        covered: share of all environments that have one like them, K > e⁻¹ in sum, among those kept.
        entropy: information entropy of the environments kept, in nats.
        entropy_of_all: of all environments.
        largest_force: of the frames kept, over that of all; None without forces.
    """

    kept: tuple[int, ...]
    n_frames: int
    covered: float
    entropy: float
    entropy_of_all: float
    largest_force: float | None

    def split(self, content_hash: str = "") -> Split:
        """Train on what is kept, test on the rest."""
        rest = np.setdiff1d(np.arange(self.n_frames), self.kept)
        return Split(np.sort(np.array(self.kept)), np.zeros(0, dtype=np.int64), rest, "subset", content_hash)


def choose_subset(records: Sequence[Record], n: int, config: SelectConfig, *, seed: int = 0) -> Subset:
    """Choose n labelled frames that stand for all, and say how well they do.

    Args:
        records: all frames.
        n: number to keep.
        config: method of choice; ``variance`` by default.
        seed: of what is drawn at random.

    Raises:
        ConfigError: more frames than there are, or a method that needs a model.
    """
    structures = [record.structure for record in records]
    kept = select(structures, [], config, n, seed=seed)
    everything = environments(structures, cutoff=config.cutoff, n_neighbors=config.n_neighbors)
    part = environments([structures[i] for i in kept], cutoff=config.cutoff, n_neighbors=config.n_neighbors)
    return Subset(
        kept=tuple(kept),
        n_frames=len(records),
        covered=float((novelty(everything, part, config.bandwidth) < 1).mean()) if kept else 0.0,
        entropy=information_entropy(part, config.bandwidth) if kept else 0.0,
        entropy_of_all=information_entropy(everything, config.bandwidth),
        largest_force=_largest_force([records[i] for i in kept], records),
    )


def _largest_force(part: Sequence[Record], everything: Sequence[Record]) -> float | None:
    largest = [
        max((float(np.abs(np.asarray(r.labels["forces"])).max()) for r in group if "forces" in r.labels), default=0.0)
        for group in (part, everything)
    ]
    return largest[0] / largest[1] if largest[1] else None
