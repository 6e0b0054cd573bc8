"""The one trainer: from a configuration to a model package, whatever happens on the way."""

import json
import resource
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from adiabat.core.atomic_file import write_atomically
from adiabat.core.interruption import StopRequest, stop_on_signals
from adiabat.training.checkpoint import read_checkpoint
from adiabat.training.config import LoopConfig, TrainConfig
from adiabat.training.console import RunDisplay, end_time
from adiabat.training.linear_run import run_linear_fit
from adiabat.training.loop import TrainingLoop, architecture
from adiabat.training.metrics import describe
from adiabat.training.metrics_log import MetricsLog
from adiabat.training.progress import TrainingResult
from adiabat.training.run_files import RunFiles, check_resumable
from adiabat.training.scoring import score
from adiabat.training.setup import TrainingSetup, prepare

deterministic_settings: Any = torch.utils.deterministic  # typed as a module without its one attribute
_STEPS_BEFORE_ESTIMATE = 20


class Trainer:
    """Train a model on energies, forces, stress and Hamiltonians, apart or together.

    Args:
        config: the whole run.
        run_directory: for ``checkpoint.safetensors``, ``model.safetensors``, ``metrics.jsonl`` and ``config.json``.
        setup: model and examples, if they are prepared already.
        console: where progress is printed; stderr by default.
    """

    def __init__(
        self,
        config: TrainConfig,
        run_directory: str | Path,
        *,
        setup: TrainingSetup | None = None,
        console: Console | None = None,
    ) -> None:
        self.config = config
        self.files = RunFiles(Path(run_directory))
        self.console = console or Console(stderr=True)
        self._setup = setup

    def fit(self, *, resume: bool = False) -> TrainingResult:
        """Train to the end of the schedule, to early stopping, or to SIGINT or SIGTERM.

        A new run is made of a checkpoint at step 0, steps, validations and checkpoints at their intervals, and at
        the end the scores on the test frames and the model package. An interrupted run leaves a checkpoint. A model of
        the linear family is not trained in steps but fitted in one go; see :func:`run_linear_fit`.

        Args:
            resume: go on from the checkpoint in the run directory instead of beginning.

        Raises:
            TrainingError: a loss that is not finite, or a directory that holds a run already.
            ConfigError: resuming with another configuration.
            LabelError: a target that no frame is labelled with.
        """
        saved = read_checkpoint(self.files.checkpoint) if resume else None
        if saved is None:
            self.files.check_unused()
        with _reproducible(self.config.training):
            setup = self._setup or prepare(self.config, resumed=None if saved is None else architecture(saved[1]))
            if self.config.model.family == "linear-ace":
                return run_linear_fit(
                    self.config, setup, self.files, RunDisplay(self.console), None if saved is None else saved[1]
                )
            loop = self._begin(setup, saved)
            log = MetricsLog(self.files.directory, loop.progress.step, tensorboard=self.config.training.tensorboard)
            display = RunDisplay(self.console)
            for line in setup.notes:
                display.line(line)
            try:
                with stop_on_signals() as stop:
                    reason = self._run(loop, log, display, stop)
                return self._finish(loop, log, display, reason)
            finally:
                display.close()
                log.close()

    def _begin(
        self, setup: TrainingSetup, saved: tuple[Mapping[str, Mapping[str, Tensor]], Mapping[str, Any]] | None
    ) -> TrainingLoop:
        loop = TrainingLoop(self.config, setup, self.files)
        if saved is not None:
            check_resumable(saved[1], self.config, setup.data_hash)
            loop.restore(*saved)
        else:
            self.files.directory.mkdir(parents=True, exist_ok=True)
            loop.save_checkpoint()
        settings = self.config.model_dump(mode="json")
        write_atomically(self.files.config, (json.dumps(settings, indent=2) + "\n").encode())
        return loop

    def _run(self, loop: TrainingLoop, log: MetricsLog, display: RunDisplay, stop: StopRequest) -> str:
        """Loop until something ends it; returns what."""
        settings = self.config.training
        first_step, first_elapsed = loop.progress.step, loop.progress.elapsed
        loop.start_clock()
        while loop.done < 1:
            loop.step()
            step = loop.progress.step
            if step % settings.log_interval == 0:
                values = loop.training_metrics()
                log.write("train", step, values)
                display.train(step, loop.done, loop.progress.elapsed / 60, values)
            if step - first_step == _STEPS_BEFORE_ESTIMATE:
                display.line(_estimate(loop, (loop.progress.elapsed - first_elapsed) / _STEPS_BEFORE_ESTIMATE))
            if loop.setup.validation and step % settings.validation_interval == 0:
                self._validate(loop, log, display)
            if step % settings.checkpoint_interval == 0:
                loop.save_checkpoint()
            if settings.patience is not None and loop.progress.stalled >= settings.patience:
                return "early stopping"
            if stop.signal_name:
                loop.save_checkpoint()
                return stop.signal_name
        return "finished"

    def _validate(self, loop: TrainingLoop, log: MetricsLog, display: RunDisplay) -> None:
        values, improved = loop.validate()
        log.write("validation", loop.progress.step, {"epoch": loop.sampler.epoch(loop.progress.step), **values})
        display.validation(loop.progress.step, values, improved)

    def _finish(self, loop: TrainingLoop, log: MetricsLog, display: RunDisplay, reason: str) -> TrainingResult:
        step, minutes = loop.progress.step, loop.progress.elapsed / 60
        if reason.startswith("SIG"):
            display.line(
                f"{reason}: stopped after step {step}, all saved in {self.files.directory}; "
                "run the same command with --resume to go on"
            )
            model_path = self.files.model if self.files.model.exists() else None
            return TrainingResult(reason, step, minutes, model_path, loop.progress.best_metrics)
        settings = self.config.training
        if loop.setup.validation and step % settings.validation_interval:
            self._validate(loop, log, display)
        loop.save_checkpoint()
        loop.use_result()
        metrics: dict[str, Any] = {"validation": loop.progress.best_metrics} if loop.progress.best_metrics else {}
        test = None
        if loop.setup.test:
            test = score(loop.model, loop.setup.test, loop.setup.targets, settings.validation_batch_size)
            log.write("test", step, test)
            metrics["test"] = test
            display.line(f"test {describe(test)}")
        loop.save_package(metrics)
        display.line(f"{reason} after {step} steps and {minutes:.1f} min; model in {self.files.model}")
        return TrainingResult(reason, step, minutes, self.files.model, loop.progress.best_metrics, test)


