"""Where a command gets H, S and electrons from: a model and a structure, a store's record, or another code's files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adiabat.core.errors import ConfigError, FileFormatError

if TYPE_CHECKING:
    from adiabat.data.record import Record
    from adiabat.data.structure import Structure
    from adiabat.simulation.crystal_electrons import CrystalElectrons

MODEL_SUFFIX = ".safetensors"


def load_electrons(
    source: Path,
    structure: Path | None,
    *,
    record: int | None = None,
    electrons: float | None = None,
    device: str = "cpu",
    needs_bands: bool = False,
) -> "CrystalElectrons":
    """H, S and electrons of a crystal.

    Args:
        source: model file, store, or a file or folder of another code's Hamiltonian.
        structure: for a model: the structure's file.
        record: which record of a store or frame of a structure file; may be left out if there is only one.
        electrons: of the cell; by default counted.
        device: where a model computes.
        needs_bands: refuse a structure that is not periodic before anything is computed.

    Raises:
        ConfigError: a structure that is missing or not wanted, or a record that is not named.
        FileFormatError: files that are not what they should be.
    """
    from adiabat.simulation.crystal_electrons import crystal_from_record

    if source.suffix == MODEL_SUFFIX:
        return _from_model(source, structure, record, electrons, device, needs_bands)
    if structure is not None:
        raise ConfigError(
            f"{source.name} and a structure, {structure.name}",
            expected="a structure only with a model, which predicts its Hamiltonian",
            suggestion=f"leave out {structure.name}, or give a model: run/model.safetensors",
        )
    found, name = _record(source, record)
    if needs_bands:
        _require_periodic(found.structure)
    return crystal_from_record(found, source=name, n_electrons=electrons)


def _from_model(
    source: Path, structure: Path | None, record: int | None, electrons: float | None, device: str, needs_bands: bool
) -> "CrystalElectrons":
    from adiabat.models.device import compute_device
    from adiabat.models.package import load_model
    from adiabat.simulation.crystal_electrons import crystal_from_model

    if structure is None:
        raise ConfigError(
            f"the model {source.name} without a structure",
            expected="the structure whose Hamiltonian it is to predict",
            suggestion="name a file after the model: POSCAR, structure.cif, frames.xyz, data.lmdb",
        )
    found, name = _record(structure, record, labels=False)
    if needs_bands:
        _require_periodic(found.structure)
    model = load_model(source).to(compute_device(device)).eval()
    return crystal_from_model(model, found.structure, source=f"{source.name}, {name}", n_electrons=electrons)


def _record(path: Path, index: int | None, *, labels: bool = True) -> "tuple[Record, str]":
    """One record of a store or file, and what to call it."""
    from adiabat.data.store import DatasetStore

    if (path / "data.mdb").is_file():
        with DatasetStore.open(path) as store:
            number = _chosen(path, len(store), index)
            return store[number], f"{path.name} record {number}" if len(store) > 1 else path.name
    records = _read(path, labels)
    number = _chosen(path, len(records), index)
    return records[number], f"{path.name} frame {number}" if len(records) > 1 else path.name


def _read(path: Path, labels: bool) -> "Sequence[Record]":
    from adiabat.data.hamiltonian_formats.options import HamiltonianOptions
    from adiabat.data.hamiltonian_formats.registry import detect_format, read_hamiltonian
    from adiabat.data.label_keys import LABELS
    from adiabat.data.readers import ReadOptions, read_records

    if not path.exists():
        raise FileFormatError(
            f"no file or folder {path}",
            expected="a model, a store, a structure, or a Hamiltonian of another code",
            suggestion="check the path and the working folder",
        )
    name = detect_format(path)
    if name is not None:
        return [read_hamiltonian(path, name, HamiltonianOptions())[0]]
    if path.is_dir():
        raise FileFormatError(
            f"the folder {path}, which holds neither a store nor a Hamiltonian that adiabat knows",
            expected="a store (name.lmdb), or the output folder of a code that 'adiabat data import' reads",
            suggestion="see `adiabat data import --help`",
        )
    return read_records(path, options=ReadOptions(skip=frozenset() if labels else frozenset(LABELS), keep_cell=True))


def _chosen(path: Path, count: int, index: int | None) -> int:
    if index is None and count == 1:
        return 0
    if index is None or not -count <= index < count:
        raise ConfigError(
            f"{path.name} with {count} structures and {'no --record' if index is None else f'--record {index}'}",
            expected=f"--record from 0 to {count - 1}; negative numbers count from the end",
            suggestion=f"adiabat data inspect {path}, then --record 0",
        )
    return index % count


def _require_periodic(structure: "Structure") -> None:
    from adiabat.physics.high_symmetry import require_periodic

    require_periodic(structure)
