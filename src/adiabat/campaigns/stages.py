"""Parts that the demonstrations share: run stages once, label, train, and tell with what software."""

import os
import platform
import shutil
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adiabat.campaigns.labelling import LabellingReport, label_structures
from adiabat.campaigns.stage_book import StageBook
from adiabat.data.record import Record
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.engines.base import Engine
from adiabat.training.config import TrainConfig
from adiabat.training.run_files import RunFiles
from adiabat.training.trainer import Trainer


def run_stages(book: StageBook, stages: Mapping[str, Callable[[], None]], console: Console) -> dict[str, float]:
    """Run every stage that is not done yet, in order.

    Args:
        book: what is done.
        stages: what each stage does.
        console: where it is shown.

    Returns: wall time by stage [s], in order.

    Raises:
        AdiabatError: what a stage raises.
        KeyboardInterrupt: a stage was interrupted; the same call goes on.
    """
    for number, (name, run) in enumerate(stages.items(), start=1):
        heading = f"{number}/{len(stages)} {name}"
        if book.is_done(name):
            console.print(f"{heading}: done before, {book.seconds[name]:.0f} s", highlight=False)
            continue
        console.print(heading, style="bold", highlight=False)
        try:
            with book.stage(name):
                run()
        except KeyboardInterrupt:
            console.print("stopped; the same command goes on from here", highlight=False)
            raise
    return book.seconds


def label_all(
    structures: Sequence[Structure],
    engine: Engine,
    path: Path,
    targets: Sequence[str],
    *,
    n_workers: int,
    source: str,
    who: str,
    console: Console,
) -> None:
    """Label every structure into a store, or raise why one could not be, or that the user stopped it.

    Args:
        structures: what to label.
        engine: with what.
        path: the store; what it holds already is not computed again.
        targets: which labels.
        n_workers: processes.
        source: command, for the provenance.
        who: stands before the bar.
        console: where the bar is shown.

    Raises:
        AdiabatError: the first structure's that got no labels.
        KeyboardInterrupt: the user stopped it.
    """
    with _progress_bar(console, who) as show:
        report = label_structures(
            structures, engine, path, targets=targets, n_workers=n_workers, source=source, on_progress=show
        )
    if report.stopped_by is not None:
        raise KeyboardInterrupt
    if report.failures:
        raise report.failures[0].error


def train_or_resume(config: TrainConfig, directory: Path, console: Console) -> None:
    """Train in a directory, from its checkpoint if there is one.

    Raises:
        KeyboardInterrupt: the user stopped it.
    """
    resume = RunFiles(directory).checkpoint.exists()
    if Trainer(config, directory, console=console).fit(resume=resume).interrupted:
        raise KeyboardInterrupt


def write_store(path: Path, records: Iterable[Record]) -> None:
    """Write a store anew, in place of what an interrupted stage may have left."""
    if path.exists():
        shutil.rmtree(path)
    with DatasetStore.create(path) as store:
        store.append_many(records)


def read_store(path: Path) -> list[Record]:
    """All records of a store."""
    with DatasetStore.open(path) as store:
        return list(store)


def software(packages: Sequence[str]) -> dict[str, object]:
    """``versions`` of Python and these packages, and the ``machine``."""
    return {
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
    }


@contextmanager
def _progress_bar(console: Console, who: str) -> Generator[Callable[[LabellingReport], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"{who}:", total=None)

        def show(report: LabellingReport) -> None:
            done = report.n_structures - report.n_remaining
            progress.update(task, total=report.n_structures, completed=done)

        yield show