def _estimate(loop: TrainingLoop, seconds_per_step: float) -> str:
    """One line on the size of the run, from its first steps."""
    n_parameters = sum(value.numel() for value in loop.model.parameters())
    n_examples = len(loop.setup.train)
    n_edges = sum(example.graph.n_edges for example in loop.setup.train) / n_examples
    schedule = loop.config.schedule
    limits = []
    if schedule.max_steps is not None:
        limits.append((schedule.max_steps - loop.progress.step) * seconds_per_step / 60)
    if schedule.max_minutes is not None:
        limits.append(schedule.max_minutes - loop.progress.elapsed / 60)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds_per_epoch = seconds_per_step * n_examples / loop.sampler.batch_size
    return (
        f"{n_parameters} parameters · {n_examples} structures of {n_edges:.0f} edges · "
        f"{seconds_per_step * 1e3:.1f} ms/step, {seconds_per_epoch:.2f} s/epoch · "
        f"{memory:.0f} MB · ends about {end_time(min(limits))}"
    )


@contextmanager
def _reproducible(settings: LoopConfig) -> Generator[None]:
    """Fix the thread count and, on CPU, PyTorch's deterministic algorithms while a run lasts."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill = deterministic_settings.fill_uninitialized_memory
    if settings.num_threads is not None:
        torch.set_num_threads(settings.num_threads)
    if settings.device == "cpu":
        torch.use_deterministic_algorithms(True)
        deterministic_settings.fill_uninitialized_memory = False  # costs time, changes nothing for us
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        deterministic_settings.fill_uninitialized_memory = fill
