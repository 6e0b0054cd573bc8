import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from adiabat.core.errors import BasisError, FileFormatError, LabelError
from adiabat.core.operators import BlockOperator
from adiabat.data.hamiltonian_formats.contents import Crystal
from adiabat.data.hamiltonian_formats.deeph import read_deeph, write_deeph
from adiabat.data.hamiltonian_formats.deeph_legacy import read_deeph_legacy, write_deeph_legacy
from adiabat.data.hamiltonian_formats.export import write_folders
from adiabat.data.record import Record
from analytic_crystals import AnalyticCrystal
from hamiltonian_files import boron_nitride, record_of, spin_of, structure_of

SPINS: dict[str, dict[str, float]] = {"none": {}, "collinear": {"exchange": 0.3}, "spinor": {"spin_orbit": 0.6}}
LAYOUTS: dict[str, tuple[Callable[[Record, Path], None], Callable[[Path], Crystal]]] = {
    "deeph": (write_deeph, read_deeph),
    "deeph-legacy": (write_deeph_legacy, read_deeph_legacy),
}


def small(**changes: object) -> AnalyticCrystal:
    shells = {5: [(0, 0.9), (1, 0.8)], 7: [(0, 1.0), (2, 1.0)]}
    return boron_nitride(shells=shells, reach=2.6, **changes)


def same(first: BlockOperator, second: BlockOperator) -> bool:
    return (
        np.array_equal(first.pairs, second.pairs)
        and np.array_equal(first.values, second.values)
        and first.values.dtype == second.values.dtype
        and first.spin == second.spin
    )


@pytest.mark.parametrize("spin", SPINS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_is_read_bit_for_bit(layout: str, spin: str, tmp_path: Path) -> None:
    write, read = LAYOUTS[layout]
    crystal = boron_nitride(**SPINS[spin])
    assert spin_of(crystal) == spin
    record = record_of(crystal, valence={5: 3.0, 7: 5.0})
    write(record, tmp_path)
    found = read(tmp_path)
    assert same(found.hamiltonian, record.labels["hamiltonian"])
    assert same(found.overlap, record.labels["overlap"])
    assert np.array_equal(found.structure.positions, crystal.positions)
    assert np.array_equal(found.structure.cell, crystal.cell)
    assert np.array_equal(found.structure.atomic_numbers, crystal.numbers)
    assert found.structure.pbc.all()
    assert found.basis.shells == record.provenance.orbital_basis.shells
    assert found.fermi_level == -3.25
    assert found.n_electrons == (8.0 if layout == "deeph" else None)


def test_new_layout_is_what_deeph_documents(tmp_path: Path) -> None:
    crystal = small()
    write_deeph(record_of(crystal), tmp_path)
    info = json.loads((tmp_path / "info.json").read_text())
    assert info["elements_orbital_map"] == {"B": [0, 1], "N": [0, 2]}
    assert info["spinful"] is False
    assert info["orbits_quantity"] == 10
    with h5py.File(tmp_path / "overlap.h5") as file:
        pairs, shapes, bounds = (file[key][()] for key in ("atom_pairs", "chunk_shapes", "chunk_boundaries"))
        entries = file["entries"][()]
    row = pairs.tolist().index([0, 1, 0, 1, 0])
    block = entries[bounds[row] : bounds[row + 1]].reshape(shapes[row])
    assert np.array_equal(block, crystal.overlap()[0, 1, 0][4:, :4])


def test_legacy_layout_is_what_deeph_pack_documents(tmp_path: Path) -> None:
    crystal = small()
    write_deeph_legacy(record_of(crystal), tmp_path)
    assert np.array_equal(np.loadtxt(tmp_path / "lat.dat")[:, 0], crystal.cell[0])
    assert np.array_equal(np.loadtxt(tmp_path / "site_positions.dat")[:, 1], crystal.positions[1])
    assert (tmp_path / "orbital_types.dat").read_text() == "0 1\n0 2\n"
    # Written down from OpenMX's documented harmonics, not through the package's table.
    openmx = small(code="openmx").hamiltonian()
    with h5py.File(tmp_path / "hamiltonians.h5") as file:
        np.testing.assert_allclose(file["[0, 1, 0, 2, 1]"][()], openmx[0, 1, 0][4:, :4], rtol=0, atol=1e-12)


def test_legacy_spinor_blocks_are_spin_major(tmp_path: Path) -> None:
    crystal = small(code="openmx", spin_orbit=0.6)
    write_deeph_legacy(record_of(small(spin_orbit=0.6)), tmp_path)
    four = crystal.hamiltonian()[0, 0, 0][:, :4, :4]
    expected = np.block([[four[0], four[1]], [four[2], four[3]]])
    with h5py.File(tmp_path / "hamiltonians.h5") as file:
        np.testing.assert_allclose(file["[0, 0, 0, 1, 1]"][()], expected, rtol=0, atol=1e-12)


def test_poscar_groups_elements_and_pairs_follow(tmp_path: Path) -> None:
    numbers, shells = [5, 7, 5], {5: [(0, 0.9)], 7: [(0, 1.0), (1, 1.0)]}
    positions = np.array([[0.0, 0.0, 0.0], [0.1, 1.4, 0.3], [1.2, 0.5, 1.9]])
    crystal = boron_nitride(numbers=numbers, positions=positions, shells=shells)
    write_deeph(record_of(crystal), tmp_path)
    found = read_deeph(tmp_path)
    order = [0, 2, 1]
    assert found.structure.atomic_numbers.tolist() == [5, 5, 7]
    grouped = boron_nitride(numbers=[5, 5, 7], positions=positions[order], shells=shells)
    assert same(found.hamiltonian, record_of(grouped).labels["hamiltonian"])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["hamiltonian", "overlap"])
