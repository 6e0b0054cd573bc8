"""Workers of a dask cluster. The loss of a task, of a worker or of the whole cluster costs time and nothing else."""

import asyncio
import concurrent.futures
import time
from pathlib import Path
from typing import Any, Final

import distributed.client  # an extra: this module is imported only where a cluster is asked for

from adiabat.campaigns.active.cluster import make_cluster
from adiabat.campaigns.active.config import ClusterConfig
from adiabat.campaigns.active.label_task import Outcome
from adiabat.campaigns.active.workers import Finished, Task, Workers
from adiabat.core.errors import EngineError

_POLL_SECONDS: Final = 0.05
_LEAST_UNDER_WAY: Final = 8
_PER_WORKER: Final = 3
_REPLACE_SECONDS: Final = 20.0
"""Time between two looks whether batch jobs have ended and others are to be submitted in their place."""
_LOSSES: Final[tuple[type[BaseException], ...]] = (
    OSError,
    TimeoutError,
    RuntimeError,
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
    getattr(distributed.client, "ClosedClientError", RuntimeError),  # newer versions have it
)
"""What a client raises that has lost its scheduler, or has closed itself since."""


class DaskWorkers(Workers):
    """A client of a cluster that it makes, or whose address it is given.

    Args:
        config: the cluster.
        directory: the campaign's.
        name: the campaign's.
        generation: number of this cluster; a new one after a loss has the next.

    Raises:
        MissingExtraError: dask is not installed.
        EngineError: no scheduler, or no worker, within ``config.wait``.
    """

    def __init__(self, config: ClusterConfig, directory: Path, name: str, generation: int) -> None:
        self._config, self._directory, self._name = config, directory, name
        self._generation = generation
        self._futures: dict[str, Any] = {}
        self._unsent: list[str] = []
        self._excluded: set[str] = set()
        self._n_submitted = 0
        self._looked = time.monotonic()
        self._cluster: Any = None
        self._client: Any = None
        self._connect()

    def _connect(self) -> None:
        from distributed import Client

        if self._cluster is None:
            self._cluster = make_cluster(self._config, self._directory, self._name)
        begun = time.monotonic()
        while True:
            try:
                self._client = Client(**self._where(), timeout=5, set_as_default=False)
                break
            except (OSError, TimeoutError, ValueError) as error:  # a scheduler file half written is a ValueError
                if time.monotonic() - begun > self._config.wait:
                    raise EngineError(
                        f"no dask scheduler at {self._config.address} for {self._config.wait:g} s ({error})",
                        expected="a scheduler that answers",
                        suggestion="start `dask scheduler`, and run the campaign again; nothing is lost",
                    ) from error
                time.sleep(_POLL_SECONDS)

    def _where(self) -> dict[str, Any]:
        if self._cluster is not None:
            return {"address": self._cluster}
        address = str(self._config.address)
        return {"address": address} if "://" in address else {"scheduler_file": address}

    @property
    def generation(self) -> int:
        """One more after each new connection."""
        return self._generation

    @property
    def capacity(self) -> int:
        """A few for each worker, so that none waits for us."""
        return max(_LEAST_UNDER_WAY, _PER_WORKER * self.n_workers)

    @property
    def n_workers(self) -> int:
        """Workers that the scheduler knows of."""
        return len(self._worker_addresses())

    def _worker_addresses(self) -> list[str]:
        try:
            return list(self._client.nthreads())
        except _LOSSES:  # in between two schedulers
            return []

    def submit(self, name: str, task: Task, argument: Any) -> None:
        """Send it; a worker that was excluded does not get it."""
        workers = None
        if self._excluded:
            workers = [address for address in self._worker_addresses() if address not in self._excluded]
        self._n_submitted += 1
        key = f"{name}-{self._generation}-{self._n_submitted}"
        try:
            self._futures[name] = self._client.submit(
                _on_worker, task, argument, key=key, pure=False, workers=workers or None, allow_other_workers=False
            )
        except _LOSSES:
            self._unsent.append(name)

    def poll(self, seconds: float) -> list[Finished]:
        """Tasks that came back; all of them, lost, if the cluster is gone, and then there is a new one."""
        end = time.monotonic() + seconds
        while True:
            if self._client.status != "running":
                return self._after_loss()
            self._replace_jobs()
            if self._unsent:
                unsent, self._unsent = self._unsent, []
                return [Finished(name) for name in unsent]
            ready = [name for name, future in self._futures.items() if future.status != "pending"]
            if ready or time.monotonic() >= end:
                return [self._finish(name) for name in ready]
            time.sleep(_POLL_SECONDS)

    def _replace_jobs(self) -> None:
        """Submit batch jobs in place of those that have ended, at their walltime or otherwise."""
        if self._config.kind not in ("slurm", "pbs") or time.monotonic() - self._looked < _REPLACE_SECONDS:
            return
        self._looked = time.monotonic()
        self._cluster.scale(jobs=self._config.workers)

    def _finish(self, name: str) -> Finished:
        future = self._futures.pop(name)
        if future.status == "finished":
            try:
                worker, outcome = future.result(timeout=30)
            except _LOSSES:
                return Finished(name)
            return Finished(name, outcome, worker=worker)
        if future.status == "error":
            try:
                fault = future.exception(timeout=30)
            except _LOSSES:
                return Finished(name)
            if type(fault).__name__ == "KilledWorker":
                return Finished(name)
            return Finished(name, fault=f"{type(fault).__name__}: {fault}")
        return Finished(name)  # cancelled, or lost with its scheduler

    def _after_loss(self) -> list[Finished]:
        lost = [Finished(name) for name in (*self._futures, *self._unsent)]
        self._futures, self._unsent = {}, []
        self._excluded = set()
        self._generation += 1
        self._end_client()
        if self._cluster is not None:
            self._cluster.close(timeout=10)
            self._cluster = None
        self._connect()
        return lost

    def exclude(self, worker: str) -> bool:
        """Keep tasks from a worker from now on."""
        self._excluded.add(worker)
        return any(address not in self._excluded for address in self._worker_addresses())

    def close(self) -> None:
        """Cancel what is under way, and close what is ours."""
        for future in self._futures.values():
            future.release()
        self._futures = {}
        self._end_client()
        if self._cluster is not None:
            self._cluster.close()

    def _end_client(self) -> None:
        try:
            self._client.close(timeout=5)
        except _LOSSES:  # it was on its way out
            return


def _on_worker(task: Task, argument: Any) -> tuple[str, Outcome]:
    """Runs on a worker: do the task, and say where."""
    from distributed import get_worker

    return get_worker().address, task(argument)
