"""Jobs and stages out to the workers, and what they spooled in to the database, until nothing is left to do."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adiabat.campaigns.active.config import CampaignConfig
from adiabat.campaigns.active.database import Database
from adiabat.campaigns.active.events import log_event
from adiabat.campaigns.active.files import CampaignFiles
from adiabat.campaigns.active.jobs import Job, Jobs
from adiabat.campaigns.active.label_settings import options_of
from adiabat.campaigns.active.label_task import LabelTask, label_job
from adiabat.campaigns.active.spool import Spool, SpooledFailure
from adiabat.campaigns.active.stages import StageTask, run_stage
from adiabat.campaigns.active.workers import Finished, Workers
from adiabat.core.errors import EngineError
from adiabat.core.interruption import StopRequest

_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class DispatchProgress:
    """How far a phase is.

    Attributes:
        phase: what is done.
        done: tasks that are over.
        total: tasks there are.
        workers: workers there are.
    """

    phase: str
    done: int
    total: int
    workers: int


class Dispatcher:
    """Gives tasks to workers.

    Args:
        files: of the campaign.
        campaign: its id.
        config: with the engine and its retries.
        database: open for writing.
        jobs: the jobs in it.
        workers: who does it.
        stop: whether the user asked to stop.
        on_progress: called after every change.
    """

    def __init__(
        self,
        files: CampaignFiles,
        campaign: str,
        config: CampaignConfig,
        database: Database,
        jobs: Jobs,
        workers: Workers,
        stop: StopRequest,
        on_progress: Callable[[DispatchProgress], None],
    ) -> None:
        self._files, self._campaign, self._config = files, campaign, config
        self._database, self._jobs, self._workers = database, jobs, workers
        self._stop, self._on_progress = stop, on_progress
        self._spool = Spool(files.directory)
        self._seen_workers = time.monotonic()
        self.interrupted = False

    # ------------------------------------------------------------ labels
    def label_all(self) -> bool:
        """Have every open job done or set aside; False if the user stopped it first.

        Raises:
            EngineError: no worker has the engine, sees the campaign, or is there at all.
            StoreError: a full disk, or a damaged file in the spool.
        """
        self._jobs.requeue()
        total = self._jobs.n_open()
        while True:
            self.take_spooled()
            n_open = self._jobs.n_open()
            self._on_progress(DispatchProgress("label", total - n_open, total, self._workers.n_workers))
            if not n_open:
                return True
            if self._stop or self.interrupted:
                return False
            self._submit_jobs()
            for finished in self._workers.poll(_POLL_SECONDS):
                self._after_job(finished)
            self._refuse_no_workers()

    def _submit_jobs(self) -> None:
        room = self._workers.capacity - len(self._jobs.running())
        jobs = self._jobs.waiting(room) if room > 0 else []
        if not jobs:
            return
        self._jobs.mark_running(jobs)
        for job in jobs:
            self._workers.submit(job.key, label_job, self._label_task(job))

    def _label_task(self, job: Job) -> LabelTask:
        label = self._config.label
        return LabelTask(
            directory=str(self._files.directory),
            campaign=self._campaign,
            source=self._config.name,
            key=job.key,
            engine=label.engine,
            options=options_of(label, job.attempts),
            targets=label.targets,
            structure=job.structure,
            attempt=job.attempts,
            generation=self._workers.generation,
            max_deaths=label.max_deaths,
        )

    def _after_job(self, finished: Finished) -> None:
        self.take_spooled()
        running = self._jobs.running()
        job = running.get(finished.name)
        if job is None:
            return
        if finished.fault is not None:
            self._blame(job, finished)
            return
        failure = self._spool.failure(job.key)
        if failure is not None and self._jobs.take_failure(failure):
            return
        self._jobs.requeue([job.key])
        self._heed(finished)

    def _blame(self, job: Job, finished: Finished) -> None:
        """A task that raised: inside an engine it is the structure's fault, before that it is the worker's."""
        assert finished.fault is not None
        if not self._spool.n_deaths(job.key, self._workers.generation):
            self._jobs.requeue([job.key])
            raise _broken(finished)
        failure = SpooledFailure(
            key=job.key,
            attempt=job.attempts,
            final=False,
            kind=finished.fault.partition(":")[0],
            got=finished.fault,
            expected="labels, or an error that names the structure's fault",
            suggestion="run the engine on this structure alone to see its output",
            worker=finished.worker,
            seconds=0.0,
        )
        self._jobs.take_failure(failure)

    def take_spooled(self) -> None:
        """Take every label in the spool into the database."""
        for path in self._spool.labels():
            label = self._spool.read_label(path)
            taken = self._jobs.take_label(label)
            if taken == "foreign":
                path.rename(path.with_name(f".{path.name}.foreign"))
                continue
            self._spool.take(label)

    # ------------------------------------------------------------ stages
    def run_stages(self, phase: str, tasks: Sequence[StageTask]) -> list[dict[str, Any]] | None:
        """Have stages done at the same time; their results in order, None if the user stopped it first.

        Raises:
            AdiabatError: what a stage raises, and as for :meth:`label_all`.
        """
        open_tasks = {f"round-{task.round}-{task.name}": task for task in tasks}
        under_way: set[str] = set()
        while True:
            for name, task in list(open_tasks.items()):
                if self._files.result(task.round, task.name).exists():
                    del open_tasks[name]
            done = len(tasks) - len(open_tasks)
            self._on_progress(DispatchProgress(phase, done, len(tasks), self._workers.n_workers))
            if not open_tasks:
                return [json.loads(self._files.result(task.round, task.name).read_text()) for task in tasks]
            if self._stop or self.interrupted:
                return None
            for name, task in open_tasks.items():
                if name not in under_way:
                    under_way.add(name)
                    self._workers.submit(name, run_stage, task)
            for finished in self._workers.poll(_POLL_SECONDS):
                under_way.discard(finished.name)
                if finished.fault is not None:
                    raise _broken(finished)
                self._heed(finished)
            self._refuse_no_workers()

    # ------------------------------------------------------------ both
    def _heed(self, finished: Finished) -> None:
        """Act on an outcome other than a result."""
        outcome = finished.outcome
        if outcome is None or outcome.kind == "spooled":
            return
        if outcome.kind == "interrupted":
            self.interrupted = True
            return
        error = outcome.to_error()
        if outcome.kind == "engine-missing":
            with self._database.transaction():
                log_event(self._database, "engine missing", f"{finished.worker}: {error.got}")
            if self._workers.exclude(finished.worker):
                return
        raise error

    def _refuse_no_workers(self) -> None:
        cluster = self._config.cluster
        if self._workers.n_workers or cluster.kind not in ("local", "address"):
            self._seen_workers = time.monotonic()
        if time.monotonic() - self._seen_workers > cluster.wait:
            raise EngineError(
                f"no worker for {cluster.wait:g} s",
                expected="at least one (cluster.wait says how long to wait for it)",
                suggestion="start `dask worker` processes, or set cluster.workers; then run the campaign again",
            )


def _broken(finished: Finished) -> EngineError:
    return EngineError(
        f"a task that failed on a worker {finished.worker}: {finished.fault}",
        expected="workers with the same version of adiabat and its packages as here",
        suggestion="check that the workers' environment can `import adiabat`; if it can, please report this",
    )
