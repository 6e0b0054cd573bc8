"""``adiabat demo-crystal``: the whole chain on a layer of boron nitride, ending in figures and a page."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from adiabat.campaigns.crystal_demo_settings import CrystalDemoSettings


def demo_crystal(
    output: Annotated[Path, typer.Option("--output", "-o", help="Run directory.")] = Path("demo-crystal"),
    seed: Annotated[int, typer.Option(min=0, help="Of weights and order of cells.")] = 0,
    cp2k: Annotated[
        bool | None,
        typer.Option(
            "--cp2k/--no-cp2k",
            help="Label with CP2K, or take the labels that the package ships; by default CP2K where it is installed.",
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes for CP2K; one a processor by default.")] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Try the chain in half a minute, on a Slater–Koster model instead of DFT.")
    ] = False,
) -> None:
    """Run the whole chain on a layer of hBN, with a page.

    Labels distorted cells of two and four atoms with CP2K, trains a model on their Hamiltonians, tests it on cells it
    has not seen, larger ones among them, and draws its bands and densities of states over those of DFT. An
    interrupted run goes on with the same command.
    """
    from rich.console import Console

    from adiabat.campaigns.crystal_demo import run_crystal_demo
    from adiabat.cli.output_directory import check_output_directory
    from adiabat.reports.crystal_demo_report import summary_table, write_figures, write_report
    from adiabat.reports.crystal_demo_results import load_results

    check_output_directory(output)
    console = Console()
    settings = _settings(seed, cp2k, fast)
    seconds = run_crystal_demo(output, settings, n_workers=workers or os.cpu_count() or 1, console=console)
    results = load_results(output)
    write_figures(results, output)
    page = output / "report.html"
    write_report(results, page)
    console.print(summary_table(results))
    times = ", ".join(f"{stage} {spent:.0f}" for stage, spent in seconds.items())
    console.print(f"seconds: {times}, in all {sum(seconds.values()):.0f}", highlight=False)
    console.print(f"page: {page.resolve()}", highlight=False, soft_wrap=True)


def _settings(seed: int, cp2k: bool | None, fast: bool) -> "CrystalDemoSettings":
    """What is asked for, and who labels.

    Raises:
        ConfigError: options that exclude each other.
        EngineError: CP2K is asked for and not installed.
    """
    from adiabat.campaigns.crystal_demo_settings import CrystalDemoSettings
    from adiabat.core.errors import ConfigError, EngineError
    from adiabat.engines.cp2k_files import find_program

    if fast:
        if cp2k is not None:
            raise ConfigError(
                f"--fast and {'--cp2k' if cp2k else '--no-cp2k'}",
                expected="one of them: --fast labels with a Slater–Koster model, whatever is installed",
                suggestion="leave --fast out",
            )
        return CrystalDemoSettings.crude(seed)
    if cp2k is None:
        try:
            find_program()
        except EngineError:
            typer.echo("CP2K is not installed (Debian, Ubuntu: apt-get install cp2k).")
            return CrystalDemoSettings(source="shipped", seed=seed)
    elif cp2k:
        find_program()
    if cp2k is False:
        return CrystalDemoSettings(source="shipped", seed=seed)
    return CrystalDemoSettings.labelled_here(seed)
