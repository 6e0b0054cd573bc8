"""Exponential moving average of the weights: what is validated and saved."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """θ̄ ← θ̄ + (1 − d)·(θ − θ̄), with d = min(decay, (1 + t)/(10 + t)) so that the start is forgotten.

    Args:
        model: the model whose parameters are averaged.
        decay: d after the first steps; 0 follows the weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._parameters = dict(model.named_parameters())
        self._averages = {name: value.detach().clone() for name, value in self._parameters.items()}

    def update(self, step: int) -> None:
        """Take in the weights after step ``step``, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages = list(self._averages.values())
        weights = [value.detach() for value in self._parameters.values()]
        torch._foreach_lerp_(averages, weights, 1 - decay)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]

    @contextmanager
    def applied(self) -> Generator[None]:
        """Let the model hold the averages for the length of a ``with`` block; no copy is made."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for name, parameter in self._parameters.items():
            parameter.data, self._averages[name] = self._averages[name], parameter.data

    def state(self) -> dict[str, Tensor]:
        """Averages by parameter name."""
        return dict(self._averages)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of :meth:`state`."""
        for name, average in self._averages.items():
            average.copy_(state[name])
