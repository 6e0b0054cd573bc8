"""The whole chain on water: label with DFT, train, evaluate, run dynamics, follow the electrons, check with DFT.

A run is a directory. Each stage leaves its files there and is skipped when it is done; labelling, training and
dynamics also continue from where they were interrupted. The page is made from the files afterwards.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import ase.io
import numpy as np
from ase import Atoms
from rich.console import Console

from adiabat.campaigns.evaluation import evaluate
from adiabat.campaigns.model_engine import ModelEngine
from adiabat.campaigns.quickstart_settings import QuickstartSettings
from adiabat.campaigns.stage_book import StageBook
from adiabat.campaigns.stages import label_all, read_store, run_stages, software, train_or_resume, write_store
from adiabat.campaigns.water_geometries import sample_water, water
from adiabat.core.atomic_file import write_atomically
from adiabat.core.operators import BlockOperator
from adiabat.data.record import Record
from adiabat.data.structure import Structure
from adiabat.engines.base import Engine
from adiabat.engines.pyscf_molecule import PyscfEngine
from adiabat.models.package import inspect_model, load_model
from adiabat.simulation.md import RESTART, TRAJECTORY, run_md
from adiabat.training.run_files import RunFiles

LABELS: Final = ("energy", "forces", "hamiltonian", "overlap", "h0", "orbital_energies")
"""What is computed for every geometry."""

PREDICTIONS: Final = ("energy", "forces", "hamiltonian", "orbital_energies", "density_matrix")
"""What the model is asked for in the frames that DFT checks."""


def run_quickstart(
    directory: Path, settings: QuickstartSettings, *, n_workers: int, console: Console
) -> dict[str, float]:
    """Run every stage that is not done yet.

    Args:
        directory: of the run; made if it is not there.
        settings: what to do; those that the run was begun with, if it was.
        n_workers: processes for labelling and for following the electrons.
        console: where progress is shown.

    Returns: wall time by stage [s], in order.

    Raises:
        ConfigError: the directory holds a run with other settings.
        AdiabatError: what a stage raises.
        KeyboardInterrupt: a stage was interrupted; the same call goes on.
    """
    book = StageBook(directory, settings.to_json())
    write_atomically(directory / "run.json", (json.dumps(_description(directory, settings), indent=2) + "\n").encode())
    stages: dict[str, Callable[[], None]] = {
        "labels": lambda: _label(directory, settings, n_workers, console),
        "training": lambda: _train(directory, settings, console),
        "test": lambda: _test(directory, console),
        "dynamics": lambda: _move(directory, settings, console),
        "electrons": lambda: _follow_electrons(directory, n_workers, console),
        "checks": lambda: _check_with_dft(directory, settings, n_workers, console),
    }
    return run_stages(book, stages, console)


def _label(directory: Path, settings: QuickstartSettings, n_workers: int, console: Console) -> None:
    structures = sample_water(settings.parts(), settings.temperatures, settings.seed)
    labels = directory / "labels.lmdb"
    _label_all(structures, settings.engine(), labels, LABELS, n_workers, console, "DFT")
    by_hash = {record.structure.content_hash: record for record in read_store(labels)}
    # Labels arrive in the order in which the processes finish; training must not depend on it.
    for part in settings.parts():
        records = [by_hash[s.content_hash] for s in structures if s.info["split"] == part]
        write_store(directory / f"{part}.lmdb", records)


def _train(directory: Path, settings: QuickstartSettings, console: Console) -> None:
    train_or_resume(settings.training(directory), directory / "training", console)


def _test(directory: Path, console: Console) -> None:
    path = RunFiles(directory / "training").model
    records = read_store(directory / "test.lmdb")
    provenance = {"model": inspect_model(path)["content_hash"], "data": "test.lmdb"}
    evaluation = evaluate(load_model(path), records, group_key="temperature_K", provenance=provenance, console=console)
    evaluation.save(directory / "evaluation")


def _move(directory: Path, settings: QuickstartSettings, console: Console) -> None:
    run_directory = directory / "dynamics"
    model = load_model(RunFiles(directory / "training").model)
    resume = (run_directory / RESTART).exists()
    result = run_md(model, water(), settings.dynamics(), run_directory, resume=resume, console=console)
    if not result.finished:
        raise KeyboardInterrupt


def _follow_electrons(directory: Path, n_workers: int, console: Console) -> None:
    frames = _trajectory(directory)
    engine = _model_engine(directory)
    _label_all(frames, engine, directory / "electrons.lmdb", ("orbital_energies",), n_workers, console, "model")


def _check_with_dft(directory: Path, settings: QuickstartSettings, n_workers: int, console: Console) -> None:
    frames = _trajectory(directory)
    # The middle of each of n equal parts: the first frame, where nothing has moved yet, would prove little.
    chosen = (np.arange(settings.n_checkpoints) + 0.5) * len(frames) / settings.n_checkpoints
    checked = [frames[int(index)] for index in chosen]
    engine = settings.engine()
    _label_all(checked, engine, directory / "checks.lmdb", LABELS, n_workers, console, "DFT")
    predictor = _model_engine(directory)
    predictions = [predictor.label(frame, PREDICTIONS) for frame in checked]
    write_store(directory / "check_predictions.lmdb", predictions)
    cycles = [_scf_cycles(engine, record) for record in predictions]
    write_atomically(directory / "scf_cycles.json", (json.dumps(cycles, indent=2) + "\n").encode())


def _scf_cycles(engine: PyscfEngine, predicted: Record) -> dict[str, int]:
    """Cycles that PySCF's own SCF takes from the predicted density, and from superposed atoms."""
    density = predicted.labels["density_matrix"]
    assert isinstance(density, BlockOperator)
    from_model, from_atoms = (engine.scf_cycles(predicted.structure, start) for start in (density, None))
    step = int(predicted.structure.info["step"])
    return {"step": step, "from_model": from_model.cycles, "from_atoms": from_atoms.cycles}


def _trajectory(directory: Path) -> list[Structure]:
    path = directory / "dynamics" / TRAJECTORY
    frames: list[Atoms] = ase.io.read(path, index=":")  # pyright: ignore[reportAssignmentType]
    return [Structure.from_ase(frame) for frame in frames]


def _model_engine(directory: Path) -> ModelEngine:
    path = RunFiles(directory / "training").model
    return ModelEngine(path, inspect_model(path)["content_hash"])


def _label_all(
    structures: Sequence[Structure],
    engine: Engine,
    path: Path,
    targets: Sequence[str],
    n_workers: int,
    console: Console,
    who: str,
) -> None:
    label_all(
        structures, engine, path, targets, n_workers=n_workers, source="adiabat quickstart", who=who, console=console
    )


def _description(directory: Path, settings: QuickstartSettings) -> dict[str, object]:
    """What the page says of the run besides its results."""
    packages = ("adiabat", "torch", "pyscf", "ase", "numpy", "scipy", "vesin")
    return {
        "settings": settings.to_json(),
        "method": settings.engine().provenance(water()).method,
        "training": settings.training(directory).model_dump(mode="json"),
        **software(packages),
    }
