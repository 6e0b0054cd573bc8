"""The driver of a campaign: phase after phase, each ending in one transaction, until there is reason to stop."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adiabat.campaigns.active.acceptance import accept_config
from adiabat.campaigns.active.cluster import require_dask
from adiabat.campaigns.active.config import CampaignConfig, CampaignTraining, SelectionConfig
from adiabat.campaigns.active.creation import round_config
from adiabat.campaigns.active.data_store import write_store
from adiabat.campaigns.active.database import Database
from adiabat.campaigns.active.dispatch import Dispatcher, DispatchProgress
from adiabat.campaigns.active.driver_lock import DriverLock
from adiabat.campaigns.active.events import log_event
from adiabat.campaigns.active.files import CampaignFiles
from adiabat.campaigns.active.jobs import Jobs
from adiabat.campaigns.active.label_settings import n_attempts
from adiabat.campaigns.active.rounds import Round, Rounds
from adiabat.campaigns.active.stages import StageTask, read_candidates, write_candidates
from adiabat.campaigns.active.stopping import Spent, reason_to_stop
from adiabat.campaigns.active.structures import decode_structure, job_key
from adiabat.campaigns.active.workers import OwnProcess, Workers
from adiabat.campaigns.exploration.candidate import Candidate
from adiabat.campaigns.selection.config import SelectConfig
from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import EngineError
from adiabat.core.interruption import StopRequest, stop_on_signals

Watcher = Callable[[Round, DispatchProgress], None]


@dataclass(frozen=True)
class CampaignEnd:
    """How a run of a campaign ended.

    Attributes:
        reason: why no further label is wanted; empty if it was interrupted.
        interrupted: whether the user stopped it; the same call goes on.
        signal_number: by which signal.
    """

    reason: str
    interrupted: bool
    signal_number: int | None = None


def run_campaign(
    directory: str | Path, config: CampaignConfig | None = None, *, on_progress: Watcher | None = None
) -> CampaignEnd:
    """Go on with a campaign until it ends or is stopped by SIGINT or SIGTERM.

    A script that calls this with local workers needs the usual ``if __name__ == "__main__":``.

    Args:
        directory: of the campaign.
        config: as it is to go on; the one it was last run with by default.
        on_progress: called with the round and how far its phase is.

    Raises:
        StoreError: no campaign there, another process drives it, or the disk is full.
        ConfigError: a change that is not allowed.
        EngineError: no worker can compute, or nothing could be labelled.
        AdiabatError: what exploration, selection or training raise. Nothing is lost; the same call goes on.
    """
    files = CampaignFiles(Path(directory).absolute())
    database = Database(files.database)
    try:
        with DriverLock(files.directory) as lock, stop_on_signals() as stop:
            config = accept_config(database, config)
            if lock.found_stale:
                with database.transaction():
                    log_event(database, "taken over", "the run before ended without saying so")
            driver = _Driver(files, database, config, stop, on_progress or (lambda _round, _progress: None))
            try:
                return driver.run()
            finally:
                driver.close()
    finally:
        database.close()


class _Driver:
    """See :func:`run_campaign`."""

    def __init__(
        self, files: CampaignFiles, database: Database, config: CampaignConfig, stop: StopRequest, watch: Watcher
    ) -> None:
        self._files, self._database, self._config = files, database, config
        self._stop, self._watch = stop, watch
        self._rounds = Rounds(database)
        self._jobs = Jobs(database, tolerance=config.label.duplicate_tolerance, max_attempts=n_attempts(config.label))
        self._campaign = str(self._meta("id"))
        self._workers: Workers | None = None
        self._dispatcher: Dispatcher | None = None

    def run(self) -> CampaignEnd:
        """Phase after phase."""
        phases = {
            "explore": self._explore,
            "select": self._select,
            "label": self._label,
            "train": self._train,
            "test": self._test,
        }
        self._rounds.start_clock()
        while True:
            now = self._rounds.last()
            if now.phase in ("done", "select") and (reason := self._reason()) is not None:
                with self._database.transaction():
                    log_event(self._database, "ended", reason)
                return CampaignEnd(reason, interrupted=False)
            if now.phase == "done":
                with self._database.transaction():
                    self._rounds.begin(now.number + 1, round_config(self._config))
                continue
            if not phases[now.phase](now):
                with self._database.transaction():
                    self._rounds.add_seconds()
                    log_event(self._database, "stopped", f"by {self._stop.signal_name or 'a signal'}")
                return CampaignEnd("", interrupted=True, signal_number=self._stop.signal_number)

    def close(self) -> None:
        """Let the cluster go."""
        if self._workers is not None:
            self._workers.close()

    # ------------------------------------------------------------ phases: False if the user stopped them
    def _explore(self, now: Round) -> bool:
        arguments = {"config": now.config["explore"], "seed": self._config.seed + now.number}
        results = self._tasks().run_stages("explore", [self._stage(now, "explore", arguments)])
        if results is None:
            return False
        candidates = read_candidates(results[0]["candidates"])
        with self._database.transaction():
            self._rounds.add_candidates(now.number, candidates)
            self._rounds.advance(_exploration_summary(candidates))
        return True

    def _select(self, now: Round) -> bool:
        self._write_stores()
        settings = SelectionConfig.model_validate(now.config["select"])
        if not now.number:
            settings = self._begin_with_starts(now)
        n = min(settings.n, self._labels_left()) if now.number else self._config.initial.n
        arguments = {"config": settings.model_dump(mode="json"), "n": n, "seed": self._config.seed + now.number}
        results = self._tasks().run_stages("select", [self._stage(now, "select", arguments)])
        if results is None:
            return False
        chosen: list[int] = results[0]["chosen"]
        candidates = self._rounds.candidates(now.number)
        label = self._config.label
        keyed = [
            (job_key(structure, label.engine, label.options, label.targets), structure)
            for structure in (candidates[index].structure for index in chosen)
        ]
        with self._database.transaction():
            self._rounds.mark_selected(now.number, chosen)
            n_new = self._jobs.add(keyed, now.number, self._config.test.share)
            self._rounds.advance({"n": n_new, "seconds": results[0]["seconds"]})
        return True

    def _begin_with_starts(self, now: Round) -> SelectionConfig:
        """Round 0 has the start structures for candidates."""
        rows = self._database.rows("SELECT structure FROM starts ORDER BY number")
        starts = [Candidate(decode_structure(row["structure"]), "start") for row in rows]
        self._files.round(0).mkdir(parents=True, exist_ok=True)
        data = json.dumps({"candidates": write_candidates(starts)}).encode()
        write_atomically(self._files.result(0, "explore"), data)
        if not self._rounds.candidates(0):
            with self._database.transaction():
                self._rounds.add_candidates(now.number, starts)
        method = "random" if self._config.initial.method == "random" else "diversity"
        return SelectionConfig(n=max(1, self._config.initial.n), choose=SelectConfig.model_validate({"method": method}))

    def _label(self, now: Round) -> bool:
        if not self._tasks().label_all():
            return False
        counts = {
            row["status"]: row["n"]
            for row in self._database.rows(
                "SELECT status, COUNT(*) AS n FROM jobs WHERE round = ? AND origin = 'computed' GROUP BY status",
                now.number,
            )
        }
        self._refuse_no_labels()
        with self._database.transaction():
            self._rounds.advance({"done": counts.get("done", 0), "set_aside": counts.get("set-aside", 0)})
        return True

    def _refuse_no_labels(self) -> None:
        if self._database.number("SELECT COUNT(*) FROM labels JOIN jobs ON number = job WHERE purpose = 'train'"):
            return
        row = self._database.row("SELECT kind, got FROM jobs WHERE status = 'set-aside' ORDER BY number")
        first = f"; the first failed with {row['kind']}: {row['got']}" if row is not None else ""
        raise EngineError(
            f"no label to train on{first}",
            expected="at least one structure that the engine can label",
            suggestion="`adiabat campaign status` lists all failures; try one structure with `adiabat label`",
        )

    def _train(self, now: Round) -> bool:
        n_train, _n_test = self._write_stores()
        training = CampaignTraining.model_validate(now.config["train"])
        tasks = []
        for member in range(training.uncertainty.n_trainings):
            before = self._files.member_model(now.number - 1, member)
            warm = training.warm_start and now.number > 0 and before.exists()
            config = training.run_config(str(self._files.train_store), n_train, member, str(before) if warm else None)
            arguments = {"config": config.model_dump(mode="json"), "member": member}
            tasks.append(self._stage(now, f"train-{member}", arguments, function="train"))
        results = self._tasks().run_stages("train", tasks)
        if results is None:
            return False
        with self._database.transaction():
            for item in results:
                self._database.execute(
                    "INSERT INTO models VALUES (?, ?, ?, ?, ?)",
                    now.number, item["member"], item["path"], item["content_hash"], item["training_seconds"],
                )  # fmt: skip
            self._rounds.advance({"n_train": n_train, "seconds": sum(item["training_seconds"] for item in results)})
        return True

    def _test(self, now: Round) -> bool:
        training = CampaignTraining.model_validate(now.config["train"])
        n_train = int(now.results["train"]["n_train"])
        config = training.run_config(str(self._files.train_store), n_train, 0, None)
        arguments = {
            "uncertainty": training.uncertainty.model_dump(mode="json"),
            "data": config.data.model_dump(mode="json"),
        }
        results = self._tasks().run_stages("test", [self._stage(now, "test", arguments)])
        if results is None:
            return False
        write_atomically(self._files.model, self._files.round_model(now.number).read_bytes())
        with self._database.transaction():
            self._rounds.advance(results[0])
        return True

    # ------------------------------------------------------------ what they share
    def _tasks(self) -> Dispatcher:
        """The dispatcher, and with it the workers, made when they are first needed."""
        if self._dispatcher is None:
            self._workers = self._make_workers()
            self._dispatcher = Dispatcher(
                self._files,
                self._campaign,
                self._config,
                self._database,
                self._jobs,
                self._workers,
                self._stop,
                lambda progress: self._watch(self._rounds.last(), progress),
            )
        return self._dispatcher

    def _make_workers(self) -> Workers:
        cluster = self._config.cluster
        # A hundred clusters may come and go within one run.
        generation = int(self._meta("generation")) + 100
        with self._database.transaction():
            self._database.execute("UPDATE meta SET value = ? WHERE name = 'generation'", str(generation))
        if cluster.kind == "local" and not cluster.workers:
            return OwnProcess(generation)
        require_dask()
        from adiabat.campaigns.active.dask_workers import DaskWorkers

        return DaskWorkers(cluster, self._files.directory, self._config.name, generation)

    def _stage(self, now: Round, name: str, arguments: dict[str, Any], *, function: str | None = None) -> StageTask:
        directory = str(self._files.directory)
        return StageTask(directory, self._campaign, now.number, name, function or name, arguments)

    def _write_stores(self) -> tuple[int, int]:
        n_train = write_store(self._database, "train", self._files.train_store)
        return n_train, write_store(self._database, "test", self._files.test_store)

    def _labels_left(self) -> int:
        most = self._config.stop.max_labels
        return 2**31 if most is None else max(0, most - self._spent().labels)

    def _spent(self) -> Spent:
        labels = self._database.number("SELECT COUNT(*) FROM jobs WHERE origin = 'computed' AND status != 'set-aside'")
        return Spent(int(labels), processor_seconds(self._database, self._config.cluster.cores))

    def _reason(self) -> str | None:
        return reason_to_stop(self._rounds.all(), self._spent(), self._config.stop)

    def _meta(self, name: str) -> str:
        row = self._database.row("SELECT value FROM meta WHERE name = ?", name)
        assert row is not None
        return row["value"]


def processor_seconds(database: Database, cores: int) -> float:
    """Time of all labels and trainings [s], times the cores of a worker."""
    seconds = database.number("SELECT SUM(seconds) FROM jobs") + database.number("SELECT SUM(seconds) FROM models")
    return cores * seconds


def _exploration_summary(candidates: list[Candidate]) -> dict[str, Any]:
    found = [item.uncertainty for item in candidates if item.uncertainty is not None]
    summary: dict[str, Any] = {"n": len(candidates)}
    if found:
        summary |= {"uncertainty_p95": float(np.quantile(found, 0.95)), "uncertainty_median": float(np.median(found))}
    return summary
