"""Read a quickstart's run directory back into plain arrays."""

import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np

from adiabat.core.errors import FileFormatError
from adiabat.core.operators import BlockOperator
from adiabat.data.record import Record
from adiabat.data.store import DatasetStore
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


def load_results(directory: Path) -> QuickstartResults:
    """Everything that the page shows.

    Args:
        directory: a finished run of ``adiabat quickstart``.

    Raises:
        FileFormatError: a file of the run is missing or damaged.
        StoreError: a store is missing or damaged.
    """
    dynamics = _dynamics(directory / "dynamics")
    training = _records(directory / "train.lmdb")
    return QuickstartResults(
        run=_json(directory / "run.json"),
        stages={name: float(entry["seconds"]) for name, entry in _json(directory / "stages.json")["stages"].items()},
        training_positions=np.stack([record.structure.positions for record in training]),
        test=_test_errors(_records(directory / "test.lmdb"), _records(directory / "test_predictions.lmdb")),
        learning=_learning_curves(directory / "training" / "metrics.jsonl"),
        dynamics=dynamics,
        electronic=_electronic(_records(directory / "electrons.lmdb")),
        checkpoints=_checkpoints(directory),
    )


def _test_errors(references: list[Record], predictions: list[Record]) -> HeldOutErrors:
    predicted = {record.structure.content_hash: record for record in predictions}
    pairs = [(reference, predicted[reference.structure.content_hash]) for reference in references]
    n_occupied = references[0].structure.n_electrons // 2

    def parity(values: Any) -> Parity:
        return Parity(*(np.concatenate([np.ravel(values(pair[side])) for pair in pairs]) for side in (0, 1)))

    h0 = np.concatenate([_matrix(reference, "h0") for reference in references])
    hamiltonian = parity(lambda record: _matrix(record, "hamiltonian"))
    return HeldOutErrors(
        n_structures=len(references),
        energy=parity(lambda record: record.labels["energy"]),
        forces=parity(lambda record: record.labels["forces"]),
        hamiltonian=hamiltonian,
        h0=h0,
        orbital_energies=parity(lambda record: record.labels["orbital_energies"][:n_occupied]),
        gap=parity(lambda record: np.diff(record.labels["orbital_energies"][n_occupied - 1 : n_occupied + 1])),
    )


def _matrix(record: Record, name: str) -> Array:
    """Matrix elements, flat: the upper triangle, since the lower one repeats it."""
    operator = record.labels[name]
    assert isinstance(operator, BlockOperator)
    dense = operator.to_dense()
    return dense[np.triu_indices(len(dense))]


def _learning_curves(path: Path) -> LearningCurves:
    lines = [line for line in _json_lines(path) if line["kind"] == "validation"]
    return LearningCurves(
        steps=np.array([line["step"] for line in lines], dtype=float),
        errors={
            target: np.array([line[f"{target}_mae"] for line in lines])
            for target in ("energy", "forces", "hamiltonian")
        },
    )


def _dynamics(directory: Path) -> Dynamics:
    log = _json_lines(directory / "log.jsonl")
    frames = ase.io.read(directory / "trajectory.xyz", index=":")
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
        orbital_energies=np.stack([record.labels["orbital_energies"] for record in ordered]),
        n_occupied=ordered[0].structure.n_electrons // 2,
    )


def _checkpoints(directory: Path) -> Checkpoints:
    references = sorted(_records(directory / "checks.lmdb"), key=_time)
    predicted = {record.structure.content_hash: record for record in _records(directory / "check_predictions.lmdb")}
    pairs = [(predicted[record.structure.content_hash], record) for record in references]
    cycles = {entry["step"]: entry for entry in _json(directory / "scf_cycles.json")}
    steps = [record.structure.info["step"] for record in references]

    def mean_error(values: Any) -> Array:
        return np.array([np.abs(values(model) - values(dft)).mean() for model, dft in pairs])

    return Checkpoints(
        time=np.array([_time(record) for record in references]),
        model_orbital_energies=np.stack([model.labels["orbital_energies"] for model, _ in pairs]),
        dft_orbital_energies=np.stack([dft.labels["orbital_energies"] for _, dft in pairs]),
        n_occupied=references[0].structure.n_electrons // 2,
        energy_error=np.array([float(model.labels["energy"] - dft.labels["energy"]) for model, dft in pairs]),
        force_mae=mean_error(lambda record: record.labels["forces"]),
        hamiltonian_mae=mean_error(lambda record: _matrix(record, "hamiltonian")),
        cycles_from_model=np.array([cycles[step]["from_model"] for step in steps]),
        cycles_from_atoms=np.array([cycles[step]["from_atoms"] for step in steps]),
    )


def _time(record: Record) -> float:
    return float(record.structure.info["time_fs"])


def _records(path: Path) -> list[Record]:
    with DatasetStore.open(path) as store:
        return list(store)


def _json(path: Path) -> Any:
    return _parsed(path, lambda text: json.loads(text))


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return _parsed(path, lambda text: [json.loads(line) for line in text.splitlines()])


def _parsed(path: Path, parse: Any) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"{path}, which cannot be read: {error}",
            expected="the directory of a finished `adiabat quickstart`",
            suggestion="run `adiabat quickstart -o` with that directory again; it completes what is missing",
        ) from error
