from pathlib import Path

import numpy as np
import pytest

from adiabat.core.errors import FileFormatError, LabelError, ScfNotConvergedError
from adiabat.data.hamiltonian_formats.cp2k import images_from_log, read_cp2k_csr
from adiabat.data.hamiltonian_formats.cp2k_input import read_cp2k_input
from adiabat.data.hamiltonian_formats.cp2k_run import read_cp2k
from adiabat.data.hamiltonian_formats.options import HamiltonianOptions
from adiabat.data.hamiltonian_formats.registry import detect_format, read_hamiltonian
from foreign_files import write_cp2k
from hamiltonian_files import boron_nitride, record_of

SHELLS = {5: [(0, 1.8), (1, 1.6)], 7: [(0, 2.0), (1, 2.0)]}
PLAIN = HamiltonianOptions()


def run(folder: Path, **changes: object) -> Path:
    write_cp2k(boron_nitride(shells=SHELLS, reach=2.8), folder, **changes)
    return folder


def test_binary_and_text_hold_the_same(tmp_path: Path) -> None:
    found = [read_cp2k(run(tmp_path / str(binary), binary=binary), PLAIN) for binary in (True, False)]
    assert np.array_equal(found[0].hamiltonian.values, found[1].hamiltonian.values)
    assert found[0].basis.valence == {5: 3.0, 7: 5.0}
    assert found[0].basis.name == "toy"
    assert (found[0].n_electrons, found[0].code_version) == (8.0, "2023.1")
    assert detect_format(tmp_path / "True") == "cp2k"


def test_images_count_from_the_input_although_cp2k_wraps_atoms(tmp_path: Path) -> None:
    run(tmp_path)
    expected = record_of(boron_nitride(shells=SHELLS, reach=2.8)).labels["overlap"]
    path = tmp_path / "bn.inp"
    atom = boron_nitride().positions[1]
    moved = atom + boron_nitride().cell[1]
    line = " ".join(map(repr, atom.tolist()))
    assert line in path.read_text()
    path.write_text(path.read_text().replace(line, " ".join(map(repr, moved.tolist()))))
    found = read_cp2k(tmp_path, PLAIN)
    np.testing.assert_allclose(found.structure.positions[1], moved)
    rows = {tuple(pair): k for k, pair in enumerate(found.overlap.pairs.tolist())}
    for k, (x, y, z, i, j) in enumerate(expected.pairs.tolist()):
        row = rows[x, y + i - j, z, i, j]
        np.testing.assert_allclose(found.overlap.block(row), expected.block(k), atol=1e-15)
    assert "1 atoms were wrapped" in found.notes[0]


@pytest.mark.parametrize("binary", [True, False])
def test_truncated_matrix_is_refused(binary: bool, tmp_path: Path) -> None:
    run(tmp_path, binary=binary)
    path = tmp_path / "bn-KS_SPIN_1_R_2-1_0.csr"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FileFormatError, match=r"bn-KS_SPIN_1_R_2-1_0\.csr"):
        read_cp2k(tmp_path, PLAIN)


def test_missing_image_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "bn-S_SPIN_1_R_3-1_0.csr").unlink()
    with pytest.raises(FileFormatError, match="one file for each image"):
        read_cp2k(tmp_path, PLAIN)


def test_one_triangle_is_told_as_missing_pairs(tmp_path: Path) -> None:
    run(tmp_path)
    for path in tmp_path.glob("bn-S_SPIN_1_R_*.csr"):
        matrix = read_cp2k_csr(path, 8)
        rows, columns = matrix.nonzero()
        kept = rows <= columns
        lines = [f"{r + 1:8d}{c + 1:8d} {matrix[r, c]:.17e}\n" for r, c in zip(rows[kept], columns[kept], strict=True)]
        path.write_text("".join(lines))
    with pytest.raises(LabelError, match="UPPER_TRIANGULAR F"):
        read_hamiltonian(tmp_path, "cp2k", PLAIN)


def test_unconverged_scf_is_never_a_label(tmp_path: Path) -> None:
    run(tmp_path)
    log = tmp_path / "bn.log"
    log.write_text(log.read_text() + " *** WARNING in qs_scf.F:601 :: SCF run NOT converged ***\n")
    with pytest.raises(ScfNotConvergedError):
        read_cp2k(tmp_path, PLAIN)


def test_list_of_images_that_is_cut_off_is_refused() -> None:
    text = " KS CSR write|  3 periodic images\n      Number    X      Y      Z\n  1 0 0 0\n  2 -1 0 0\n"
    with pytest.raises(FileFormatError, match="cut off"):
        images_from_log(text)
    assert images_from_log(text + "  3 1 0 0\n").tolist() == [[0, 0, 0], [-1, 0, 0], [1, 0, 0]]


def test_structure_of_another_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "bn.inp"
    path.write_text(path.read_text().replace("1.44", "1.45"))
    with pytest.raises(FileFormatError, match="other atoms"):
        read_cp2k(tmp_path, PLAIN)


def test_structure_can_be_given(tmp_path: Path) -> None:
    from ase import Atoms
    from ase.io import write

    run(tmp_path)
    made = boron_nitride()
    write(tmp_path / "POSCAR", Atoms("BN", positions=made.positions, cell=made.cell, pbc=True), format="vasp")
    (tmp_path / "bn.inp").unlink()
    with pytest.raises(FileFormatError, match="--structure") as error:
        read_cp2k(tmp_path, PLAIN)
    assert "three decimals" in error.value.expected
    assert read_cp2k(tmp_path, HamiltonianOptions(tmp_path / "POSCAR")).structure.formula == "BN"


@pytest.mark.parametrize(
    ("cell", "coordinates", "expected"),
    [
        ("ABC 3 4 5", "UNIT bohr\n C 0 0 1", [0, 0, 0.529177]),
        ("ABC [bohr] 10 10 10\nALPHA_BETA_GAMMA 90 90 90", "SCALED\n C 0 0 0.5", [0, 0, 2.645886]),
        ("A 3 0 0\n B 0 3 0\n C 0 0 3\n PERIODIC XYZ", "C1 0 0 2 ! a kind with a number", [0, 0, 2]),
    ],
)
def test_input_in_its_dialects(cell: str, coordinates: str, expected: list[float], tmp_path: Path) -> None:
    path = tmp_path / "a.inp"
    path.write_text(f"&SUBSYS\n &CELL\n  {cell}\n &END CELL\n &COORD\n  {coordinates}\n &END COORD\n&END\n")
    np.testing.assert_allclose(read_cp2k_input(path).positions[0], expected, atol=1e-5)


@pytest.mark.parametrize("line", ["@INCLUDE cell.inc", "A ${A} 0 0"])
def test_input_that_needs_a_preprocessor_is_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "a.inp"
    path.write_text(f"&CELL\n{line}\n&END\n")
    with pytest.raises(FileFormatError, match="preprocessor"):
        read_cp2k_input(path)


def test_matrices_of_several_steps_are_refused(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "bn-KS_SPIN_1_R_1-1_1.csr").write_bytes(b"")
    with pytest.raises(FileFormatError, match="2 steps"):
        read_cp2k(tmp_path, PLAIN)
