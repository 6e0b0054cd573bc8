"""``adiabat data budget``: structures and levels of theory to label next, for so much CPU time."""

from pathlib import Path
from typing import Annotated

import typer


def budget(
    candidates: Annotated[Path, typer.Argument(help="Structures to choose from: a file or a store.")],
    level: Annotated[
        list[str],
        typer.Option(
            help="STORE=SECONDS: labels of one level of theory at hand, and what one costs in CPU-s. Once a level, the "
            "cheapest first, the one that matters last."
        ),
    ],
    seconds: Annotated[float, typer.Option(help="CPU time to spend [s].")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for one extended XYZ file a level.")],
    cutoff: Annotated[float, typer.Option(help="Radius of the environments in Å.")] = 5.0,
) -> None:
    """Choose structures and levels of theory to label next, by gain for a second of CPU time."""
    from ase.io import write
    from rich.console import Console

    from adiabat.campaigns.label_budget import plan_labels
    from adiabat.cli.data_source import read_source

    stores = [_store_and_cost(text) for text in level]
    costs = {path.stem: cost for path, cost in stores}
    labelled = {path.stem: read_source(str(path))[0] for path, _ in stores}
    structures = [record.structure for record in read_source(str(candidates))[0]]
    plan = plan_labels(structures, labelled, costs, seconds, cutoff=cutoff)
    output.mkdir(parents=True, exist_ok=True)
    console = Console()
    for name, cost in costs.items():
        chosen = [index for index, of_level in plan if of_level == name]
        path = output / f"{name}.xyz"
        write(path, [structures[index].to_ase() for index in chosen], format="extxyz")
        console.print(f"{name}: {len(chosen)} labels, {len(chosen) * cost:.0f} CPU-s, in {path}", soft_wrap=True)


def _store_and_cost(text: str) -> tuple[Path, float]:
    from adiabat.core.errors import ConfigError

    name, equals, cost = text.rpartition("=")
    try:
        value = float(cost)
    except ValueError:
        value = 0.0
    if not equals or not value > 0:
        raise ConfigError(
            f"--level {text}",
            expected="a store, '=', and the CPU-seconds of one of its labels",
            suggestion="--level gfn2.lmdb=0.01 --level pbe.lmdb=6",
        )
    return Path(name), value
