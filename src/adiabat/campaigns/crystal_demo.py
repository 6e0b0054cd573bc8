"""The whole chain on a crystal: label with CP2K, train, test on cells unseen, draw bands and densities of states.

A run is a directory. Each stage leaves its files there and is skipped when it is done; labelling and training also
continue from where they were interrupted. Figures and the page are made from the files afterwards.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Final

from rich.console import Console

from adiabat.campaigns.boron_nitride_geometries import boron_nitride, sample_boron_nitride
from adiabat.campaigns.crystal_demo_data import demo_structures, shipped_demo_records
from adiabat.campaigns.crystal_demo_settings import CrystalDemoSettings
from adiabat.campaigns.evaluation import evaluate
from adiabat.campaigns.stage_book import StageBook
from adiabat.campaigns.stages import label_all, read_store, run_stages, software, train_or_resume, write_store
from adiabat.core.atomic_file import write_atomically
from adiabat.data.electronic_files import save_bands, save_dos
from adiabat.data.electronic_tables import save_bands_csv, save_dos_csv
from adiabat.data.record import Provenance, Record
from adiabat.models.package import inspect_model, load_model
from adiabat.physics.k_path import k_path
from adiabat.simulation.crystal_bands import compute_bands, with_reference_bands
from adiabat.simulation.crystal_dos import DosSettings, compute_dos
from adiabat.simulation.crystal_electrons import CrystalElectrons, crystal_from_model, crystal_from_record
from adiabat.simulation.orbital_groups import projection_groups
from adiabat.training.run_files import RunFiles

NAME_KEY: Final = "cell"
"""Key of a test structure's ``info`` under which errors and figures are filed."""

BANDS_FILE: Final = "bands.h5"
DOS_FILE: Final = "dos.h5"
REFERENCE_DOS_FILE: Final = "dos_reference.h5"
LARGER_FOLDER: Final = "larger-cell"

_PROGRAMS: Final = {"cp2k": "CP2K"}
"""Codes that spell themselves otherwise than their engines."""

_DOS_WIDTH: Final = 0.2
"""eV; bands of hBN run steeply, and a narrower Gaussian would show the k points of the mesh."""

_LABELS: Final = ("energy", "forces", "stress", "hamiltonian", "overlap", "fermi_level")


def run_crystal_demo(
    directory: Path, settings: CrystalDemoSettings, *, n_workers: int, console: Console
) -> dict[str, float]:
    """Run every stage that is not done yet.

    Args:
        directory: of the run; made if it is not there.
        settings: what to do; those that the run was begun with, if it was.
        n_workers: processes for labelling.
        console: where progress is shown.

    Returns: wall time by stage [s], in order.

    Raises:
        ConfigError: the directory holds a run with other settings.
        AdiabatError: what a stage raises.
        KeyboardInterrupt: a stage was interrupted; the same call goes on.
    """
    book = StageBook(directory, settings.to_json())
    stages: dict[str, Callable[[], None]] = {
        "labels": lambda: _label(directory, settings, n_workers, console),
        "training": lambda: _train(directory, settings, console),
        "test": lambda: _test(directory, console),
        "bands": lambda: _solve(directory, settings, console),
        "larger cell": lambda: _solve_larger(directory, settings, console),
    }
    return run_stages(book, stages, console)


def _label(directory: Path, settings: CrystalDemoSettings, n_workers: int, console: Console) -> None:
    records = _shipped(console) if settings.source == "shipped" else _computed(directory, settings, n_workers, console)
    indices = settings.parts([str(record.structure.info["split"]) for record in records])
    parts = {part: [_named(records[index]) for index in members] for part, members in indices.items()}
    for part, members in parts.items():
        write_store(directory / f"{part}.lmdb", members)
    run = _description(directory, settings, parts)
    write_atomically(directory / "run.json", (json.dumps(run, indent=2) + "\n").encode())


def _shipped(console: Console) -> list[Record]:
    records = shipped_demo_records()
    origin = records[0].provenance
    console.print(
        f"taking {len(records)} cells that the package ships, labelled before with {_program(origin)}, {origin.method}",
        highlight=False,
    )
    return records


def _program(origin: Provenance) -> str:
    return f"{_PROGRAMS.get(origin.code, origin.code)} {origin.code_version}"


def _computed(directory: Path, settings: CrystalDemoSettings, n_workers: int, console: Console) -> list[Record]:
    structures = demo_structures()
    parts = settings.parts([str(structure.info["split"]) for structure in structures])
    wanted = [structures[index] for index in sorted(chain(*parts.values()))]
    engine = settings.engine()
    targets = [name for name in _LABELS if name in engine.available]
    time_needed = ", about four minutes on two quiet cores" if settings.source == "cp2k" else ""
    method = engine.provenance(wanted[0]).method
    console.print(f"labelling {len(wanted)} cells with {engine.name}, {method}{time_needed}", highlight=False)
    label_all(
        wanted,
        engine,
        directory / "labels.lmdb",
        targets,
        n_workers=n_workers,
        source="adiabat demo-crystal",
        who=engine.name,
        console=console,
    )
    by_hash = {record.structure.content_hash: record for record in read_store(directory / "labels.lmdb")}
    # Labels arrive in the order in which the processes finish; training must not depend on it.
    return [by_hash[structure.content_hash] for structure in wanted]


