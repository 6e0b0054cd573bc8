"""Which structure made a step's gradient something that is not a number."""

from collections.abc import Sequence

import torch

from adiabat.core.errors import TrainingError
from adiabat.models.model import Model
from adiabat.training.batches import Example, join
from adiabat.training.config import TargetsConfig
from adiabat.training.losses import errors, total_loss


def nonfinite_error(
    model: Model, examples: Sequence[Example], targets: TargetsConfig, step: int, checkpoint: str
) -> TrainingError:
    """Try each structure of a step alone and name those whose loss or gradient is not finite.

    Args:
        model: with weights that are still finite.
        examples: the structures of the step.
        targets: what was learned.
        step: number of the step, for the message.
        checkpoint: what is kept, for the message.
    """
    guilty = [example.name for example in examples if not _is_finite(model, example, targets)]
    if len(guilty) == len(examples) > 1:
        who = f"from each of the structures {', '.join(guilty)}: the weights have diverged"
        advice = "lower optimizer.learning_rate or optimizer.clip_norm, or raise schedule.warmup_steps"
    elif guilty:
        who = f"from {', '.join(guilty)}"
        advice = "look at this structure with `adiabat data inspect`, exclude it (data.train.exclude), and start again"
    else:
        who = f"only from these structures together: {', '.join(example.name for example in examples)}"
        advice = "the numbers outgrow float32: lower optimizer.learning_rate, or set training.dtype to float64"
    return TrainingError(
        f"a loss or gradient that is not a finite number in step {step}, {who}",
        expected="finite numbers",
        suggestion=f"{advice}; {checkpoint}",
    )


def _is_finite(model: Model, example: Example, targets: TargetsConfig) -> bool:
    model.zero_grad(set_to_none=True)
    batch = join([example])
    loss = total_loss(errors(model(batch.graph, batch.outputs), batch), batch, targets, model)
    loss.backward()
    gradients = [value.grad for value in model.parameters() if value.grad is not None]
    return bool(loss.isfinite()) and all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
