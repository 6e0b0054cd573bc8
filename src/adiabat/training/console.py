"""What a run prints while it lasts: a live bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from adiabat.training.metrics import describe

_SECONDS_BETWEEN_LINES = 30.0


class RunDisplay:
    """Progress with errors in eV, meV/Å and µHa, and the time left.

    Args:
        console: where to print.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._last_line = 0.0
        if console.is_terminal:
            # Refreshed by hand: a refresh thread would take the interpreter from the training loop.
            self._bar = Progress(
                BarColumn(bar_width=24), TextColumn("{task.description}"), console=console, auto_refresh=False
            )
            self._task = self._bar.add_task("", total=1.0)
            self._bar.start()

    def train(self, step: int, done: float, elapsed_minutes: float, values: Mapping[str, float]) -> None:
        """Show the latest batch."""
        text = f"step {step} · {describe(values)} · {_time_left(done, elapsed_minutes)}"
        if self._bar is not None:
            self._bar.update(self._task, completed=min(done, 1.0), description=text)
            self._bar.refresh()
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self.line(text)

    def work(self, text: str, done: float, elapsed_minutes: float) -> None:
        """Show what is being done where there are no steps."""
        line = f"{text} · {_time_left(done, elapsed_minutes)}"
        if self._bar is not None:
            self._bar.update(self._task, completed=min(done, 1.0), description=line)
            self._bar.refresh()
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self.line(line)

    def validation(self, step: int, values: Mapping[str, float], improved: bool) -> None:
        """Show the validation errors; a star marks the best so far."""
        self.line(f"step {step} · validation {describe(values)}{' *' if improved else ''}")

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text, highlight=False, soft_wrap=True)
        self._last_line = time.monotonic()

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()


def _time_left(done: float, elapsed_minutes: float) -> str:
    if done <= 0:
        return "time left unknown"
    left = timedelta(minutes=elapsed_minutes * max(1 - done, 0) / done)
    return f"{timedelta(seconds=round(left.total_seconds()))} left"


def end_time(minutes_left: float) -> str:
    """Clock time at which a run will end."""
    return f"{datetime.now() + timedelta(minutes=minutes_left):%H:%M}"
