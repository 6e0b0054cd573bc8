from pathlib import Path

import numpy as np
import pytest

from adiabat.core.errors import BasisError, FileFormatError
from adiabat.data.hamiltonian_formats.abacus import read_abacus
from adiabat.data.hamiltonian_formats.options import HamiltonianOptions
from adiabat.data.hamiltonian_formats.registry import detect_format
from foreign_files import write_abacus
from hamiltonian_files import boron_nitride

SHELLS = {5: [(0, 1.8), (1, 1.6)], 7: [(0, 2.0), (0, 4.0), (1, 2.0)]}
PLAIN = HamiltonianOptions()


@pytest.mark.parametrize("spin", [{}, {"exchange": 0.3}, {"spin_orbit": 0.6}])
def test_both_generations_of_files_are_one(spin: dict[str, float], tmp_path: Path) -> None:
    made = boron_nitride("abacus", shells=SHELLS, reach=2.8, **spin)
    found = []
    for generation in ("old", "new"):
        write_abacus(made, tmp_path / generation, generation=generation)
        assert detect_format(tmp_path / generation) == "abacus"
        found.append(read_abacus(tmp_path / generation, PLAIN))
    assert np.array_equal(found[0].hamiltonian.values, found[1].hamiltonian.values)
    assert found[0].basis.shells == {5: (0, 1), 7: (0, 0, 1)}
    assert found[0].basis.valence == {5: 3.0, 7: 5.0}
    assert (found[0].n_electrons, found[0].fermi_level, found[0].code_version) == (8.0, -3.25, "3.8.1")


def test_the_last_step_of_several_counts(tmp_path: Path) -> None:
    write_abacus(boron_nitride("abacus", shells=SHELLS, reach=2.8), tmp_path)
    path = tmp_path / "OUT.bn" / "data-HR-sparse_SPIN0.csr"
    last = path.read_text()
    first = last.replace("e-01", "e+00")
    expected = read_abacus(tmp_path, PLAIN).hamiltonian.values
    path.write_text(first + last)
    assert np.array_equal(read_abacus(tmp_path, PLAIN).hamiltonian.values, expected)


@pytest.mark.parametrize("cut", [0.02, 0.5, 0.98])
def test_truncated_file_is_refused(cut: float, tmp_path: Path) -> None:
    write_abacus(boron_nitride("abacus", shells=SHELLS, reach=2.8), tmp_path)
    path = tmp_path / "OUT.bn" / "data-SR-sparse_SPIN0.csr"
    text = path.read_text()
    path.write_text(text[: int(cut * len(text))])
    with pytest.raises(FileFormatError, match=r"data-SR-sparse_SPIN0\.csr"):
        read_abacus(tmp_path, PLAIN)


def test_matrices_of_another_basis_are_refused(tmp_path: Path) -> None:
    write_abacus(boron_nitride("abacus", shells=SHELLS, reach=2.8), tmp_path)
    stru = tmp_path / "STRU"
    stru.write_text(stru.read_text().replace("2s1p.orb", "2s2p1d.orb"))
    with pytest.raises(FileFormatError, match="9 orbitals"):
        read_abacus(tmp_path, PLAIN)


def test_orbital_files_without_shells_in_their_name_are_refused(tmp_path: Path) -> None:
    write_abacus(boron_nitride("abacus", shells=SHELLS, reach=2.8), tmp_path)
    stru = tmp_path / "STRU"
    stru.write_text(stru.read_text().replace("_2s1p.orb", "_mine.orb"))
    with pytest.raises(BasisError, match=r"ends in its shells"):
        read_abacus(tmp_path, PLAIN)


def test_missing_structure_is_named(tmp_path: Path) -> None:
    write_abacus(boron_nitride("abacus", shells=SHELLS, reach=2.8), tmp_path)
    (tmp_path / "STRU").unlink()
    with pytest.raises(FileFormatError, match="without STRU"):
        read_abacus(tmp_path, PLAIN)
