"""``adiabat data difference``: labels of one level of theory minus those of another."""

from pathlib import Path
from typing import Annotated

import typer


def difference(
    high: Annotated[Path, typer.Argument(help="Labels of the level that is wanted: a store, or a file.")],
    low: Annotated[Path, typer.Argument(help="Labels of the same structures at the level to be corrected.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Store to write, name.lmdb.")],
) -> None:
    """Subtract labels of the same structures, for delta learning: energy, forces, stress, and H in one basis.

    A model trained on the differences is used with --baseline, which computes the lower level and adds the two.
    """
    from rich.console import Console

    from adiabat.cli.data import load
    from adiabat.data.difference import differences
    from adiabat.data.store import DatasetStore

    found = differences(load(high), load(low))
    with DatasetStore.create(output) as store:
        n_added = store.append_many(found.records)
    console = Console()
    first = found.records[0]
    console.print(f"{n_added} differences written to {output}: {first.provenance.method}", soft_wrap=True)
    console.print(f"labels: {', '.join(first.labels)}")
    if found.n_high_alone or found.n_low_alone:
        console.print(
            f"without a partner: {found.n_high_alone} of the first, {found.n_low_alone} of the second", soft_wrap=True
        )
    console.print(f"next: adiabat train CONFIG, with data.train: {output}", style="dim", soft_wrap=True)
