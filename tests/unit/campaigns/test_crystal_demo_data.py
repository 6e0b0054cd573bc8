from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg

from adiabat.campaigns.boron_nitride_geometries import VACUUM, boron_nitride, sample_boron_nitride
from adiabat.campaigns.crystal_demo_data import DEMO_FILE, demo_structures, shipped_demo_records
from adiabat.campaigns.packed_crystals import pack_crystals, unpack_crystals
from adiabat.core.errors import FileFormatError, LabelError
from adiabat.data.record import Record
from adiabat.engines.mid_gap import dense_bloch_matrix

K_POINT = np.array([1 / 3, 1 / 3, 0.0])


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return shipped_demo_records()


def test_shipped_labels_are_those_of_the_demo_cells(records):
    assert [record.structure.content_hash for record in records] == [s.content_hash for s in demo_structures()]
    splits = [record.structure.info["split"] for record in records]
    assert (splits.count("train"), splits.count("heldout")) == (40, 3)
    assert len({record.provenance.method for record in records}) == 1
    assert DEMO_FILE.stat().st_size < 2e6


def test_matrices_are_hermitian_and_the_gap_holds_the_fermi_level(records):
    for record in records[20:41:4]:
        hamiltonian, overlap = record.labels["hamiltonian"], record.labels["overlap"]
        assert hamiltonian.hermiticity_error() == 0
        filled = round(record.provenance.orbital_basis.n_electrons(record.structure.atomic_numbers)) // 2
        h, s = (dense_bloch_matrix(operator, K_POINT) for operator in (hamiltonian, overlap))
        assert np.linalg.eigvalsh(s).min() > 0.05
        energies = scipy.linalg.eigvalsh(h, s)
        assert energies[filled - 1] < record.labels["fermi_level"] < energies[filled]


def test_the_perfect_layer_has_no_forces_and_the_gap_of_pbe(records):
    perfect = records[40]
    assert np.abs(perfect.labels["forces"]).max() < 1e-5
    h, s = (dense_bloch_matrix(perfect.labels[name], K_POINT) for name in ("hamiltonian", "overlap"))
    energies = scipy.linalg.eigvalsh(h, s)
    assert 4.4 < energies[4] - energies[3] < 5.2  # 4.7 in plane waves, at K


def test_packing_keeps_everything(records, tmp_path):
    chosen = [records[0], records[40]]
    pack_crystals(chosen, tmp_path / "two.npz")
    for before, after in zip(chosen, unpack_crystals(tmp_path / "two.npz"), strict=True):
        assert before.key == after.key
        assert dict(before.structure.info) == dict(after.structure.info)
        assert set(before.labels) == set(after.labels)
        for name in ("energy", "forces", "stress", "fermi_level"):
            assert np.array_equal(before.labels[name], after.labels[name])
        for name in ("hamiltonian", "overlap"):
            assert np.array_equal(before.labels[name].pairs, after.labels[name].pairs)
            assert np.array_equal(before.labels[name].values, after.labels[name].values)


def test_packing_rounds_by_half_a_step_at_most(records, tmp_path):
    hamiltonian = records[40].labels["hamiltonian"]
    noise = 1e-3 * np.random.default_rng(0).standard_normal(hamiltonian.values.shape)
    noisy = hamiltonian.with_values(hamiltonian.values + noise).symmetrized()
    record = replace(records[40], labels={**records[40].labels, "hamiltonian": noisy})
    pack_crystals([record], tmp_path / "one.npz")
    after = unpack_crystals(tmp_path / "one.npz")[0].labels["hamiltonian"]
    assert 4e-7 < np.abs(after.values - noisy.values).max() <= 5.001e-7


def test_damaged_files_and_records_without_matrices_are_refused(records, tmp_path):
    (tmp_path / "cut.npz").write_bytes(DEMO_FILE.read_bytes()[:2000])
    with pytest.raises(FileFormatError, match=r"cut\.npz"):
        unpack_crystals(tmp_path / "cut.npz")
    with pytest.raises(LabelError, match="without a Hamiltonian"):
        pack_crystals([replace(records[0], labels={"energy": np.array(1.0)})], tmp_path / "none.npz")


def test_cells_are_strained_in_the_plane_and_displaced():
    cells = sample_boron_nitride([("train", (2, 1), 30)], strain=0.03, displacement=0.05, seed=1)
    again = sample_boron_nitride([("train", (2, 1), 30)], strain=0.03, displacement=0.05, seed=1)
    assert [s.content_hash for s in cells] == [s.content_hash for s in again]
    perfect = boron_nitride((2, 1))
    strains = np.array([np.linalg.solve(perfect.cell, s.cell) - np.eye(3) for s in cells])
    assert np.abs(strains).max() < 0.03
    assert np.abs(strains[:, 2]).max() < 1e-15
    assert all(s.cell[2, 2] == VACUUM for s in cells)
    moved = np.array([s.positions - perfect.positions @ (np.eye(3) + e) for s, e in zip(cells, strains, strict=True)])
    assert moved.std() == pytest.approx(0.05, rel=0.1)
