from pathlib import Path

import numpy as np
import pytest

from adiabat.core.errors import AdiabatError, ConfigError, LabelError
from adiabat.data.record import Provenance, Record
from adiabat.data.store import DatasetStore
from adiabat.physics.reference_energies import free_atom
from adiabat.training.setup import prepare
from labelled_waters import tiny_config, water_records, write_store

ATOMS = {1: -13.5, 8: -2038.0}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "waters.lmdb", water_records(4))


def atoms_store(path: Path, elements: tuple[int, ...]) -> Path:
    with DatasetStore.create(path) as store:
        for z in elements:
            store.append(Record(free_atom(z), {"energy": np.array(ATOMS[z])}, Provenance("pyscf", method="HF")))
    return path


def source(config) -> tuple[str, dict[str, float]]:
    reference = prepare(config).provenance["statistics"]["reference_energies"]
    return reference["source"], reference["values"]


def test_least_squares_by_default_reproduces_the_mean_energy(store):
    name, values = source(tiny_config(store))
    with DatasetStore.open(store) as records:
        mean = np.mean([float(record.labels["energy"]) for record in records])
    assert name == "least_squares"
    assert 2 * values["H"] + values["O"] == pytest.approx(mean, rel=1e-12)


def test_given_values_are_taken_as_they_are(store):
    data = {"train": str(store), "reference_energies": {"H": -13.0, "O": -2000.0}}
    assert source(tiny_config(store, data=data)) == ("given", {"H": -13.0, "O": -2000.0})


def test_free_atoms_of_a_store_are_found(store, tmp_path):
    atoms = atoms_store(tmp_path / "atoms.lmdb", (1, 8))
    assert source(tiny_config(store, data={"isolated_atoms": str(atoms)})) == (
        "isolated_atoms",
        {"H": -13.5, "O": -2038.0},
    )


def test_a_missing_free_atom_is_named(store, tmp_path):
    atoms = atoms_store(tmp_path / "atoms.lmdb", (1,))
    with pytest.raises(LabelError, match="without a free atom of O"):
        prepare(tiny_config(store, data={"isolated_atoms": str(atoms)}))


def test_two_sources_at_once_are_refused(store):
    with pytest.raises(ConfigError, match="not both"):
        tiny_config(store, data={"isolated_atoms": "atoms.lmdb", "reference_energies": {"H": 1.0}})


def test_an_element_without_a_value_is_refused(store):
    with pytest.raises(AdiabatError, match="no reference energy for O"):
        prepare(tiny_config(store, data={"reference_energies": {"H": -13.0}}))
