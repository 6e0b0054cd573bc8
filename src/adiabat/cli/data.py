"""``adiabat data``: import, inspect, audit, split, subtract, curate and export datasets."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adiabat.cli import data_curation
from adiabat.cli.data_budget import budget
from adiabat.cli.data_difference import difference

if TYPE_CHECKING:
    from adiabat.data.record import Record

app = typer.Typer(no_args_is_help=True, add_completion=False)

HAMILTONIAN_FORMATS = ("deeph", "deeph-legacy", "siesta", "openmx", "abacus", "wannier90", "cp2k")
"""The keys of ``hamiltonian_formats.registry.FORMATS``, told here so that help needs no import of it."""

_SEVERITY_STYLES = {"info": "green", "warning": "yellow", "error": "bold red"}


class SplitMethod(StrEnum):
    """How to choose the test set."""

    RANDOM = "random"
    GROUP = "group"
    DISTANCE = "distance"


class Part(StrEnum):
    """A set of a split."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Layout(StrEnum):
    """A layout of folders to export."""

    DEEPH = "deeph"
    DEEPH_LEGACY = "deeph-legacy"


app.command()(difference)
app.command()(budget)
for command in (data_curation.select, data_curation.subset, data_curation.duplicates, data_curation.noise,
                data_curation.influence):  # fmt: skip
    app.command()(command)
app.command("learning-curve")(data_curation.learning_curve)


@app.callback()
def data() -> None:
    """Import, inspect, audit, split, subtract and export datasets."""


@app.command("import")
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(help="Extended XYZ, anything that ASE reads, PySCF checkpoints; folders with a Hamiltonian."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Store to write, name.lmdb.")],
    append: Annotated[bool, typer.Option("--append", help="Add to an existing store.")] = False,
    frames: Annotated[str, typer.Option(help="Which frames of each file: :100, ::10, -1.")] = ":",
    method: Annotated[str, typer.Option(help="Level of theory, for instance PBE/def2-SVP.")] = "",
    fidelity: Annotated[str, typer.Option(help="Name under which labels of this level are grouped.")] = "",
    file_format: Annotated[
        str | None,
        typer.Option("--format", help=f"ASE's name of the format, pyscf, {', '.join(HAMILTONIAN_FORMATS)}."),
    ] = None,
    structure: Annotated[
        Path | None, typer.Option(help="Structure that belongs to a Hamiltonian, where its files have none.")
    ] = None,
    valence: Annotated[str, typer.Option(help="Electrons that each element brings to a Hamiltonian: B=3,N=5.")] = "",
    energy_key: Annotated[str | None, typer.Option(help="Key of the energy.")] = None,
    forces_key: Annotated[str | None, typer.Option(help="Key of the forces.")] = None,
    stress_key: Annotated[str | None, typer.Option(help="Key of the stress or virial.")] = None,
    charges_key: Annotated[str | None, typer.Option(help="Key of the atomic charges.")] = None,
    dipole_key: Annotated[str | None, typer.Option(help="Key of the dipole.")] = None,
    energy_unit: Annotated[str, typer.Option(help="eV, meV, hartree, rydberg, kcal/mol or kJ/mol.")] = "eV",
    forces_unit: Annotated[str, typer.Option(help="An energy unit per A or bohr, for instance hartree/bohr.")] = "eV/A",
    stress_unit: Annotated[
        str | None, typer.Option(help="eV/A3, GPa, kbar, …; by default what the key implies.")
    ] = None,
    stress_order: Annotated[str | None, typer.Option(help="Order of six components: 'xx yy zz xy yz zx'.")] = None,
    stress_sign: Annotated[int | None, typer.Option(help="1 if tension is positive, -1 if compression is.")] = None,
    dipole_unit: Annotated[str, typer.Option(help="e*A, debye or e*bohr.")] = "e*A",
    positions_unit: Annotated[str, typer.Option(help="A or bohr.")] = "A",
    keep_cell: Annotated[
        bool, typer.Option("--keep-cell", help="Keep a cell that holds a molecule in vacuum.")
    ] = False,
    skip: Annotated[list[str] | None, typer.Option(help="A label not to read; may be given several times.")] = None,
) -> None:
    """Read labelled structures into a store, and say which key became which label."""
    from rich.console import Console

    from adiabat.data.hamiltonian_formats.options import HamiltonianOptions, parse_valence
    from adiabat.data.importing import import_files
    from adiabat.data.label_keys import LabelKeys
    from adiabat.data.label_units import LabelUnits
    from adiabat.data.readers import ReadOptions

    options = ReadOptions(
        keys=LabelKeys(energy_key, forces_key, stress_key, charges_key, dipole_key),
        units=LabelUnits(energy_unit, forces_unit, stress_unit, stress_order, stress_sign, dipole_unit, positions_unit),
        frames=frames,
        keep_cell=keep_cell,
        skip=frozenset(skip or ()),
        file_format=file_format,
        method=method,
        fidelity=fidelity,
        hamiltonian=HamiltonianOptions(structure, parse_valence(valence)),
    )
    report = import_files(files, output, options, append=append)
    console = Console()
    for path, reading in zip(files, report.readings, strict=True):
        console.print(f"[bold]{path.name}[/bold]: {len(reading.records)} structures")
        for note in reading.notes:
            console.print(f"  {note}", markup=False)
    left_out = report.n_records - report.n_added
    note = f"; {left_out} were there already" if left_out else ""
    console.print(f"{report.n_added} records added to {output}{note}", soft_wrap=True)
    console.print(f"next: adiabat data audit {output}", style="dim", soft_wrap=True)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Store.")],
    record: Annotated[int | None, typer.Option(help="Show this record alone; negative counts from the end.")] = None,
) -> None:
    """Show what a store holds: records, elements, labels, methods, sources and hash."""
    from rich.console import Console

    from adiabat.cli.data_tables import record_table, store_table
    from adiabat.core.errors import StoreError
    from adiabat.data.store import DatasetStore

    with DatasetStore.open(path) as store:
        if record is None:
            Console().print(store_table(store))
            return
        if not -len(store) <= record < len(store):
            raise StoreError(
                f"record {record}", expected=f"0 to {len(store) - 1}", suggestion=f"adiabat data inspect {path}"
            )
        Console().print(record_table(store[record], record % len(store)))


