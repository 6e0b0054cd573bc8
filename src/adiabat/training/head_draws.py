"""Which head of a shallow ensemble is taught by a structure: a pure function of the seed and the step.

Each structure of a step teaches one head, so that an ensemble costs what one head does. How much it counts is that
head's own: with weights drawn from an exponential distribution, every head sees a data set of its own, as with the
bootstrap, but leaves no structure out. Heads differ by that, by where they start, and by the order of what they see.

Source: [rubin1981] for the weights.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_STREAM = 977
"""Keeps these draws apart from the order of frames, which has the same seed."""


@dataclass(frozen=True, eq=False)
class HeadDraw:
    """Heads of one step.

    Attributes:
        heads: (n_structures,) the head that each structure teaches.
        weights: (n_structures,) how much it counts to that head; 1 on average.
    """

    heads: Tensor
    weights: Tensor


class HeadDraws:
    """Draws for every step of a run.

    Args:
        n_heads: number of heads.
        n_examples: number of training structures.
        seed: of the draws.
        device: of the tensors.
    """

    def __init__(self, n_heads: int, n_examples: int, seed: int, device: torch.device) -> None:
        self.n_heads, self.seed, self.device = n_heads, seed, device
        weights = np.random.default_rng([seed, _STREAM]).exponential(size=(n_heads, n_examples))
        self.weights = weights / weights.mean(axis=1, keepdims=True)

    def draw(self, step: int, indices: npt.NDArray[np.int64]) -> HeadDraw:
        """Heads of the structures of one step."""
        heads = np.random.default_rng([self.seed, _STREAM, step]).integers(self.n_heads, size=len(indices))
        weights = self.weights[heads, indices]
        return HeadDraw(torch.from_numpy(heads).to(self.device), torch.from_numpy(weights).to(self.device))