def test_truncated_file_is_named(layout: str, name: str, tmp_path: Path) -> None:
    write, read = LAYOUTS[layout]
    write(record_of(small()), tmp_path)
    path = next(tmp_path.glob(f"{name}*.h5"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FileFormatError, match=path.name):
        read(tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_file_is_named(layout: str, tmp_path: Path) -> None:
    write, read = LAYOUTS[layout]
    write(record_of(small()), tmp_path)
    (tmp_path / "info.json").unlink()
    with pytest.raises(FileFormatError, match=r"without info\.json"):
        read(tmp_path)


def test_wrong_spin_layout_is_refused(tmp_path: Path) -> None:
    write_deeph(record_of(small()), tmp_path)
    info = json.loads((tmp_path / "info.json").read_text())
    (tmp_path / "info.json").write_text(json.dumps({**info, "spinful": True}))
    with pytest.raises(FileFormatError, match="spinor"):
        read_deeph(tmp_path)


def test_entries_that_do_not_fit_their_boundaries_are_refused(tmp_path: Path) -> None:
    write_deeph(record_of(small()), tmp_path)
    with h5py.File(tmp_path / "hamiltonian.h5", "a") as file:
        entries = file["entries"][()]
        del file["entries"]
        file["entries"] = entries[:-3]
    with pytest.raises(FileFormatError, match="disagree"):
        read_deeph(tmp_path)


def test_mixed_bases_of_one_element_are_refused(tmp_path: Path) -> None:
    shells = {5: [(0, 0.9)], 7: [(0, 1.0)]}
    record = record_of(boron_nitride(numbers=[5, 5], shells=shells))
    write_deeph_legacy(record, tmp_path)
    (tmp_path / "orbital_types.dat").write_text("0\n1\n")
    with pytest.raises(BasisError, match="one basis"):
        read_deeph_legacy(tmp_path)


def test_export_writes_all_or_nothing(tmp_path: Path) -> None:
    good = record_of(small())
    bare = Record(structure_of(small()), {}, good.provenance)
    with pytest.raises(LabelError, match="hamiltonian and overlap"):
        write_folders([good, bare], tmp_path / "out", "deeph")
    assert list(tmp_path.iterdir()) == []
    assert write_folders([good, good], tmp_path / "out", "deeph-legacy") == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0000", "0001"]
    with pytest.raises(FileFormatError, match="exists"):
        write_folders([good], tmp_path / "out", "deeph")
