"""A run of the linear family: the same files, scores and model package as any other, around one solve."""

import json
import time
from collections.abc import Mapping
from typing import Any

from adiabat.core.atomic_file import write_atomically
from adiabat.core.interruption import StopRequest, stop_on_signals
from adiabat.models.package import save_model
from adiabat.training.checkpoint import write_checkpoint
from adiabat.training.config import TrainConfig
from adiabat.training.console import RunDisplay
from adiabat.training.linear_fit import fit_linear
from adiabat.training.metrics import describe
from adiabat.training.metrics_log import MetricsLog
from adiabat.training.progress import Progress, TrainingResult
from adiabat.training.run_files import RunFiles, check_resumable
from adiabat.training.scoring import score
from adiabat.training.setup import TrainingSetup


class _Stopped(Exception):  # noqa: N818 - no error, a wish that was granted
    """A signal came between two structures."""


def run_linear_fit(
    config: TrainConfig, setup: TrainingSetup, files: RunFiles, display: RunDisplay, state: Mapping[str, Any] | None
) -> TrainingResult:
    """Fit, score and save.

    A fit takes seconds to minutes and is not cut into steps: one that was killed is begun again by resuming it, and one
    that is done is scored again.

    Args:
        config: the run.
        setup: model and examples.
        files: the run's directory.
        display: where progress is shown.
        state: what the checkpoint of the run that is resumed says; None for a new run.

    Raises:
        ConfigError, TrainingError: resuming as something that the run is not.
    """
    if state is not None:
        check_resumable(state, config, setup.data_hash)
    files.directory.mkdir(parents=True, exist_ok=True)
    settings = config.model_dump(mode="json")
    start = {"progress": Progress().to_json(), "config": settings, "data_hash": setup.data_hash}
    write_checkpoint(files.checkpoint, {}, start)
    write_atomically(files.config, (json.dumps(settings, indent=2) + "\n").encode())
    log = MetricsLog(files.directory, 0, tensorboard=config.training.tensorboard)
    try:
        with stop_on_signals() as stop:
            return _fit(config, setup, files, display, log, stop)
    finally:
        display.close()
        log.close()


def _fit(
    config: TrainConfig, setup: TrainingSetup, files: RunFiles, display: RunDisplay, log: MetricsLog, stop: StopRequest
) -> TrainingResult:
    began = time.monotonic()

    def minutes() -> float:
        return (time.monotonic() - began) / 60

    def report(text: str, done: float) -> None:
        display.work(text, done, minutes())
        if stop:
            raise _Stopped

    try:
        # With energies of free atoms as references, an atom on its own has its reference energy and nothing more.
        source = setup.provenance["statistics"].get("reference_energies", {}).get("source", "")
        constants = source in ("", "least_squares")
        found = fit_linear(setup.model, setup.train, config.linear_fit, report, constants=constants)
    except _Stopped:
        display.line(f"{stop.signal_name}: stopped; run the same command with --resume to begin the fit again")
        model_path = files.model if files.model.exists() else None
        return TrainingResult(stop.signal_name, 0, minutes(), model_path)
    model = setup.model.eval()
    took = minutes()
    display.line(f"{found.summary['n_weights']} weights from {found.summary['n_labels']} labels in {took * 60:.1f} s")
    scores: dict[str, dict[str, float]] = {}
    for kind, examples in (("train", setup.train), ("validation", setup.validation), ("test", setup.test)):
        if examples:
            scores[kind] = score(model, examples, setup.targets, config.training.validation_batch_size)
            log.write(kind, 1, {"epoch": 1.0, "seconds": took * 60, **scores[kind]})
            display.line(f"{kind} {describe(scores[kind])}")
    metrics = {kind: values for kind, values in scores.items() if kind != "train"}
    provenance = {**setup.provenance, "step": 1, "minutes": took, "linear_fit": found.summary, "metrics": metrics}
    save_model(model, files.model, provenance)
    display.line(f"finished after {took:.1f} min; model in {files.model}")
    return TrainingResult("finished", 1, took, files.model, scores.get("validation"), scores.get("test"))
