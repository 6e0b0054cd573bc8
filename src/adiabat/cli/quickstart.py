"""``adiabat quickstart``: the whole chain on water, ending in a page."""

import os
from pathlib import Path
from typing import Annotated

import typer


def quickstart(
    output: Annotated[Path, typer.Option("--output", "-o", help="Run directory.")] = Path("quickstart"),
    seed: Annotated[int, typer.Option(min=0, help="Of geometries, weights and velocities.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes for DFT and electrons; one a processor by default.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Try the chain in about a minute, with a crude model.")] = False,
) -> None:
    """Run the whole chain on water, with a page.

    Labels water geometries with PySCF, trains one model on energies, forces and Hamiltonians, tests it, runs 2 ps of
    dynamics, follows the gap along it and checks five frames against DFT. Takes seven minutes on two processors; an
    interrupted run goes on with the same command.
    """
    from rich.console import Console

    from adiabat.campaigns.quickstart import run_quickstart
    from adiabat.campaigns.quickstart_settings import QuickstartSettings
    from adiabat.reports.quickstart_report import summary_lines, write_report
    from adiabat.reports.quickstart_results import load_results

    settings = QuickstartSettings.crude(seed) if fast else QuickstartSettings(seed=seed)
    console = Console()
    seconds = run_quickstart(output, settings, n_workers=workers or os.cpu_count() or 1, console=console)
    results = load_results(output)
    page = output / "report.html"
    write_report(results, page)
    console.print("\n" + "\n".join(summary_lines(results)), highlight=False)
    times = ", ".join(f"{stage} {spent:.0f}" for stage, spent in seconds.items())
    console.print(f"seconds: {times}, in all {sum(seconds.values()):.0f}", highlight=False)
    console.print(f"page: {page.resolve()}", highlight=False, soft_wrap=True)
