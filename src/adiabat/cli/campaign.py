"""``adiabat campaign``: active learning that outlives its process."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from adiabat.cli.train import read_yaml
from adiabat.core.atomic_file import write_atomically

if TYPE_CHECKING:
    from adiabat.campaigns.active.config import CampaignConfig
    from adiabat.campaigns.active.dispatch import DispatchProgress
    from adiabat.campaigns.active.rounds import Round

app = typer.Typer(no_args_is_help=True, add_completion=False)

Directory = Annotated[Path, typer.Argument(help="The campaign's directory.")]


@app.callback()
def campaign() -> None:
    """Learn actively: explore, select, label, retrain, test, and stop."""


@app.command()
def new(
    config: Annotated[Path, typer.Argument(help="YAML configuration; `adiabat schema campaign` describes its keys.")],
    directory: Directory,
) -> None:
    """Make a campaign: check the configuration, copy the start structures; compute nothing.

    Paths in the configuration are relative to the working directory. The campaign keeps its own copy, campaign.yaml,
    where stop, cluster, label.retries, explore, select and train may be changed between runs.
    """
    from rich.console import Console

    from adiabat.campaigns.active.creation import create_campaign
    from adiabat.campaigns.active.files import CampaignFiles

    parsed = _read(config, Path())
    create_campaign(parsed, directory)
    text = yaml.safe_dump(parsed.model_dump(mode="json", exclude_unset=True), sort_keys=False, allow_unicode=True)
    write_atomically(CampaignFiles(directory.absolute()).config, text.encode())
    Console().print(f"made {directory}; go on with: adiabat campaign run {directory}", highlight=False, soft_wrap=True)


@app.command()
def run(directory: Directory) -> None:
    """Go on with a campaign until it has reason to stop.

    Ctrl-C ends it cleanly; the same command goes on, as it does after a kill or an error.
    """
    from rich.console import Console

    from adiabat.campaigns.active.driver import run_campaign
    from adiabat.campaigns.active.files import CampaignFiles

    file = CampaignFiles(directory.absolute()).config
    config = _read(file, directory) if file.exists() else None
    console = Console(stderr=True)
    with _progress(console) as show:
        end = run_campaign(directory, config, on_progress=show)
    if end.interrupted:
        console.print("stopped; every finished label is kept. Run the same command again to go on.", style="bold")
        raise typer.Exit(128 + (end.signal_number or 2))
    console.print(f"ended: {end.reason}", highlight=False, soft_wrap=True)
    console.print(f"model: {CampaignFiles(directory).model}", highlight=False, soft_wrap=True)


@app.command()
def status(
    directory: Directory,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show where a campaign stands, also while it runs."""
    import json

    from rich.console import Console

    from adiabat.campaigns.active.summary import summarise
    from adiabat.cli.campaign_tables import status_parts

    summary = summarise(directory)
    if as_json:
        typer.echo(json.dumps(summary, indent=1, ensure_ascii=False))
        return
    console = Console()
    for part in status_parts(summary):
        console.print(part, highlight=False)


@app.command()
def report(
    directory: Directory,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="HTML file. [default: in the campaign]")] = None,
) -> None:
    """Write one page: errors against labels, uncertainties, what was chosen, failures, and cost."""
    from rich.console import Console

    from adiabat.campaigns.active.files import CampaignFiles
    from adiabat.campaigns.active.summary import summarise
    from adiabat.reports.campaign_report import write_campaign_report

    page = output or CampaignFiles(directory.absolute()).report
    write_campaign_report(summarise(directory), page)
    Console().print(f"page: {page.resolve()}", highlight=False, soft_wrap=True)


def _read(path: Path, folder: Path) -> "CampaignConfig":
    """Read a configuration whose paths are relative to a folder."""
    from adiabat.campaigns.active.config_parsing import parse_campaign

    settings = read_yaml(
        path,
        sections="name, structures, initial, explore, select, label, train, test, stop and cluster",
        page="docs/tutorial/campaign.md",
        schema="adiabat schema campaign",
    )
    return parse_campaign(settings, folder)


@contextmanager
def _progress(console: Any) -> "Generator[Callable[[Round, DispatchProgress], None]]":
    """One bar for each phase of each round; lines instead where there is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
    tasks: dict[tuple[int, str], Any] = {}
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bars:

        def show(now: "Round", progress: "DispatchProgress") -> None:
            key = (now.number, progress.phase)
            if key not in tasks:
                tasks[key] = bars.add_task("", total=progress.total)
                if bars.disable:
                    console.print(f"round {now.number}: {progress.phase}, {progress.total} to do", highlight=False)
            workers = f"{progress.workers} worker{'s' if progress.workers != 1 else ''}"
            bars.update(
                tasks[key],
                completed=progress.done,
                total=progress.total,
                description=f"round {now.number} {progress.phase} ({workers})",
            )

        yield show
