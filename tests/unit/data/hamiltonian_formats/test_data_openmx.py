from pathlib import Path

import numpy as np
import pytest

from adiabat.core.errors import BasisError, FileFormatError
from adiabat.data.hamiltonian_formats.openmx import read_openmx
from adiabat.data.hamiltonian_formats.openmx_binary import read_scfout
from adiabat.data.hamiltonian_formats.options import HamiltonianOptions
from adiabat.data.hamiltonian_formats.registry import detect_format, read_hamiltonian
from foreign_files import write_openmx_eigenvalues, write_scfout
from hamiltonian_files import boron_nitride
from siesta_files import bands_of

SHELLS = {5: [(0, 1.8), (1, 1.6)], 7: [(0, 2.0), (0, 4.0), (1, 2.0)]}
K_POINTS = np.array([[0.0, 0.0, 0.0], [0.25, -0.5, 0.125]])
PLAIN = HamiltonianOptions()


@pytest.mark.parametrize("version", [0, 3])
def test_versions_before_and_since_3_9(version: int, tmp_path: Path) -> None:
    write_scfout(boron_nitride("openmx", shells=SHELLS, reach=2.8), tmp_path / "bn.scfout", version=version)
    found = read_openmx(tmp_path, PLAIN)
    assert found.code_version == ("3.9" if version else "3.7 or 3.8")
    assert found.basis.shells == {5: (0, 1), 7: (0, 0, 1)}
    assert found.basis.valence == {5: 3.0, 7: 5.0}
    assert found.n_electrons == 8.0
    assert found.fermi_level == pytest.approx(-3.25)
    assert detect_format(tmp_path) == "openmx"


@pytest.mark.parametrize("spin", [{}, {"exchange": 0.3}, {"spin_orbit": 0.6}])
def test_eigenvalues_of_its_output_are_compared(spin: dict[str, float], tmp_path: Path) -> None:
    made = boron_nitride("openmx", shells=SHELLS, reach=2.8, **spin)
    write_scfout(made, tmp_path / "bn.scfout")
    write_openmx_eigenvalues(bands_of(made, K_POINTS), K_POINTS, tmp_path / "bn.out")
    _, notes = read_hamiltonian(tmp_path, "openmx", PLAIN)
    assert "2 k agree with bn.out to" in notes[-1]
    assert float(notes[-1].split()[-2]) < 1e-9


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9])
def test_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    path = tmp_path / "bn.scfout"
    write_scfout(boron_nitride("openmx", shells=SHELLS, reach=2.8), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(FileFormatError, match=r"no complete \.scfout"):
        read_scfout(path)


def test_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bn.scfout"
    path.write_bytes(np.arange(100, dtype=">i4").tobytes())
    with pytest.raises(FileFormatError, match=r"no complete \.scfout"):
        read_scfout(path)


def test_input_of_another_basis_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bn.scfout"
    write_scfout(boron_nitride("openmx", shells=SHELLS, reach=2.8), path)
    path.write_bytes(path.read_bytes().replace(b"N6.0-s2p1", b"N6.0-s1p1"))
    with pytest.raises(BasisError, match=r"5 orbitals on an atom whose basis is N6\.0-s1p1"):
        read_openmx(path, PLAIN)