@app.command()
def audit(
    path: Annotated[Path, typer.Argument(help="Store, or a file that 'import' would read.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Find what is wrong with a dataset before anyone trains on it; exit code 1 if it cannot be right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from adiabat.data.audit import audit_records
    from adiabat.data.audit_result import where

    result = audit_records(load(path))
    if as_json:
        typer.echo(json.dumps({"passed": result.passed, "findings": [asdict(f) for f in result.findings]}, indent=1))
        raise typer.Exit(0 if result.passed else 1)
    table = Table(title=f"Audit of {path.name}: {result.n_records} records", title_justify="left")
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("finding", overflow="fold")
    previous = ""
    for finding in result.findings:
        message = Text(finding.message + where(finding.records))
        if finding.suggestion:
            message.append(f"\n→ {finding.suggestion}", style="italic")
        name = finding.check if finding.check != previous else ""
        table.add_row(name, Text(finding.severity.value, style=_SEVERITY_STYLES[finding.severity]), message)
        previous = finding.check
    Console().print(table)
    result.raise_if_failed()


@app.command()
def split(
    path: Annotated[Path, typer.Argument(help="Store.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON file to write.")],
    by: Annotated[SplitMethod, typer.Option(help="random; group: whole groups; distance: test what is unlike.")] = (
        SplitMethod.RANDOM
    ),
    key: Annotated[
        str, typer.Option(help="For --by group: key of the structures' info; formula and source work too.")
    ] = ("config_type"),
    test: Annotated[float, typer.Option(help="Share below 1, or number of records.")] = 0.1,
    validation: Annotated[float, typer.Option(help="Share below 1, or number of records.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same split.")] = 0,
) -> None:
    """Divide a store into training, validation and test sets."""
    from rich.console import Console

    from adiabat.data.splits import distance_split, group_split, random_split
    from adiabat.data.store import DatasetStore

    with DatasetStore.open(path) as store:
        content_hash, records = store.content_hash, list(store) if by is not SplitMethod.RANDOM else []
        if by is SplitMethod.RANDOM:
            result = random_split(len(store), test=test, validation=validation, seed=seed, content_hash=content_hash)
        elif by is SplitMethod.GROUP:
            groups = _groups(records, key)
            result = group_split(groups, test=test, validation=validation, seed=seed, content_hash=content_hash)
        else:
            result = distance_split(records, test=test, validation=validation, seed=seed, content_hash=content_hash)
    result.save(output)
    Console().print(
        f"{output}: {len(result.train)} train, {len(result.validation)} validation, {len(result.test)} test "
        f"({result.method})",
        soft_wrap=True,
    )


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="Store.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="data.xyz for ASE, data.npz with operators, or a folder of DeepH's.")
    ],
    split_file: Annotated[Path | None, typer.Option("--split", help="Split of this store.")] = None,
    part: Annotated[Part, typer.Option(help="With --split: which set to export.")] = Part.TRAIN,
    layout: Annotated[
        Layout | None, typer.Option("--format", help="deeph or deeph-legacy; else by the name of the output.")
    ] = None,
) -> None:
    """Write a store's records to extended XYZ, with operators to npz, or with Hamiltonians to folders for DeepH."""
    from rich.console import Console

    from adiabat.core.errors import FileFormatError
    from adiabat.data.hamiltonian_formats.export import write_folders
    from adiabat.data.splits import Split
    from adiabat.data.store import DatasetStore
    from adiabat.data.writers import write_extxyz, write_operators

    writers = {".xyz": write_extxyz, ".extxyz": write_extxyz, ".npz": write_operators}
    if layout is None and output.suffix not in writers:
        raise FileFormatError(
            f"output {output.name}",
            expected="a name that ends in .xyz, .extxyz or .npz, or --format deeph",
            suggestion="-o data.xyz",
        )
    with DatasetStore.open(path) as store:
        indices = range(len(store))
        if split_file is not None:
            indices = getattr(Split.load(split_file, content_hash=store.content_hash), part.value).tolist()
        records = (store[index] for index in indices)
        if layout is not None:
            n_written = write_folders(records, output, layout.value)
        else:
            n_written = writers[output.suffix](records, output)
    Console().print(f"{n_written} records written to {output}", soft_wrap=True)


def load(path: Path) -> "list[Record]":
    """Records of a store, or of a file in any format that adiabat reads."""
    from adiabat.data.readers import read_records
    from adiabat.data.store import DatasetStore

    if path.is_file():
        return read_records(path)
    with DatasetStore.open(path) as store:
        return list(store)


def _groups(records: "list[Record]", key: str) -> list[str]:
    from adiabat.core.errors import LabelError, nearest

    if key == "formula":
        return [record.structure.formula for record in records]
    if key == "source":
        return [record.provenance.source for record in records]
    known = {name for record in records for name in record.structure.info} | {"formula", "source"}
    if key not in known:
        raise LabelError(
            f"group key {key!r}", expected=f"one of {', '.join(sorted(known))}", suggestion=nearest(key, known)
        )
    return [str(record.structure.info.get(key, "")) for record in records]
