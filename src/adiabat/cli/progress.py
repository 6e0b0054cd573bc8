"""Progress bars of commands: one line a task, on stderr, so that results can be piped."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def task_progress() -> Generator[Callable[[str, int], Callable[[int], None] | None]]:
    """Open a display; what it gives opens a bar for a task of so many steps (0: unknown), to be told those done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:

        def watch(task: str, steps: int) -> Callable[[int], None] | None:
            number = display.add_task(task, total=steps or None)

            def done(count: int) -> None:
                display.update(number, completed=count)

            return done

        yield watch
