"""``adiabat evaluate``: a model against labels that it has not seen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adiabat.cli.output_directory import check_output_directory
from adiabat.core.errors import ConfigError, nearest
from adiabat.data.frame_slice import parse_frames

if TYPE_CHECKING:
    from adiabat.data.record import Record

_SETS = ("train", "validation", "test")


def evaluate(
    model: Annotated[Path, typer.Argument(help="Model file (.safetensors).")],
    data: Annotated[Path, typer.Argument(help="Labelled structures: a store, or any file that adiabat reads.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Directory for metrics.json and arrays.npz.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page of errors and, of an uncertain model, of uncertainties.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Part of a saved split: split.json:test.")] = None,
    frames: Annotated[str, typer.Option(help="Frames as a Python slice: 450:500, ::10.")] = ":",
    scf: Annotated[int, typer.Option(help="Molecules on which PySCF starts from the predicted density.", min=0)] = 0,
    fidelity: Annotated[
        str | None,
        typer.Option(help="Level of theory to predict all of them at. [default: that of each label]"),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="For a model of a difference: the level that it is added to, gfn2, … or a model file."),
    ] = None,
    group_by: Annotated[str, typer.Option(help="Key by whose value errors are also given apart.")] = "config_type",
    batch_size: Annotated[int, typer.Option(help="Structures evaluated together.", min=1)] = 16,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ….")] = "cpu",
) -> None:
    """Compare a model with labels it has not seen.

    Every label that the model predicts is compared: energy, forces, stress; for the Hamiltonian also orbital
    energies, gap and orbitals, and with --scf the energy and the SCF cycles of the predicted density. Of a model that
    says how far it may be off, such as `adiabat uncertainty fit` writes, that is judged as well.
    """
    from rich.console import Console

    from adiabat.campaigns import evaluation as campaign
    from adiabat.campaigns.evaluation_table import evaluation_tables
    from adiabat.models.device import compute_device
    from adiabat.uncertainty.package import inspect_any_model, load_any_model

    if output is not None:
        check_output_directory(output)
    where = compute_device(device)
    records, described = _records(data, split, frames)
    if baseline is not None:
        from adiabat.campaigns.baseline import above_baseline
        from adiabat.cli.levels import baseline_engine

        records = above_baseline(records, baseline_engine(baseline), console=Console(stderr=True))
    provenance = {
        "model": {"file": str(model), "content_hash": inspect_any_model(model)["content_hash"]},
        "data": described,
        "settings": {"scf": scf, "group_by": group_by, "fidelity": fidelity, "baseline": baseline},
    }
    result = campaign.evaluate(
        load_any_model(model).to(where),
        records,
        n_scf=scf,
        fidelity=fidelity,
        group_key=group_by,
        batch_size=batch_size,
        provenance=provenance,
        console=Console(stderr=True),
    )
    console = Console()
    for table in evaluation_tables(result):
        console.print(table)
    if output is not None:
        result.save(output)
        console.print(f"written to {output}", highlight=False)
    if report is not None:
        from adiabat.reports.evaluation_page import write_evaluation_page

        write_evaluation_page(result.to_json(), result.arrays, report)
        console.print(f"page: {report}", highlight=False)


def _records(path: Path, split: str | None, frames: str) -> "tuple[list[Record], dict[str, Any]]":
    """Read the records, and say which they are."""
    from adiabat.cli.data_source import read_frames
    from adiabat.data.splits import Split
    from adiabat.data.store import DatasetStore

    if split is None:
        return read_frames(path, frames)
    if not path.is_dir():
        raise ConfigError(
            f"--split {split} for {path.name}, which is a file",
            expected="a store, whose records a split numbers",
            suggestion=f"import it first: adiabat data import {path} -o {path.stem}.lmdb",
        )
    file, part = _split_part(split)
    with DatasetStore.open(path) as store:
        indices = getattr(Split.load(file, content_hash=store.content_hash), part)[parse_frames(frames)]
        described = {"file": str(path), "content_hash": store.content_hash, "split": split, "frames": frames}
        return [store[int(index)] for index in indices], described


def _split_part(text: str) -> tuple[str, str]:
    """Take ``split.json:test`` apart.

    Raises:
        ConfigError: there is no colon, or no such part.
    """
    file, colon, part = text.rpartition(":")
    if not colon or part not in _SETS:
        raise ConfigError(
            f"--split {text}",
            expected=f"FILE:PART with a part of {', '.join(_SETS)}",
            suggestion=nearest(part, _SETS) if colon else f"--split {text}:test",
        )
    return file, part
