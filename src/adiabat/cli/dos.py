"""``adiabat dos``: density of states, projected on request, of a unit cell or of ten thousand atoms."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adiabat.cli import crystal_options as options
from adiabat.cli.output_directory import check_output_directory

if TYPE_CHECKING:
    from adiabat.data.dos_result import DensityOfStates


class DosMethod(StrEnum):
    """Choices of ``--method``."""

    GAUSSIAN = "gaussian"
    TETRAHEDRON = "tetrahedron"
    KPM = "kpm"


class ProjectionKind(StrEnum):
    """Choices of ``--project``."""

    ELEMENT = "element"
    ATOM = "atom"
    L = "l"
    SHELL = "shell"
    ORBITAL = "orbital"


def dos(
    source: options.Source,
    structure: options.StructureFile = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Directory for dos.h5, .csv, .png, .svg and .html.")
    ] = None,
    record: options.RecordNumber = None,
    method: Annotated[
        DosMethod, typer.Option(help="gaussian or tetrahedron on a k-mesh; kpm: linear in atoms, at Γ of a large cell.")
    ] = DosMethod.GAUSSIAN,
    width: Annotated[float, typer.Option(help="Gaussian: standard deviation; kpm: resolution [eV].")] = 0.1,
    project: Annotated[
        ProjectionKind | None, typer.Option(help="Parts to show: shell is all of one l on one element.")
    ] = None,
    kpoints: options.KPoints = None,
    k_spacing: Annotated[float, typer.Option(help="Mesh, without --kpoints [1/Å, with 2π].")] = 0.1,
    smearing: options.SmearingText = None,
    vectors: Annotated[int, typer.Option(help="kpm: random vectors; the error falls with their root.", min=1)] = 32,
    seed: Annotated[int, typer.Option(help="kpm: of the random vectors.")] = 0,
    window: Annotated[
        str | None, typer.Option(help="Energies computed and drawn, relative to the Fermi level [eV]: -5,5.")
    ] = None,
    electrons: options.ElectronCount = None,
    device: options.Device = "cpu",
) -> None:
    """Compute and draw the density of states."""
    from rich.console import Console

    from adiabat.cli.band_tables import dos_table
    from adiabat.cli.crystal_source import load_electrons
    from adiabat.cli.progress import task_progress
    from adiabat.simulation.crystal_dos import DosSettings, compute_dos
    from adiabat.simulation.orbital_groups import projection_groups

    if output is not None:
        check_output_directory(output)
    energies = options.parse_window(window)
    mesh, smear = options.parse_kpoints(kpoints), options.parse_smearing(smearing)
    options.check_positive("--k-spacing", k_spacing)
    options.check_positive("--width", width)
    found = load_electrons(source, structure, record=record, electrons=electrons, device=device)
    groups = projection_groups(found, project.value) if project is not None else []
    with task_progress() as watch:
        if method is DosMethod.KPM:
            from adiabat.electronic.kpm import KpmSettings
            from adiabat.simulation.crystal_kpm import compute_dos_kpm

            options.refuse_mesh(mesh)
            settings = KpmSettings(resolution=width, n_vectors=vectors, seed=seed)
            result = compute_dos_kpm(found, settings, groups=groups, window=energies, watch=watch)
        else:
            plan = DosSettings(method.value, width, mesh, k_spacing, smear, groups, energies)
            result = compute_dos(found, plan, watch)
    console = Console()
    console.print(dos_table(result))
    if output is None:
        console.print("nothing was written; -o DIR saves the density and draws it", style="dim")
        return
    for name in _written(result, output, energies):
        console.print(f"{output / name}", highlight=False, soft_wrap=True)


def _written(result: "DensityOfStates", output: Path, window: tuple[float, float] | None) -> list[str]:
    """Make everything, then write it: a figure that fails leaves no half of the results."""
    from adiabat.core.atomic_file import write_atomically
    from adiabat.data.electronic_files import save_dos
    from adiabat.data.electronic_tables import save_dos_csv
    from adiabat.reports.dos_figures import dos_figure
    from adiabat.reports.electronic_pages import dos_page
    from adiabat.reports.electronic_style import png, svg

    if window is not None and result.fermi_level is not None:
        # The window is about the Fermi level, which is not the zero of an insulator's figure.
        offset = result.fermi_level - result.zero
        window = (window[0] + offset, window[1] + offset)
    figure = dos_figure(result, window=window)
    files = {"dos.png": png(figure), "dos.svg": svg(figure), "dos.html": dos_page(result, window).encode()}
    output.mkdir(parents=True, exist_ok=True)
    save_dos(result, output / "dos.h5")
    save_dos_csv(result, output / "dos.csv")
    for name, content in files.items():
        write_atomically(output / name, content)
    return ["dos.h5", "dos.csv", *files]
