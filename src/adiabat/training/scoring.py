"""Errors of a model over a whole set of examples."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch

from adiabat.models.model import Model
from adiabat.training.batches import Example, join
from adiabat.training.config import TargetsConfig
from adiabat.training.losses import add_errors, errors, total_loss
from adiabat.training.metrics import ErrorSums

_DERIVATIVES = ("forces", "stress")


def score(model: Model, examples: Sequence[Example], targets: TargetsConfig, batch_size: int) -> dict[str, float]:
    """Loss, MAE and RMSE, in the units of :data:`adiabat.training.metrics.UNITS`.

    Returns: ``loss`` (mean over structures) and ``{quantity}_mae``, ``{quantity}_rmse``.
    """
    sums = ErrorSums()
    loss = 0.0
    training = model.training
    model.eval()
    no_derivative = not any(name in targets.active for name in _DERIVATIVES)
    with torch.no_grad() if no_derivative else nullcontext():
        for start in range(0, len(examples), batch_size):
            chunk = examples[start : start + batch_size]
            batch = join(chunk)
            found = errors(model(batch.graph, batch.outputs), batch)
            add_errors(sums, found, batch)
            loss += total_loss(found, batch, targets, model).item() * len(chunk)
    model.train(training)
    return {"loss": loss / len(examples), **sums.results()}
