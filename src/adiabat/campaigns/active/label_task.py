"""What a worker does for one label."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from adiabat.campaigns.active.disk import disk_full, is_full
from adiabat.campaigns.active.spool import Spool, SpooledFailure, worker_name
from adiabat.core import errors
from adiabat.core.errors import AdiabatError, EngineError, MissingExtraError
from adiabat.data.record import Record
from adiabat.data.record_codec import decode_record, encode_record
from adiabat.engines.registry import create_engine

OutcomeKind = Literal["spooled", "failed", "engine-missing", "disk-full", "no-directory", "interrupted"]


@dataclass(frozen=True)
class Outcome:
    """What a task says of itself; its result lies on the file system.

    Attributes:
        kind: ``spooled``: the result is there, be it an error of the structure's; else why it is not.
        error: class and three parts, where there is one.
    """

    kind: OutcomeKind
    error: Mapping[str, str] | None = None

    @classmethod
    def of(cls, kind: OutcomeKind, error: AdiabatError) -> "Outcome":
        """With the parts of an error."""
        parts = {"got": error.got, "expected": error.expected, "suggestion": error.suggestion}
        return cls(kind, {"kind": type(error).__name__, **parts})

    def to_error(self) -> AdiabatError:
        """The error again, of its own class if the class is one of ours."""
        parts = dict(self.error or {"kind": "", "got": self.kind, "expected": "a result", "suggestion": "run it again"})
        found = getattr(errors, parts.pop("kind"), EngineError)
        return found(parts.pop("got"), **parts)


@dataclass(frozen=True)
class LabelTask:
    """A job as it travels to a worker.

    Attributes:
        directory: the campaign's, on a file system that the worker shares.
        campaign: its id.
        source: its name, for the provenance.
        key: of the job.
        engine: name in the registry.
        options: its settings in this attempt.
        targets: labels to compute.
        structure: an encoded record without labels.
        attempt: 0-based.
        generation: number of the cluster.
        max_deaths: processes that it may cost.
    """

    directory: str
    campaign: str
    source: str
    key: str
    engine: str
    options: Mapping[str, Any]
    targets: tuple[str, ...]
    structure: bytes
    attempt: int
    generation: int
    max_deaths: int


def label_job(task: LabelTask) -> Outcome:
    """Compute a label and spool it, unless it is there already.

    Two workers with one job do not compute at the same time: the second waits and finds the first one's answer.
    """
    spool = Spool(Path(task.directory))
    if not spool.belongs_to(task.campaign):
        return Outcome.of("no-directory", unseen(task.directory))
    try:
        return _label(task, spool)
    except OSError as error:
        if not is_full(error):
            raise
        return Outcome.of("disk-full", disk_full(f"{spool.path} on {worker_name()}", str(error)))


def unseen(directory: str) -> EngineError:
    """The error of a worker that does not see the campaign."""
    return EngineError(
        f"worker {worker_name()}, which does not see {directory}",
        expected="workers that share the campaign's directory, under the same path",
        suggestion="put the campaign on a file system that all nodes mount",
    )


def _label(task: LabelTask, spool: Spool) -> Outcome:
    with spool.job(task.key) as journal:
        if spool.has_label(task.key) or spool.has_failure(task.key, task.attempt):
            return Outcome("spooled")
        if (
            deaths := journal.n_deaths(task.generation)
        ) >= task.max_deaths or journal.n_deaths() >= 3 * task.max_deaths:
            spool.write_failure(_failure(task, deadly(deaths), 0.0, final=True))
            return Outcome("spooled")
        started = time.monotonic()
        try:
            engine = create_engine(task.engine, **task.options)
        except (AdiabatError, ImportError) as error:
            return Outcome.of("engine-missing", _missing(task, error))
        journal.begin(task.attempt, task.generation)
        try:
            record = engine.label(decode_record(task.structure).structure, task.targets)
        except (MissingExtraError, ImportError) as error:
            journal.end()
            return Outcome.of("engine-missing", _missing(task, error))
        except AdiabatError as error:
            # Only a calculation that was tried and failed may go better with other settings.
            final = not isinstance(error, EngineError)
            spool.write_failure(_failure(task, error, time.monotonic() - started, final=final))
            journal.end()
            return Outcome("spooled")
        record = Record(record.structure, record.labels, replace(record.provenance, source=task.source))
        spool.write_label(task.key, encode_record(record), task.attempt, worker_name(), time.monotonic() - started)
        journal.end()
        return Outcome("spooled")


def _missing(task: LabelTask, error: AdiabatError | ImportError) -> EngineError:
    if isinstance(error, AdiabatError):
        got, expected, suggestion = error.got, error.expected, error.suggestion
    else:
        got, expected, suggestion = str(error), f"engine {task.engine} installed there", "install it on every node"
    return EngineError(f"worker {worker_name()}: {got}", expected=expected, suggestion=suggestion)


def deadly(deaths: int) -> EngineError:
    """The error of a structure that took its workers with it."""
    return EngineError(
        f"a structure whose worker died {deaths} times while it computed it",
        expected="labels, or an error that names the structure's fault",
        suggestion="often it is out of memory, or of time: give workers more (cluster.memory, cluster.walltime)",
    )


def _failure(task: LabelTask, error: AdiabatError, seconds: float, *, final: bool) -> SpooledFailure:
    return SpooledFailure(
        key=task.key,
        attempt=task.attempt,
        final=final,
        kind=type(error).__name__,
        got=error.got,
        expected=error.expected,
        suggestion=error.suggestion,
        worker=worker_name(),
        seconds=seconds,
    )
