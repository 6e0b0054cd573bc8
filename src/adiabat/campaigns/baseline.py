"""Labels above a lower level of theory: what a model of the difference is to predict."""

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from adiabat.campaigns.evaluation_progress import evaluation_progress
from adiabat.core.errors import LabelError
from adiabat.data.difference import difference
from adiabat.data.record import Record
from adiabat.engines.base import Engine

_SURFACE = ("energy", "forces", "stress")


def above_baseline(records: Sequence[Record], engine: Engine, *, console: Console | None = None) -> list[Record]:
    """Compute the lower level for each structure, and take it off the labels.

    Errors of a model of the difference on these are the errors of the sum on the labels themselves.

    Args:
        records: labelled at the higher level.
        engine: of the lower level.
        console: where to show progress; nowhere by default.

    Raises:
        LabelError: no record has a label that the engine can compute.
        AdiabatError: whatever the engine raises.
    """
    found: list[Record] = []
    with evaluation_progress(console) as progress:
        task = progress.add_task("baseline", total=len(records))
        for record in records:
            names = [name for name in _SURFACE if name in record.labels and name in engine.available]
            if names:
                own = replace(record, labels={name: record.labels[name] for name in names})
                found.append(difference(own, engine.label(record.structure, names)))
            progress.update(task, advance=1, description="baseline")
    if not found:
        have = sorted({name for record in records for name in record.labels})
        raise LabelError(
            f"{len(records)} records with the labels {', '.join(have) or 'none'}",
            expected=f"some of {', '.join(name for name in _SURFACE if name in engine.available)}, which "
            f"{engine.name} computes",
            suggestion="evaluate on energies and forces, or use another baseline",
        )
    return found
