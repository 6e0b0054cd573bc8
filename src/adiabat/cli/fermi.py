"""``adiabat fermi``: Fermi level, gap or metal, of a unit cell or of ten thousand atoms."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from adiabat.cli import crystal_options as options
from adiabat.core.errors import ConfigError


class FermiMethod(StrEnum):
    """Choices of ``--method``."""

    DIAGONALIZATION = "diagonalization"
    STATES = "states"
    KPM = "kpm"


def fermi(
    source: options.Source,
    structure: options.StructureFile = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.")] = None,
    record: options.RecordNumber = None,
    gap: Annotated[bool, typer.Option("--gap", help="Ask for a gap: a metal is an error.")] = False,
    method: Annotated[
        FermiMethod,
        typer.Option(
            help="Large cells, at Γ: states finds those around the level and counts exactly; kpm estimates, linear in "
            "atoms."
        ),
    ] = FermiMethod.DIAGONALIZATION,
    kpoints: options.KPoints = None,
    k_spacing: Annotated[float, typer.Option(help="Mesh, without --kpoints [1/Å, with 2π].")] = 0.15,
    smearing: options.SmearingText = None,
    width: Annotated[float, typer.Option(help="kpm: resolution [eV].")] = 0.1,
    n_states: Annotated[int, typer.Option(help="states: how many, half of them occupied.", min=2)] = 20,
    vectors: Annotated[int, typer.Option(help="kpm: random vectors; the error falls with their root.", min=1)] = 32,
    seed: Annotated[int, typer.Option(help="kpm: of the random vectors.")] = 0,
    electrons: options.ElectronCount = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    device: options.Device = "cpu",
) -> None:
    """Find the Fermi level from the electron count, and the gap of an insulator."""
    from rich.console import Console

    from adiabat.cli.band_tables import fermi_table
    from adiabat.cli.crystal_source import load_electrons
    from adiabat.cli.progress import task_progress
    from adiabat.simulation.crystal_fermi import compute_fermi

    mesh, smear = options.parse_kpoints(kpoints), options.parse_smearing(smearing)
    options.check_positive("--k-spacing", k_spacing)
    options.check_positive("--width", width)
    if method is not FermiMethod.DIAGONALIZATION:
        options.refuse_mesh(mesh)
        if gap:
            raise ConfigError(
                f"--gap with --method {method.value}, which sees Γ only: the levels of a metal are apart there too",
                expected="a method that samples the zone",
                suggestion="leave out --gap, or use --method diagonalization",
            )
    if output is not None and output.is_dir():
        raise ConfigError(f"-o {output}, a directory", expected="a file", suggestion=f"-o {output}/fermi.json")
    found = load_electrons(source, structure, record=record, electrons=electrons, device=device)
    with task_progress() as watch:
        if method is FermiMethod.KPM:
            from adiabat.electronic.kpm import KpmSettings
            from adiabat.simulation.crystal_kpm import compute_fermi_kpm

            settings = KpmSettings(resolution=width, n_vectors=vectors, seed=seed)
            result = compute_fermi_kpm(found, settings, watch)
        elif method is FermiMethod.STATES:
            from adiabat.simulation.crystal_sparse import compute_fermi_states

            result = compute_fermi_states(found, n_states, watch)
        else:
            result = compute_fermi(found, mesh=mesh, spacing=k_spacing, smearing=smear, needs_gap=gap, watch=watch)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        result.save(output)
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=1, ensure_ascii=False))
        return
    Console().print(fermi_table(result))
