"""The progress line of a molecular-dynamics run."""

import time
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_REFRESH_SECONDS: Final = 0.2


class MdProgress:
    """Steps done, temperature, speed and time left; silent without a console.

    Args:
        console: where to draw, or None.
        steps: number of steps of the whole run.
        first_step: steps done before.
    """

    def __init__(self, console: Console | None, steps: int, first_step: int) -> None:
        self._steps, self._first_step = steps, first_step
        self._started = self._drawn = time.monotonic()
        self._task = TaskID(0)
        self._progress = None if console is None else _columns(console)

    def __enter__(self) -> "MdProgress":
        """Start drawing."""
        if self._progress:
            self._progress.start()
            self._task = self._progress.add_task("md", total=self._steps, completed=self._first_step, state="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        if self._progress:
            self._progress.stop()

    def update(self, step: int, temperature: float) -> None:
        """Draw the state after a step, a few times a second."""
        now = time.monotonic()
        if self._progress and (now - self._drawn > _REFRESH_SECONDS or step == self._steps):
            self._drawn = now
            milliseconds = 1e3 * (now - self._started) / (step - self._first_step)
            state = f"{temperature:5.0f} K · {milliseconds:.3g} ms/step"
            self._progress.update(self._task, completed=step, state=state)


def _columns(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]md"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps · {task.fields[state]} ·"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
    )
