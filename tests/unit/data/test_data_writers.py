import ase.io
import numpy as np
import pytest

from adiabat.core.errors import FileFormatError, LabelError
from adiabat.core.operators import BlockOperator
from adiabat.data.readers import read_file, read_records
from adiabat.data.record import Provenance, Record
from adiabat.data.structure import Structure
from adiabat.data.writers import write_extxyz, write_operators


def cell_record():
    stress = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]]) * 1e-3
    labels = {
        "energy": np.array(-7.25),
        "forces": np.array([[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]]),
        "stress": stress,
        "charges": np.array([0.5, -0.5]),
        "dipole": np.array([0.1, 0.0, 0.2]),
    }
    structure = Structure(
        np.array([11, 17]),
        np.array([[0.0, 0, 0], [2.8, 0, 0]]),
        np.eye(3) * 5.6,
        np.ones(3, dtype=bool),
        charge=1,
        spin=1,
    )
    return Record(structure, labels, Provenance("toy", method="PBE"))


def test_what_is_written_is_read_back(tmp_path):
    assert write_extxyz([cell_record()], tmp_path / "out.xyz") == 1
    back = read_records(tmp_path / "out.xyz")[0]
    # Eight decimals are what ASE writes of positions and forces.
    for name, value in cell_record().labels.items():
        np.testing.assert_allclose(back.labels[name], value, atol=1e-8)
    assert back.structure.content_hash == cell_record().structure.content_hash
    assert [file.name for file in tmp_path.iterdir()] == ["out.xyz"]


def test_ase_finds_the_labels(tmp_path):
    write_extxyz([cell_record()], tmp_path / "out.xyz")
    atoms = ase.io.read(tmp_path / "out.xyz")
    assert atoms.get_potential_energy() == -7.25
    np.testing.assert_allclose(atoms.get_stress(), np.array([1, 2, 3, 4, 5, 6]) * 1e-3)


def test_messy_data_comes_out_clean(tmp_path, repository):
    records = read_records(repository / "tests" / "data" / "messy" / "ethanol.xyz")
    write_extxyz(records, tmp_path / "clean.xyz")
    reading = read_file(tmp_path / "clean.xyz")
    assert reading.keys.energy == "energy"
    assert len(reading.records) == 12
    assert float(reading.records[0].labels["energy"]) == pytest.approx(-4209.783455217897)


def test_operators(tmp_path):
    operator = BlockOperator.from_dense(np.array([[1.0, 0.2], [0.2, 2.0]]), np.array([1, 1]))
    structure = Structure(np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, 0.74]]))
    record = Record(structure, {"energy": np.array(-1.0), "hamiltonian": operator}, Provenance("toy"))
    assert write_operators([record], tmp_path / "h.npz") == 1
    with np.load(tmp_path / "h.npz", allow_pickle=False) as data:
        np.testing.assert_array_equal(data["0/hamiltonian/values"], operator.values)
        np.testing.assert_array_equal(data["0/hamiltonian/pairs"], operator.pairs)
        assert float(data["0/energy"]) == -1.0
        assert "hamiltonian [eV]" in str(data["units"])


def test_nothing_to_write(tmp_path):
    with pytest.raises(FileFormatError, match="no records"):
        write_extxyz([], tmp_path / "out.xyz")
    with pytest.raises(LabelError, match="without operators"):
        write_operators([cell_record()], tmp_path / "out.npz")
    assert list(tmp_path.iterdir()) == []
