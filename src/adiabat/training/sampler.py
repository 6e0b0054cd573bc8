"""Which structures make up a step: a pure function of the seed and the step, so that resuming needs no state."""

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Sampler(Protocol):
    """What says which structures make up a step."""

    @property
    def batch_size(self) -> int:
        """Structures a step."""
        ...

    def batch(self, step: int) -> npt.NDArray[np.int64]:
        """Indices of the structures of a step, counted from 0, shape (batch_size,)."""
        ...

    def epoch(self, step: int) -> float:
        """Epochs that are complete before a step, with their fraction."""
        ...


class BatchSampler:
    """An endless stream of shuffled epochs, cut into batches of one size.

    A batch may end one epoch and begin the next: every structure is drawn equally often and no step is smaller,
    hence noisier, than the others.

    Args:
        n_examples: number of structures.
        batch_size: structures a step; at most ``n_examples`` are used.
        seed: of the order of every epoch.
    """

    def __init__(self, n_examples: int, batch_size: int, seed: int) -> None:
        self.n_examples = n_examples
        self.batch_size = min(batch_size, n_examples)
        self.seed = seed
        self._orders: dict[int, npt.NDArray[np.int64]] = {}

    def batch(self, step: int) -> npt.NDArray[np.int64]:
        """Indices of the structures of a step, counted from 0, shape (batch_size,)."""
        return self.drawn(step * self.batch_size, (step + 1) * self.batch_size)

    def drawn(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Indices of the structures at some places of the stream, shape (stop − start,)."""
        drawn = np.arange(start, stop)
        if not len(drawn):
            return drawn
        epochs, places = np.divmod(drawn, self.n_examples)
        if epochs[0] == epochs[-1]:
            return self._order(int(epochs[0]))[places]
        return np.array([self._order(int(epoch))[place] for epoch, place in zip(epochs, places, strict=True)])

    def epoch(self, step: int) -> float:
        """Epochs that are complete before a step, with their fraction."""
        return step * self.batch_size / self.n_examples

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        if epoch not in self._orders:
            kept = {old: order for old, order in self._orders.items() if old == epoch - 1}
            self._orders = {**kept, epoch: np.random.default_rng([self.seed, epoch]).permutation(self.n_examples)}
        return self._orders[epoch]


class TargetSampler:
    """Two streams of shuffled epochs, of the target level of theory and of all others, in a fixed proportion.

    Args:
        is_target: (n_examples,) whether each structure is of the target level; some are, some not.
        batch_size: structures a step.
        seed: of the order of every epoch.
        share: part of the structures drawn that are of the target; by default a half, or their part of all structures
            where that is more.
    """

    def __init__(
        self, is_target: npt.NDArray[np.bool_], batch_size: int, seed: int, share: float | None = None
    ) -> None:
        self.n_examples = len(is_target)
        self.batch_size = min(batch_size, self.n_examples)
        self.share = share or max(0.5, float(is_target.mean()))
        self._members = (np.flatnonzero(is_target), np.flatnonzero(~is_target))
        self._streams = tuple(
            BatchSampler(len(members), batch_size, seed + 1_000_003 * place)
            for place, members in enumerate(self._members)
        )

    def batch(self, step: int) -> npt.NDArray[np.int64]:
        """Indices of the structures of a step, counted from 0, shape (batch_size,)."""
        ends = [self._n_target(step), self._n_target(step + 1)]
        others = [step * self.batch_size - ends[0], (step + 1) * self.batch_size - ends[1]]
        target = self._members[0][self._streams[0].drawn(*ends)]
        return np.concatenate([target, self._members[1][self._streams[1].drawn(*others)]])

    def _n_target(self, step: int) -> int:
        """Structures of the target drawn before a step."""
        return int(np.floor(step * self.batch_size * self.share + 1e-9))

    def epoch(self, step: int) -> float:
        """Epochs of the target's structures that are complete before a step, with their fraction."""
        return self._n_target(step) / len(self._members[0])
