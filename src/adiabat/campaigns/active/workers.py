"""Who does the tasks: this process itself, or the workers of a dask cluster."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adiabat.campaigns.active.label_task import Outcome

Task = Callable[[Any], Outcome]


@dataclass(frozen=True)
class Finished:
    """How a task came back.

    Attributes:
        name: as it was submitted.
        outcome: what it says; None if it was lost on the way and must be submitted again.
        fault: what it raised instead, which is a fault of ours or of an engine.
        worker: where it ran.
    """

    name: str
    outcome: Outcome | None = None
    fault: str | None = None
    worker: str = ""


class Workers(ABC):
    """Takes tasks, and says how they came back. Results lie on the file system, so a task may be lost without harm."""

    @property
    @abstractmethod
    def generation(self) -> int:
        """Goes up whenever the cluster is another one than before."""

    @property
    @abstractmethod
    def capacity(self) -> int:
        """Tasks that are worth having under way."""

    @property
    @abstractmethod
    def n_workers(self) -> int:
        """Workers there are now."""

    @abstractmethod
    def submit(self, name: str, task: Task, argument: Any) -> None:
        """Have a task done. Names of tasks under way are unique."""

    @abstractmethod
    def poll(self, seconds: float) -> list[Finished]:
        """Tasks that came back, waiting at most so long for a first one."""

    @abstractmethod
    def exclude(self, worker: str) -> bool:
        """Give a worker no more tasks; returns whether any other is left."""

    @abstractmethod
    def close(self) -> None:
        """End what is ours of the cluster; tasks under way are dropped."""


class OwnProcess(Workers):
    """Does one task at a time, here, when it is polled.

    Args:
        generation: number of this cluster.
    """

    def __init__(self, generation: int) -> None:
        self._generation = generation
        self._tasks: list[tuple[str, Task, Any]] = []

    @property
    def generation(self) -> int:
        """Never changes."""
        return self._generation

    @property
    def capacity(self) -> int:
        """One."""
        return 1

    @property
    def n_workers(self) -> int:
        """One."""
        return 1

    def submit(self, name: str, task: Task, argument: Any) -> None:
        """Remember it."""
        self._tasks.append((name, task, argument))

    def poll(self, seconds: float) -> list[Finished]:
        """Do the first."""
        if not self._tasks:
            return []
        name, task, argument = self._tasks.pop(0)
        return [Finished(name, task(argument), worker="this process")]

    def exclude(self, worker: str) -> bool:
        """There is no other."""
        return False

    def close(self) -> None:
        """Nothing to end."""
