"""The loop of a run: a step, a validation, a checkpoint, and the way back from one."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adiabat.core.errors import TrainingError
from adiabat.models.config import ModelConfig
from adiabat.models.package import save_model
from adiabat.training.batches import Batch, join
from adiabat.training.checkpoint import read_checkpoint, write_checkpoint
from adiabat.training.config import TrainConfig
from adiabat.training.ema import ExponentialMovingAverage
from adiabat.training.head_draws import HeadDraws
from adiabat.training.losses import add_errors, errors, total_loss
from adiabat.training.metrics import ErrorSums
from adiabat.training.nonfinite import nonfinite_error
from adiabat.training.optimizer import ClippedAdam
from adiabat.training.progress import Progress
from adiabat.training.run_files import RunFiles
from adiabat.training.sampler import BatchSampler, Sampler, TargetSampler
from adiabat.training.schedule import progress, rate_factor
from adiabat.training.scoring import score
from adiabat.training.setup import TrainingSetup


class TrainingLoop:
    """Model, optimizer, averages and position of a run.

    Args:
        config: the run's configuration.
        setup: model and examples.
        files: where checkpoints and the model go.
    """

    def __init__(self, config: TrainConfig, setup: TrainingSetup, files: RunFiles) -> None:
        self.config, self.setup, self.files = config, setup, files
        self.model = setup.model.train()
        self.optimizer = ClippedAdam(self.model, config.optimizer)
        self.averages = ExponentialMovingAverage(self.model, config.training.ema_decay)
        self.sampler = _sampler(config, setup)
        self.heads = _head_draws(config, setup)
        self.progress = Progress()
        self.gradient_norm = torch.zeros(())
        self._best_weights: dict[str, Tensor] = {}
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=next(self.model.parameters()).device)
        self._unchecked: list[tuple[int, Tensor]] = []
        self._check_interval = 1 if self._loss_sum.device.type == "cpu" else config.training.log_interval
        self._last: tuple[Mapping[str, tuple[Tensor, ...]], Batch] | None = None
        self._clock = time.monotonic()

    @property
    def done(self) -> float:
        """Fraction of the run that is done."""
        return progress(self.config.schedule, self.progress.step, self.progress.elapsed / 60)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return self.config.optimizer.learning_rate * self._rate_factor()

    def start_clock(self) -> None:
        """Count time from now on."""
        self._clock = time.monotonic()

    def step(self) -> None:
        """Take one optimizer step.

        Raises:
            TrainingError: the loss or its gradient is not finite; the structure is named.
        """
        state = self.progress
        indices = self.sampler.batch(state.step)
        batch = join([self.setup.train[index] for index in indices])
        if self.heads is None:
            found = errors(self.model(batch.graph, batch.outputs), batch)
            loss = total_loss(found, batch, self.setup.targets, self.model)
        else:
            draw = self.heads.draw(state.step, indices)
            found = errors(self.model(batch.graph, batch.outputs, heads=draw.heads), batch)
            loss = total_loss(found, batch, self.setup.targets, self.model, draw.weights)
        self.optimizer.zero_grad()
        loss.backward()
        self.gradient_norm = self.optimizer.clip()
        loss = loss.detach()
        self._unchecked.append((state.step, self.gradient_norm + 0 * loss))
        if len(self._unchecked) >= self._check_interval:
            self.check_finite()
        self.optimizer.step(self._rate_factor())
        state.step += 1
        state.steps_since_log += 1
        self.averages.update(state.step)
        self._loss_sum += loss
        self._last = (found, batch)
        now = time.monotonic()
        state.elapsed += now - self._clock
        self._clock = now

    def _rate_factor(self) -> float:
        return rate_factor(self.config.schedule, self.progress.step, self.done, self.progress.plateau)

    def check_finite(self) -> None:
        """Look at all steps since the last look; on a GPU that waits for the device, so it is not done each step.

        Raises:
            TrainingError: a loss or gradient was not finite.
        """
        if not self._unchecked:
            return
        finite = torch.stack([value for _, value in self._unchecked]).isfinite().tolist()
        steps = [step for step, _ in self._unchecked]
        self._unchecked.clear()
        if all(finite):
            return
        bad_step = steps[finite.index(False)]
        if bad_step != self.progress.step:
            # The bad gradient went into the weights before it was noticed: look with the last good ones.
            self.restore(*read_checkpoint(self.files.checkpoint))
        examples = [self.setup.train[index] for index in self.sampler.batch(bad_step)]
        kept = f"the run's checkpoint from before is kept in {self.files.checkpoint}"
        raise nonfinite_error(self.model, examples, self.setup.targets, bad_step, kept)

    def training_metrics(self) -> dict[str, float]:
        """Mean loss since the last call, errors of the latest batch, learning rate and times."""
        state = self.progress
        assert self._last is not None
        sums = ErrorSums()
        add_errors(sums, *self._last)
        values = {
            "epoch": self.sampler.epoch(state.step),
            "loss": self._loss_sum.item() / state.steps_since_log,
            **sums.results(),
            "learning_rate": self.learning_rate,
            "gradient_norm": self.gradient_norm.item(),
            "seconds": state.elapsed,
        }
        self._loss_sum.zero_()
        state.steps_since_log = 0
        return values

    def validate(self) -> tuple[dict[str, float], bool]:
        """Score the averaged weights; keep and save them if they are the best so far.

        Returns: the errors, and whether they are the best.

        Raises:
            TrainingError: the validation loss is not finite.
        """
        training = self.config.training
        with self.averages.applied():
            values = score(self.model, self.setup.validation, self.setup.targets, training.validation_batch_size)
        key = "loss" if training.select_by == "loss" else f"{training.select_by}_mae"
        if not values[key] < float("inf"):
            raise TrainingError(
                f"a validation {key} of {values[key]} at step {self.progress.step}",
                expected="a finite number",
                suggestion=f"lower optimizer.learning_rate; the checkpoint before is {self.files.checkpoint}",
            )
        improved = self.progress.observe(values[key], values)
        self.progress.plateau.observe(improved, self.config.schedule)
        if improved:
            self._best_weights = {name: value.clone() for name, value in self.averages.state().items()}
            self.save_package({"validation": values})
        return values, improved

    def use_result(self) -> None:
        """Put the weights that the run is about into the model: the best validated, or the last averages."""
        self.averages.load(self._best_weights or self.averages.state())
        for name, value in self.model.named_parameters():
            value.data.copy_(self.averages.state()[name])
        self.model.eval()

    def save_package(self, metrics: Mapping[str, Any]) -> None:
        """Write the averaged weights as a model package."""
        provenance = {**self.setup.provenance, "step": self.progress.step, "minutes": self.progress.elapsed / 60}
        with self.averages.applied():
            save_model(self.model, self.files.model, {**provenance, "metrics": dict(metrics)})

    def save_checkpoint(self) -> None:
        """Replace the checkpoint.

        Raises:
            TrainingError: the steps since the last look were not finite; the old checkpoint stays.
        """
        self.check_finite()
        groups = {
            "model": self.model.state_dict(),
            "averages": self.averages.state(),
            "optimizer": self.optimizer.state(),
            "best": self._best_weights,
            "random": {"cpu": torch.get_rng_state()},
            "log": {"loss_sum": self._loss_sum},
        }
        state = {
            "progress": self.progress.to_json(),
            "config": self.config.model_dump(mode="json"),
            "data_hash": self.setup.data_hash,
            "model": self.model.config.model_dump(mode="json"),
            "init_model": self.setup.provenance.get("init_model"),
        }
        write_checkpoint(self.files.checkpoint, groups, state)

    def restore(self, groups: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
        """Go back to a checkpoint, bit for bit."""
        self.model.load_state_dict(groups["model"])
        self.averages.load(groups["averages"])
        self.optimizer.load(groups.get("optimizer", {}))  # empty before the first step
        self._best_weights = {name: value.clone() for name, value in groups.get("best", {}).items()}
        torch.set_rng_state(groups["random"]["cpu"])
        self._loss_sum.copy_(groups["log"]["loss_sum"])
        self.progress = Progress.from_json(state["progress"])
        if state.get("init_model"):
            provenance = {**self.setup.provenance, "init_model": state["init_model"]}
            self.setup = replace(self.setup, provenance=provenance)


def architecture(state: Mapping[str, Any]) -> ModelConfig | None:
    """Architecture of the run that a checkpoint is of; None for a checkpoint that does not hold it."""
    return ModelConfig.model_validate(state["model"]) if state.get("model") else None


def _sampler(config: TrainConfig, setup: TrainingSetup) -> Sampler:
    settings = config.training
    if setup.model.config.fidelities:
        is_target = np.array([int(example.graph.fidelity_index) == 0 for example in setup.train])
        return TargetSampler(is_target, settings.batch_size, settings.seed, settings.target_share)
    return BatchSampler(len(setup.train), settings.batch_size, settings.seed)


def _head_draws(config: TrainConfig, setup: TrainingSetup) -> HeadDraws | None:
    """Draws of heads, where the model has several."""
    if setup.model.energy_head is None or setup.model.config.ensemble == 1:
        return None
    device = next(setup.model.parameters()).device
    return HeadDraws(setup.model.config.ensemble, len(setup.train), config.training.seed, device)
