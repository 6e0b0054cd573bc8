"""Mean and standard deviation over the predictions of several models."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adiabat.models.model import Prediction
from adiabat.models.operator_layout import OperatorBlocks
from adiabat.uncertainty.interface import Spread, UncertainPrediction

_NUMBERS = ("energy", "atomic_energies", "forces", "stress")


def moments(predictions: Sequence[Prediction]) -> UncertainPrediction:
    """ȳ = Σ_k y_k / K and s² = Σ_k (y_k − ȳ)² / (K − 1) of everything that was predicted.

    Args:
        predictions: of K ≥ 2 models for one batch, with the same outputs.
    """
    mean: dict[str, Tensor | OperatorBlocks] = {}
    spread: dict[str, Tensor | OperatorBlocks] = {}
    for name in _NUMBERS:
        values = [getattr(prediction, name) for prediction in predictions]
        if all(value is not None for value in values):
            mean[name], spread[name] = _mean_and_deviation(values)
    blocks = [prediction.hamiltonian for prediction in predictions if prediction.hamiltonian is not None]
    if blocks:
        onsite = _mean_and_deviation([part.onsite for part in blocks])
        pair = _mean_and_deviation([part.pair for part in blocks])
        mean["hamiltonian"], spread["hamiltonian"] = (
            OperatorBlocks(*parts) for parts in zip(onsite, pair, strict=True)
        )
    return UncertainPrediction(Prediction(**mean), Spread(**spread))  # pyright: ignore[reportArgumentType]


def _mean_and_deviation(values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Of K tensors; the deviations from the first are averaged, so that equal values give a spread of exactly zero."""
    stacked = torch.stack([value.detach() for value in values])
    mean = stacked[0] + (stacked - stacked[0]).mean(0)
    return mean, ((stacked - mean).square().sum(0) / (len(values) - 1)).sqrt()
