"""Worker processes that compute labels, one structure at a time each.

A worker that dies (out of memory, a crash in compiled code) costs its own structure only; workers end by themselves
when the parent is gone, kill −9 included, because their pipe closes.
"""

import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import connection as pipes
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Final

from adiabat.core.errors import AdiabatError, EngineError
from adiabat.data.record import Record
from adiabat.data.structure import Structure
from adiabat.engines.base import Engine

Answer = Record | AdiabatError
"""What comes back for a structure: its labels, or why there are none."""

_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_POLL_SECONDS: Final = 0.2


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    task: int | None = None


class WorkerPool:
    """Processes of one thread each, which hold an engine and answer structures. Use as a context manager.

    Args:
        engine: what computes.
        targets: the labels to compute.
        n_workers: number of processes.
    """

    def __init__(self, engine: Engine, targets: Sequence[str], n_workers: int) -> None:
        """Start the processes."""
        self._engine, self._targets = engine, tuple(targets)
        self._workers = [self._start() for _worker in range(n_workers)]

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._engine, self._targets), daemon=True)
        with _single_threaded_children():
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def answers(self, structures: Sequence[Structure], order: Sequence[int]) -> Iterator[tuple[int, Answer] | None]:
        """Label ``structures[i]`` for each i of ``order``; yield (i, answer) as they come, None while there is none."""
        waiting = list(reversed(order))
        while True:
            for worker in self._workers:
                if worker.task is None and waiting:
                    worker.task = waiting.pop()
                    # ``info`` stays behind: it is never computed with, and a read-only mapping cannot travel.
                    worker.connection.send(replace(structures[worker.task], info={}))
            busy = {worker.connection: worker for worker in self._workers if worker.task is not None}
            if not busy:
                return
            ready = pipes.wait(list(busy), timeout=_POLL_SECONDS)
            if not ready:
                yield None
            for channel in ready:
                assert isinstance(channel, Connection)
                yield self._receive(busy[channel])

    def _receive(self, worker: _Worker) -> tuple[int, Answer]:
        assert worker.task is not None
        index, worker.task = worker.task, None
        try:
            return index, worker.connection.recv()
        except (EOFError, ConnectionResetError):
            worker.process.join()
            exit_code = worker.process.exitcode
            self._workers[self._workers.index(worker)] = self._start()
            return index, _died(exit_code)

    def __enter__(self) -> "WorkerPool":
        """Use as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes at once; whatever they were computing is dropped."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()


def _died(exit_code: int | None) -> EngineError:
    return EngineError(
        f"a worker process that ended with exit code {exit_code}",
        expected="labels, or an error that names the structure's fault",
        suggestion="-9 usually means out of memory: use fewer --workers or density fitting; else see its traceback",
    )


def _serve(connection: Connection, engine: Engine, targets: tuple[str, ...]) -> None:
    """Answer structures until the pipe closes. Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            structure = connection.recv()
        except EOFError:
            return
        try:
            answer: Answer = engine.label(structure, targets)
        except AdiabatError as error:
            answer = error
        try:
            connection.send(answer)
        except BrokenPipeError:
            return


@contextmanager
def _single_threaded_children() -> Generator[None, None, None]:
    """Children started inside use one thread each; libraries read these variables when they are loaded."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
