"""``adiabat bands``: bands along a path, with Fermi level, gap, fat bands and a reference."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adiabat.cli import crystal_options as options
from adiabat.cli.output_directory import check_output_directory
from adiabat.core.errors import ConfigError

if TYPE_CHECKING:
    from adiabat.data.band_structure import BandStructure
    from adiabat.data.dos_result import DensityOfStates
    from adiabat.physics.k_path import KPath
    from adiabat.simulation.crystal_bands import BandSettings
    from adiabat.simulation.crystal_electrons import CrystalElectrons
    from adiabat.simulation.crystal_states import Watch


def bands(
    source: Annotated[
        Path,
        typer.Argument(
            help="Model (.safetensors), store (.lmdb), a Hamiltonian that 'data import' reads, or a bands.h5 to draw."
        ),
    ],
    structure: options.StructureFile = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Directory for bands.h5, .csv, .png, .svg and .html.")
    ] = None,
    record: options.RecordNumber = None,
    path: Annotated[
        str | None,
        typer.Option(help="Labels, GMKG or GX|UG; or coordinates, 'G=0,0,0 M=1/2,0,0'. Default: standard path."),
    ] = None,
    n_points: Annotated[int, typer.Option(help="Points along the path.")] = 200,
    kpoints: options.KPoints = None,
    k_spacing: Annotated[float, typer.Option(help="Mesh for the Fermi level, without --kpoints [1/Å, with 2π].")] = 0.2,
    smearing: options.SmearingText = None,
    fat: Annotated[
        str | None, typer.Option(help="Orbitals whose shares are drawn as the size of marks: 'B:p,N:pz', '0', ':d'.")
    ] = None,
    window: Annotated[
        str | None, typer.Option(help="Energies drawn, relative to the zero of the figure [eV]: -5,5.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Bands to compare with: bands.h5, bands.csv, a store, or another code's files.")
    ] = None,
    reference_record: Annotated[int | None, typer.Option(help="Which record of the reference store.")] = None,
    dos: Annotated[Path | None, typer.Option(help="dos.h5 of 'adiabat dos' to draw beside the bands.")] = None,
    electrons: options.ElectronCount = None,
    device: options.Device = "cpu",
) -> None:
    """Compute and draw bands, and find the Fermi level and the gap.

    Energies are drawn relative to the top of the valence bands of an insulator, else to the Fermi level. The Fermi
    level comes from the electron count on a k-mesh; band edges are looked for on the mesh and on the path.
    """
    from rich.console import Console

    from adiabat.cli.band_tables import bands_table
    from adiabat.cli.progress import task_progress
    from adiabat.data.electronic_files import load_dos

    if output is not None:
        check_output_directory(output)
    shown = options.parse_window(window)
    mesh, smear = options.parse_kpoints(kpoints), options.parse_smearing(smearing)
    options.check_positive("--k-spacing", k_spacing)
    beside = None if dos is None else load_dos(dos)
    if source.suffix == ".h5" and not source.is_dir() and _is_saved(source):
        result = _drawn_again(source, structure, reference, fat)
    else:
        from adiabat.cli.crystal_source import load_electrons
        from adiabat.simulation.crystal_bands import BandSettings
        from adiabat.simulation.orbital_groups import selected_groups

        found = load_electrons(source, structure, record=record, electrons=electrons, device=device, needs_bands=True)
        groups = selected_groups(found, fat.split(",")) if fat else []
        settings = BandSettings(mesh=mesh, spacing=k_spacing, smearing=smear, groups=groups)
        with task_progress() as watch:
            result = _computed(found, path, n_points, settings, (reference, reference_record, electrons), watch)
    console = Console()
    console.print(bands_table(result))
    if output is None:
        console.print("nothing was written; -o DIR saves the bands and draws them", style="dim")
        return
    for name in _written(result, output, shown, beside):
        console.print(f"{output / name}", highlight=False, soft_wrap=True)


def _is_saved(source: Path) -> bool:
    """Whether it is ours: DeepH's Hamiltonians are HDF5 files too."""
    from adiabat.data.electronic_files import BANDS
    from adiabat.data.result_file import kind_of

    return kind_of(source) == BANDS


def _drawn_again(source: Path, structure: Path | None, reference: Path | None, fat: str | None) -> "BandStructure":
    from adiabat.data.electronic_files import load_bands

    if structure is not None or reference is not None or fat is not None:
        raise ConfigError(
            f"{source.name}, bands that are computed already, with a structure, --reference or --fat",
            expected="--window, --dos and -o only",
            suggestion="give the model or the store, from which bands can be computed",
        )
    return load_bands(source)


def _computed(
    found: "CrystalElectrons",
    path: str | None,
    n_points: int,
    settings: "BandSettings",
    reference: tuple[Path | None, int | None, float | None],
    watch: "Watch",
) -> "BandStructure":
    from adiabat.physics.k_path import k_path
    from adiabat.simulation.crystal_bands import compute_bands, with_reference_bands

    file, record, electrons = reference
    saved = _saved_bands(file) if file is not None else None
    along = _path_of(saved) if saved is not None and path is None else k_path(found.structure, path, n_points)
    result = compute_bands(found, along, settings, watch)
    if file is None:
        return result
    name = file.name
    if saved is None:
        from adiabat.cli.crystal_source import load_electrons

        other = load_electrons(file, None, record=record, electrons=electrons)
        name = other.method or other.source
        saved = compute_bands(other, along, replace(settings, groups=()), watch)
    return with_reference_bands(result, found, saved, source=str(saved.metadata.get("method") or name), watch=watch)


def _saved_bands(file: Path) -> "BandStructure | None":
    """Bands of a file of ours; None for what bands must be computed from."""
    from adiabat.data.electronic_files import load_bands
    from adiabat.data.electronic_tables import load_bands_csv

    if file.suffix == ".csv" and not file.is_dir():
        return load_bands_csv(file)
    return load_bands(file) if file.suffix == ".h5" and _is_saved(file) else None


def _path_of(saved: "BandStructure") -> "KPath":
    from adiabat.physics.k_path import KPath

    return KPath(saved.k_frac, saved.distances, saved.branches, saved.tick_positions, saved.tick_labels, saved.notes)


def _written(
    result: "BandStructure", output: Path, window: tuple[float, float] | None, dos: "DensityOfStates | None"
) -> list[str]:
    """Make everything, then write it: a figure that fails leaves no half of the results."""
    from adiabat.core.atomic_file import write_atomically
    from adiabat.data.electronic_files import save_bands
    from adiabat.data.electronic_tables import save_bands_csv
    from adiabat.reports.band_figures import band_figure
    from adiabat.reports.electronic_pages import bands_page
    from adiabat.reports.electronic_style import png, svg

    figure = band_figure(result, window=window, dos=dos)
    files = {
        "bands.png": png(figure),
        "bands.svg": svg(figure),
        "bands.html": bands_page(result, window).encode(),
    }
    output.mkdir(parents=True, exist_ok=True)
    save_bands(result, output / "bands.h5")
    save_bands_csv(result, output / "bands.csv")
    for name, content in files.items():
        write_atomically(output / name, content)
    return ["bands.h5", "bands.csv", *files]
