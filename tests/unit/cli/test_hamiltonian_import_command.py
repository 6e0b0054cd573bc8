import numpy as np
import pytest
from typer.testing import CliRunner

from adiabat.cli.data import HAMILTONIAN_FORMATS
from adiabat.cli.main import app
from adiabat.data.hamiltonian_formats.export import write_folders
from adiabat.data.hamiltonian_formats.registry import FORMATS
from adiabat.data.store import DatasetStore
from foreign_files import write_cp2k, write_scfout
from hamiltonian_files import boron_nitride, record_of

SHELLS = {5: [(0, 1.8), (1, 1.6)], 7: [(0, 2.0), (1, 2.0)]}


def run(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture
def folders(tmp_path):
    record = record_of(boron_nitride(shells=SHELLS, reach=2.8))
    write_folders([record], tmp_path / "new", "deeph")
    write_folders([record], tmp_path / "old", "deeph-legacy")
    return tmp_path


def test_help_names_every_format():
    assert set(HAMILTONIAN_FORMATS) == set(FORMATS)


def test_import_says_what_it_found_and_checked(folders):
    result = run(
        "import", folders / "new" / "0000", "-o", folders / "a.lmdb", "--valence", "B=3,N=5", "--method", "PBE"
    )
    assert result.exit_code == 0, result.output
    for text in (
        "0000: 1 structures",
        "deeph: BN, 2 atoms",
        "basis: B 1s 1p; N 1s 1p; 8 orbitals",
        "spin: none",
        "reach: 2.",
        "H is Hermitian to",
        "λ_min(S) = 0.",
        "orbital order: S is symmetric about",
        "1 records added",
    ):
        assert text in result.stdout
    with DatasetStore.open(folders / "a.lmdb") as store:
        record = store[0]
    assert record.provenance.orbital_basis.valence == {5: 3.0, 7: 5.0}
    assert (record.provenance.code, record.provenance.method) == ("deeph", "PBE")
    assert record.labels["fermi_level"] == -3.25


def test_formats_are_told_apart_without_being_named(folders):
    write_cp2k(boron_nitride(shells=SHELLS, reach=2.8), folders / "cp2k")
    write_scfout(boron_nitride("openmx", shells=SHELLS, reach=2.8), folders / "bn.scfout")
    paths = [folders / "new" / "0000", folders / "old" / "0000", folders / "cp2k", folders / "bn.scfout"]
    result = run("import", *paths, "-o", folders / "all.lmdb")
    assert result.exit_code == 0, result.output
    for text in ("deeph: BN", "cp2k 2023.1: BN", "openmx 3.9: BN", "4 records added"):
        assert text in result.stdout
    with DatasetStore.open(folders / "all.lmdb") as store:
        operators = [record.labels["hamiltonian"] for record in store]
    for operator in operators[1:]:
        np.testing.assert_allclose(operator.values, operators[0].values, rtol=0, atol=1e-12)


def test_export_gives_back_what_was_imported(folders):
    assert run("import", folders / "old" / "0000", "-o", folders / "a.lmdb").exit_code == 0
    result = run("export", folders / "a.lmdb", "-o", folders / "again", "--format", "deeph")
    assert result.exit_code == 0, result.output
    for name in ("hamiltonian.h5", "overlap.h5", "POSCAR"):
        first, second = (folders / place / "0000" / name for place in ("new", "again"))
        assert first.read_bytes() == second.read_bytes()
    result = run("export", folders / "a.lmdb", "-o", folders / "again", "--format", "deeph")
    assert result.exit_code == 1
    assert "which exists" in result.stderr


def test_a_damaged_folder_leaves_nothing(folders):
    path = folders / "new" / "0000" / "hamiltonian.h5"
    path.write_bytes(path.read_bytes()[:2000])
    before = sorted(p.name for p in folders.iterdir())
    result = run("import", folders / "old" / "0000", folders / "new" / "0000", "-o", folders / "a.lmdb")
    assert result.exit_code == 1
    assert "hamiltonian.h5, which cannot be read" in result.stderr
    assert sorted(p.name for p in folders.iterdir()) == before


def test_ambiguous_and_empty_folders_are_refused(folders):
    for path in (folders / "old" / "0000").iterdir():
        path.rename(folders / "new" / "0000" / path.name)
    result = run("import", folders / "new" / "0000", "-o", folders / "a.lmdb")
    assert result.exit_code == 1
    assert "say which one to read: --format" in result.stderr
    result = run("import", folders / "old", "-o", folders / "a.lmdb")
    assert result.exit_code == 1
    assert "a folder without files of a known calculation" in result.stderr


@pytest.mark.parametrize(
    ("valence", "message"), [("B3", "symbol=electrons"), ("Bo=3", "did you mean"), ("Si=4", "[14]")]
)
def test_wrong_valence_is_refused(valence, message, folders):
    result = run("import", folders / "new" / "0000", "-o", folders / "a.lmdb", "--valence", valence)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (folders / "a.lmdb").exists()


def test_options_that_a_format_has_no_use_for_are_refused(folders):
    (folders / "h.xyz").write_text("1\nenergy=-1\nH 0 0 0\n")
    for arguments, message in (
        ([folders / "new" / "0000", "--structure", folders / "h.xyz"], "whose files hold their structure"),
        ([folders / "h.xyz", "--valence", "H=1"], "holds no Hamiltonian"),
    ):
        result = run("import", *arguments, "-o", folders / "a.lmdb")
        assert result.exit_code == 1
        assert message in result.stderr


def test_charge_follows_from_the_electrons(folders):
    write_scfout(boron_nitride("openmx", shells=SHELLS, reach=2.8), folders / "bn.scfout")
    result = run("import", folders / "bn.scfout", "-o", folders / "a.lmdb", "--valence", "B=3,N=6")
    assert "electrons: 8, charge +1" in result.stdout
    with DatasetStore.open(folders / "a.lmdb") as store:
        record = store[0]
    assert record.structure.charge == 1
    assert record.provenance.orbital_basis.n_electrons(record.structure.atomic_numbers, record.structure.charge) == 8
    result = run("import", folders / "bn.scfout", "-o", folders / "b.lmdb", "--valence", "B=3,N=5.5")
    assert result.exit_code == 1
    assert "differ by a whole charge" in result.stderr
