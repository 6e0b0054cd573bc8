import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from adiabat.core.errors import BasisError, FileFormatError, LabelError, MissingExtraError
from adiabat.core.units import RYDBERG
from adiabat.data.hamiltonian_formats.options import HamiltonianOptions
from adiabat.data.hamiltonian_formats.registry import detect_format, read_hamiltonian
from adiabat.data.hamiltonian_formats.siesta import read_siesta
from hamiltonian_files import boron_nitride, record_of
from siesta_files import write_siesta

SHELLS = {5: [(0, 1.8), (1, 1.6)], 7: [(0, 2.0), (0, 4.0), (1, 2.0)]}
PLAIN = HamiltonianOptions()


def crystal(**changes: object):
    return boron_nitride("siesta", shells=SHELLS, reach=2.6, **changes)


@pytest.mark.parametrize("kind", ["HSX", "TSHS", "nc"])
@pytest.mark.parametrize("spin", [{}, {"exchange": 0.3}, {"spin_orbit": 0.6}])
def test_bands_of_each_file_and_spin_match_eig_to_a_micro_ev(kind: str, spin: dict[str, float], tmp_path: Path) -> None:
    write_siesta(crystal(**spin), tmp_path, kind)
    record, notes = read_hamiltonian(tmp_path, "siesta", PLAIN)
    assert "agree with bn.EIG" in notes[-1]
    assert float(notes[-1].split()[-2]) < 1e-6
    expected = record_of(boron_nitride(shells=SHELLS, reach=2.6, **spin)).labels["hamiltonian"]
    found = record.labels["hamiltonian"].on_pairs(expected.pairs)
    np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-12)
    assert record.provenance.orbital_basis.shells == {5: (0, 1), 7: (0, 0, 1)}


def test_fermi_level_that_sisl_takes_away_is_put_back(tmp_path: Path) -> None:
    write_siesta(crystal(spin_orbit=0.6), tmp_path, "nc")
    before = read_siesta(tmp_path, PLAIN)
    with netCDF4.Dataset(tmp_path / "bn.nc", "a") as file:
        file.variables["Ef"][:] = -0.25
    after = read_siesta(tmp_path, PLAIN)
    assert after.fermi_level == pytest.approx(-0.25 * RYDBERG, rel=1e-6)
    np.testing.assert_allclose(after.hamiltonian.values, before.hamiltonian.values, rtol=0, atol=1e-12)


def test_format_is_seen_from_the_files(tmp_path: Path) -> None:
    write_siesta(crystal(), tmp_path, "HSX")
    assert detect_format(tmp_path) == detect_format(tmp_path / "bn.HSX") == "siesta"


def test_orbitals_without_l_are_refused(tmp_path: Path) -> None:
    write_siesta(crystal(), tmp_path, "TSHS")
    (tmp_path / "bn.ORB_INDX").unlink()
    with pytest.raises(BasisError, match="no known l"):
        read_siesta(tmp_path, PLAIN)


@pytest.mark.parametrize("kind", ["HSX", "TSHS", "nc"])
def test_truncated_file_is_refused(kind: str, tmp_path: Path) -> None:
    write_siesta(crystal(), tmp_path, kind)
    path = tmp_path / f"bn.{kind}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FileFormatError, match=f"bn.{kind}"):
        read_siesta(tmp_path, PLAIN)


def test_eigenvalues_of_another_run_are_refused(tmp_path: Path) -> None:
    write_siesta(crystal(), tmp_path, "HSX")
    path = tmp_path / "bn.EIG"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first, rest[0], *(row.replace("1", "2") for row in rest[1:])]) + "\n")
    with pytest.raises((LabelError, FileFormatError), match="EIG"):
        read_hamiltonian(tmp_path, "siesta", PLAIN)


def test_without_sisl_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sisl", None)
    with pytest.raises(MissingExtraError, match=r"adiabat\[siesta\]"):
        read_siesta(tmp_path, PLAIN)


def test_electrons_and_version_come_from_the_output(tmp_path: Path) -> None:
    write_siesta(crystal(), tmp_path, "HSX")
    (tmp_path / "RUN.out").write_text("Version         : 5.2.0\n\nTotal number of electrons:     8.000000\n")
    found = read_siesta(tmp_path, PLAIN)
    assert (found.code_version, found.n_electrons) == ("5.2.0", 8.0)
