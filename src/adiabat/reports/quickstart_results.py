"""Read a quickstart's run directory back into plain arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from adiabat.core.errors import FileFormatError
from adiabat.core.operators import BlockOperator
from adiabat.data.record import Record
from adiabat.reports.results import (
    Array,
    Checkpoints,
    Dynamics,
    ElectronicTrajectory,
    HeldOutErrors,
    LearningCurves,
    Parity,
    QuickstartResults,
)
from adiabat.reports.run_directory import read_arrays, read_json, read_json_lines, read_records, read_stage_times


def load_results(directory: Path) -> QuickstartResults:
    """Everything that the page shows.

    Args:
        directory: a finished run of ``adiabat quickstart``.

    Raises:
        FileFormatError: a file of the run is missing or damaged.
        StoreError: a store is missing or damaged.
    """
    dynamics = _dynamics(directory / "dynamics")
    training = read_records(directory / "train.lmdb")
    return QuickstartResults(
        run=read_json(directory / "run.json"),
        stages=read_stage_times(directory),
        training_positions=np.stack([record.structure.positions for record in training]),
        test=_test_errors(directory / "evaluation", read_records(directory / "test.lmdb")),
        learning=_learning_curves(directory / "training" / "metrics.jsonl"),
        dynamics=dynamics,
        electronic=_electronic(read_records(directory / "electrons.lmdb")),
        checkpoints=_checkpoints(directory),
    )


def _test_errors(directory: Path, records: list[Record]) -> HeldOutErrors:
    metrics = read_json(directory / "metrics.json")
    arrays = read_arrays(directory / "arrays.npz")

    def parity(name: str, chosen: Any = slice(None)) -> Parity:
        return Parity(*(np.ravel(arrays[f"{name}_{side}"][chosen]) for side in ("reference", "predicted")))

    hamiltonian = parity("hamiltonian")
    h0 = np.concatenate([_matrix(record, "h0") for record in records])
    if len(h0) != len(hamiltonian.reference):
        raise FileFormatError(
            f"{directory} with {len(hamiltonian.reference)} matrix elements for {len(h0)} in test.lmdb",
            expected="an evaluation of that store, with every matrix element",
            suggestion="delete the run directory and run `adiabat quickstart` again",
        )
    return HeldOutErrors(
        n_structures=metrics["n_structures"],
        energy=parity("energy"),
        forces=parity("forces"),
        hamiltonian=hamiltonian,
        h0=h0,
        orbital_energies=parity("orbital_energies", arrays["orbital_energies_occupied"]),
        gap=parity("gap"),
        orbital_similarity=float(metrics["similarity"]["orbital_similarity"]),
        by_temperature={
            float(temperature): {
                name: float(errors[name]["mae"]) for name in ("energy", "forces", "hamiltonian", "gap")
            }
            for temperature, errors in metrics["groups"].items()
        },
    )


def _matrix(record: Record, name: str) -> Array:
    """All matrix elements of a molecule's operator, row by row."""
    operator = record.labels[name]
    assert isinstance(operator, BlockOperator)
    return operator.to_dense().ravel()


def _learning_curves(path: Path) -> LearningCurves:
    lines = [line for line in read_json_lines(path) if line["kind"] == "validation"]
    return LearningCurves(
        steps=np.array([line["step"] for line in lines], dtype=float),
        errors={
            target: np.array([line[f"{target}_mae"] for line in lines])
            for target in ("energy", "forces", "hamiltonian")
        },
    )


def _dynamics(directory: Path) -> Dynamics:
    log = read_json_lines(directory / "log.jsonl")
    frames: list[Atoms] = ase.io.read(directory / "trajectory.xyz", index=":")  # pyright: ignore[reportAssignmentType]
    column = {name: np.array([line[name] for line in log], dtype=float) for name in log[0] if log[0][name] is not None}
    return Dynamics(
        time=column["time_fs"],
        potential=column["potential_energy"],
        kinetic=column["kinetic_energy"],
        temperature=column["temperature"],
        frame_time=np.array([frame.info["time_fs"] for frame in frames], dtype=float),
        positions=np.stack([frame.positions for frame in frames]),
        atomic_numbers=np.asarray(frames[0].numbers, dtype=np.int64),
        symbols=frames[0].get_chemical_symbols(),
    )


def _electronic(records: list[Record]) -> ElectronicTrajectory:
    ordered = sorted(records, key=_time)
    return ElectronicTrajectory(
        time=np.array([_time(record) for record in ordered]),
        orbital_energies=np.stack([_array_of(record, "orbital_energies") for record in ordered]),
        n_occupied=ordered[0].structure.n_electrons // 2,
    )


def _checkpoints(directory: Path) -> Checkpoints:
    references = sorted(read_records(directory / "checks.lmdb"), key=_time)
    predicted = {record.structure.content_hash: record for record in read_records(directory / "check_predictions.lmdb")}
    pairs = [(predicted[record.structure.content_hash], record) for record in references]
    cycles = {entry["step"]: entry for entry in read_json(directory / "scf_cycles.json")}
    steps = [record.structure.info["step"] for record in references]

    def mean_error(values: Callable[[Record], Array]) -> Array:
        return np.array([np.abs(values(model) - values(dft)).mean() for model, dft in pairs])

    return Checkpoints(
        time=np.array([_time(record) for record in references]),
        model_orbital_energies=np.stack([_array_of(model, "orbital_energies") for model, _ in pairs]),
        dft_orbital_energies=np.stack([_array_of(dft, "orbital_energies") for _, dft in pairs]),
        n_occupied=references[0].structure.n_electrons // 2,
        energy_error=np.array([float(_array_of(model, "energy") - _array_of(dft, "energy")) for model, dft in pairs]),
        force_mae=mean_error(lambda record: _array_of(record, "forces")),
        hamiltonian_mae=mean_error(lambda record: _matrix(record, "hamiltonian")),
        cycles_from_model=np.array([cycles[step]["from_model"] for step in steps], dtype=float),
        cycles_from_atoms=np.array([cycles[step]["from_atoms"] for step in steps], dtype=float),
    )


def _array_of(record: Record, name: str) -> Array:
    value = record.labels[name]
    assert isinstance(value, np.ndarray)
    return value


def _time(record: Record) -> float:
    return float(record.structure.info["time_fs"])
