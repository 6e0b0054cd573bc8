"""``adiabat label``: reference labels for structures, in parallel and resumable."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from adiabat.core.errors import ConfigError, LabelError

if TYPE_CHECKING:
    from adiabat.campaigns.labelling import LabellingReport
    from adiabat.data.record import Labels, Record
    from adiabat.data.structure import Structure

_DEFAULT_TARGETS: Final = {
    "pyscf": "energy,forces,hamiltonian,overlap,h0,density_matrix,orbital_energies",
    "cp2k": "energy,forces,stress,hamiltonian,overlap,fermi_level",
    "cp2k-gfn1": "energy,forces,stress,hamiltonian,overlap,fermi_level",
    "pyscf-crystal": "energy,forces,hamiltonian,overlap,fermi_level",
}
_ENERGY_AND_FORCES: Final = "energy,forces"
_SHOWN_FAILURES: Final = 5
_FREE_ATOM_SCF: Final = {"unrestricted": True, "level_shift": 5.0, "conv_tol": 1e-8, "conv_tol_grad": 1e-3}
"""An open p shell has degenerate solutions between which a tight SCF wanders; its energy is long settled by then."""


def label(
    structures: Annotated[Path, typer.Argument(help="Structures, in any format that `adiabat data import` reads.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Store, name.lmdb; made, or continued if it exists.")],
    engine: Annotated[
        str, typer.Option(help="pyscf, gfn1, gfn2; for crystals cp2k, cp2k-gfn1, pyscf-crystal; emt or lj.")
    ] = "pyscf",
    xc: Annotated[str | None, typer.Option(help="functional (pyscf: or hf). [default: pbe]")] = None,
    basis: Annotated[
        str | None, typer.Option(help="Gaussian basis. [default: def2-svp; crystals: SZVP-MOLOPT-SR-GTH]")
    ] = None,
    basis_file: Annotated[Path | None, typer.Option(help="crystals: file with the basis, in CP2K's format.")] = None,
    potential: Annotated[str | None, typer.Option(help="crystals: pseudopotential. [default: as xc]")] = None,
    kpoints: Annotated[
        str | None, typer.Option(help="crystals: Γ-centred k-mesh, 6,6,1. [default: --k-spacing]")
    ] = None,
    k_spacing: Annotated[
        float | None, typer.Option(help="crystals: distance of k-points [1/Å], 2π included. [default: 0.3]")
    ] = None,
    reach_threshold: Annotated[
        float | None, typer.Option(help="pyscf-crystal: overlap that counts as none, sets H's k-mesh. [default: 1e-4]")
    ] = None,
    smearing: Annotated[float | None, typer.Option(help="cp2k: k_B T of the electrons [eV]; metals need it.")] = None,
    cutoff: Annotated[float | None, typer.Option(help="crystals: plane-wave cutoff [Ry]. [default: 600]")] = None,
    eps_scf: Annotated[float | None, typer.Option(help="cp2k: change at self-consistency. [default: 1e-8]")] = None,
    mixing: Annotated[float | None, typer.Option(help="cp2k: fraction of the new density. [default: 0.4]")] = None,
    timeout: Annotated[float | None, typer.Option(help="cp2k: seconds for a structure. [default: no limit]")] = None,
    grid_level: Annotated[int | None, typer.Option(help="pyscf: integration grid, 0 to 9. [default: 5]")] = None,
    density_fit: Annotated[bool, typer.Option("--density-fit", help="pyscf: fit the Coulomb integrals.")] = False,
    unrestricted: Annotated[bool, typer.Option("--unrestricted", help="pyscf, cp2k: orbitals for each spin.")] = False,
    level_shift: Annotated[float | None, typer.Option(help="pyscf: lift virtual orbitals in the SCF [eV].")] = None,
    damping: Annotated[float | None, typer.Option(help="pyscf: fraction of the old Fock matrix to keep.")] = None,
    second_order: Annotated[
        bool, typer.Option("--second-order", help="pyscf: Newton steps, costly and robust.")
    ] = False,
    max_cycles: Annotated[int | None, typer.Option(help="SCF cycles before giving up.")] = None,
    targets: Annotated[str | None, typer.Option(help="Labels, comma-separated. [default: what the engine has]")] = None,
    keep: Annotated[str, typer.Option(help="Labels to take over from the file instead of computing them.")] = "",
    energy_key: Annotated[str | None, typer.Option(help="Key of a kept energy in the file.")] = None,
    forces_key: Annotated[str | None, typer.Option(help="Key of kept forces in the file.")] = None,
    frames: Annotated[str, typer.Option(help="Frames as a Python slice: 0:400, ::10.")] = ":",
    molecule: Annotated[bool, typer.Option("--molecule", help="Drop the cell, whatever the file says.")] = False,
    isolated_atoms: Annotated[
        bool, typer.Option("--isolated-atoms", help="Label the free atoms of these structures instead: energies only.")
    ] = False,
    charge: Annotated[int | None, typer.Option(help="Total charge of every structure [e].")] = None,
    spin: Annotated[int | None, typer.Option(help="Unpaired electrons of every structure.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes, one thread each. [default: all cores]")] = None,
) -> None:
    """Compute labels for structures with a reference engine.

    Structures that the store already has with these settings are skipped, so the same command continues a run that
    was stopped or killed. What could not be labelled is listed at the end and in NAME.failures.json.
    """
    from adiabat.campaigns.labelling import failures_path, label_structures
    from adiabat.data.label_keys import LABELS, LabelKeys
    from adiabat.data.readers import ReadOptions, read_file
    from adiabat.engines.registry import create_engine

    given = {
        "xc": xc,
        "basis": basis,
        "grid_level": grid_level,
        "density_fit": density_fit or None,
        "unrestricted": unrestricted or None,
        "level_shift": level_shift,
        "damping": damping,
        "second_order": second_order or None,
        "max_cycles": max_cycles,
        "basis_file": None if basis_file is None else str(basis_file.resolve()),
        "potential": potential,
        "kpoints": None if kpoints is None else _mesh(kpoints),
        "k_spacing": k_spacing,
        "reach_threshold": reach_threshold,
        "smearing": smearing,
        "cutoff": cutoff,
        "eps_scf": eps_scf,
        "mixing": mixing,
        "timeout": timeout,
    }
    if isolated_atoms and engine == "pyscf":
        given = _FREE_ATOM_SCF | {name: value for name, value in given.items() if value is not None}
    reference = create_engine(engine, **{name: value for name, value in given.items() if value is not None})
    wanted = _names(targets if targets is not None else _DEFAULT_TARGETS.get(engine, _ENERGY_AND_FORCES))
    if not wanted:
        raise LabelError(
            f"--targets {targets!r}",
            expected=f"one label or more of {', '.join(sorted(reference.available))}",
            suggestion="name them with commas between, or leave --targets out",
        )
    console = Console(stderr=True)
    kept_names = _names(keep)
    options = ReadOptions(
        keys=LabelKeys(energy=energy_key, forces=forces_key), frames=frames, skip=frozenset(LABELS) - set(kept_names)
    )
    reading = read_file(structures, options)
    for note in reading.notes:
        console.print(Text(note), style="dim")
    structure_list = [_adjusted(record.structure, molecule, charge, spin) for record in reading.records]
    if isolated_atoms:
        structure_list, wanted, kept_names = _free_atoms(structure_list), ["energy"], []
    kept = [_kept(record, index, kept_names) for index, record in enumerate(reading.records)] if kept_names else []
    with _progress(console) as progress:
        task = progress.add_task(f"{engine}", total=None)

        def show(state: "LabellingReport") -> None:
            failed = f", {len(state.failures)} failed" if state.failures else ""
            progress.update(
                task,
                total=state.n_structures - state.n_skipped,
                completed=state.n_labelled + len(state.failures),
                description=f"{reference.provenance(structure_list[0]).method}{failed}",
            )

        report = label_structures(
            structure_list,
            reference,
            output,
            targets=wanted,
            n_workers=(os.cpu_count() or 1) if workers is None else workers,
            kept=kept,
            source=structures.name,
            on_progress=show,
        )
    _summarise(console, report, failures_path(output), output)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _mesh(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--kpoints {text}",
            expected="three whole numbers with commas between",
            suggestion="--kpoints 6,6,1 for a layer",
        ) from None


def _kept(record: "Record", index: int, names: list[str]) -> "Labels":
    missing = [name for name in names if name not in record.labels]
    if missing:
        raise LabelError(
            f"frame {index} of {record.provenance.source} without {', '.join(missing)}",
            expected=f"every label of --keep {','.join(names)}; this frame has {', '.join(record.labels) or 'none'}",
            suggestion="name the keys with --energy-key and --forces-key, or drop the label from --keep",
        )
    return {name: record.labels[name] for name in names}


def _free_atoms(structures: "list[Structure]") -> "list[Structure]":
    from adiabat.physics.reference_energies import free_atom

    return [free_atom(z) for z in sorted({int(z) for structure in structures for z in structure.atomic_numbers})]


def _adjusted(structure: "Structure", molecule: bool, charge: int | None, spin: int | None) -> "Structure":
    from adiabat.data.vacuum_box import without_cell

    if molecule:
        structure = without_cell(structure)
    if charge is not None:
        structure = replace(structure, charge=charge)
    return replace(structure, spin=spin) if spin is not None else structure


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not sys.stderr.isatty(),
    )


def _summarise(console: Console, report: "LabellingReport", failures_file: Path, output: Path) -> None:
    console.print(
        f"{report.n_labelled} labelled, {report.n_skipped} already there or repeated, {len(report.failures)} failed, "
        f"{report.n_remaining} left; store: {output}",
        soft_wrap=True,
        highlight=False,
    )
    for failure in report.failures[:_SHOWN_FAILURES]:
        console.print(Text(f"structure {failure.index} ({failure.formula}): {failure.error}"), style="red")
    if len(report.failures) > _SHOWN_FAILURES:
        console.print(f"… and {len(report.failures) - _SHOWN_FAILURES} more", style="red")
    if report.failures:
        console.print(Text(f"all failures: {failures_file}"), soft_wrap=True)
    if report.stopped_by is not None:
        console.print("stopped; every finished label is stored. Run the same command again to go on.", style="bold")
        raise typer.Exit(128 + report.stopped_by)
    if report.failures:
        raise typer.Exit(1)
