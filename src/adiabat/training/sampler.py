"""Which structures make up a step: a pure function of the seed and the step, so that resuming needs no state."""

import numpy as np
import numpy.typing as npt


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
        drawn = step * self.batch_size + np.arange(self.batch_size)
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
