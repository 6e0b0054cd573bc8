"""The progress line of an evaluation."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class EvaluationProgress:
    """Predictions done and time left; silent without a console.

    Args:
        console: where to draw, or None.
        total: number of predictions.
    """

    def __init__(self, console: Console | None, total: int) -> None:
        self._total, self._task = total, TaskID(0)
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
        )
        self._progress = None if console is None else Progress(*columns, console=console, transient=True)

    def __enter__(self) -> "EvaluationProgress":
        """Start drawing."""
        if self._progress:
            self._progress.start()
            self._task = self._progress.add_task("evaluate", total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        if self._progress:
            self._progress.stop()

    def advance(self, what: str) -> None:
        """One more prediction is done."""
        if self._progress:
            self._progress.update(self._task, advance=1, description=what)