def _named(record: Record) -> Record:
    """The record with the name of its cell, under which results are filed."""
    structure = record.structure
    at_rest = structure.content_hash == boron_nitride().content_hash
    name = f"{structure.n_atoms} atoms{', undistorted' if at_rest else ''}"
    return replace(record, structure=replace(structure, info={**structure.info, NAME_KEY: name}))


def _train(directory: Path, settings: CrystalDemoSettings, console: Console) -> None:
    train_or_resume(settings.training(directory), directory / "training", console)


def _test(directory: Path, console: Console) -> None:
    path = RunFiles(directory / "training").model
    records = read_store(directory / "test.lmdb")
    provenance = {"model": inspect_model(path)["content_hash"], "data": "test.lmdb"}
    evaluation = evaluate(load_model(path), records, group_key=NAME_KEY, provenance=provenance, console=console)
    evaluation.save(directory / "evaluation")


def _solve(directory: Path, settings: CrystalDemoSettings, console: Console) -> None:
    """Bands and density of states of every test cell, from the model and from the reference."""
    path = RunFiles(directory / "training").model
    model = load_model(path).eval()
    for record in read_store(directory / "test.lmdb"):
        name = str(record.structure.info[NAME_KEY])
        console.print(f"bands of {name}", highlight=False)
        reference = crystal_from_record(record, source="test.lmdb")
        predicted = crystal_from_model(model, record.structure, source=path.name)
        along = k_path(predicted.structure, n_points=settings.path_points)
        bands, reference_bands = (compute_bands(electrons, along) for electrons in (predicted, reference))
        bands = with_reference_bands(bands, predicted, reference_bands, source=reference.method)
        folder = directory / folder_of(name)
        folder.mkdir(parents=True, exist_ok=True)
        save_bands(bands, folder / BANDS_FILE)
        save_bands_csv(bands, folder / "bands.csv")
        for electrons, file in ((predicted, DOS_FILE), (reference, REFERENCE_DOS_FILE)):
            _save_density(electrons, folder / file, settings)


def _solve_larger(directory: Path, settings: CrystalDemoSettings, console: Console) -> None:
    """Density of states of a cell that no reference was computed for."""
    path = RunFiles(directory / "training").model
    model = load_model(path).eval()
    repeats = settings.larger_repeats
    (structure,) = sample_boron_nitride([("larger", repeats, 1)], strain=0.0, displacement=0.05, seed=5)
    console.print(f"density of states of {structure.n_atoms} atoms", highlight=False)
    folder = directory / LARGER_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    electrons = crystal_from_model(model, structure, source=path.name)
    predicted = time.perf_counter()
    _save_density(electrons, folder / DOS_FILE, settings)
    times = {"n_atoms": structure.n_atoms, "n_orbitals": electrons.crystal.n_orb}
    times |= {"predict": predicted - begun, "solve": time.perf_counter() - predicted}
    write_atomically(folder / "times.json", (json.dumps(times, indent=2) + "\n").encode())


def _save_density(electrons: CrystalElectrons, path: Path, settings: CrystalDemoSettings) -> None:
    groups = projection_groups(electrons, "element")
    dos = compute_dos(electrons, DosSettings(width=_DOS_WIDTH, spacing=settings.dos_spacing, groups=groups))
    save_dos(dos, path)
    save_dos_csv(dos, path.with_suffix(".csv"))


def folder_of(name: str) -> str:
    """Folder of a test cell's results, relative to the run's."""
    return f"bands/{name.replace(',', '').replace(' ', '-')}"


def _description(
    directory: Path, settings: CrystalDemoSettings, parts: Mapping[str, Sequence[Record]]
) -> dict[str, object]:
    """What the page says of the run besides its results."""
    origin = parts["train"][0].provenance
    sizes = {part: Counter(record.structure.n_atoms for record in records) for part, records in parts.items()}
    tested = sorted(parts["test"], key=lambda record: record.structure.n_atoms)
    return {
        "settings": settings.to_json(),
        "method": origin.method,
        "code": _program(origin),
        "cells": {part: [[size, count] for size, count in sorted(found.items())] for part, found in sizes.items()},
        "tested": [
            {"name": name, "folder": folder_of(name), "n_atoms": record.structure.n_atoms}
            for record in tested
            for name in [str(record.structure.info[NAME_KEY])]
        ],
        "training": settings.training(directory).model_dump(mode="json"),
        **software(("adiabat", "torch", "numpy", "scipy", "ase", "vesin")),
    }
