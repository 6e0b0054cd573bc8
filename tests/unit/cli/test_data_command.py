import json

import pytest
from ase.io import read
from typer.testing import CliRunner

from adiabat.cli.main import app
from adiabat.data.splits import Split
from adiabat.data.store import DatasetStore


@pytest.fixture
def messy(repository):
    return repository / "tests" / "data" / "messy"


def run(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture
def store(messy, tmp_path):
    result = run("import", messy / "ethanol.xyz", "-o", tmp_path / "e.lmdb", "--method", "PBE/def2-SVP")
    assert result.exit_code == 0, result.output
    return tmp_path / "e.lmdb"


def test_import_says_what_it_found(messy, tmp_path):
    result = run("import", messy / "ethanol.xyz", messy / "silicon_strained.xyz", "-o", tmp_path / "both.lmdb")
    assert result.exit_code == 0
    assert "energy: key 'Energy' in 12 of 12 frames, taken as eV" in result.stdout
    assert "treated as a molecule; --keep-cell to keep it (12 frames)" in result.stdout
    assert "stress: key 'vasp_stress_raw' in 12 of 12 frames, taken as kbar" in result.stdout
    assert "24 records added" in result.stdout


def test_an_existing_store_is_left_alone(store, messy):
    with DatasetStore.open(store) as opened:
        before = opened.content_hash
    result = run("import", messy / "acetylacetone.xyz", "-o", store)
    assert result.exit_code == 1
    assert "--append" in result.stderr
    bad = store.parent / "bad.xyz"
    bad.write_text("2\nenergy=1\nH 0 0 0\n")
    assert run("import", messy / "acetylacetone.xyz", bad, "-o", store, "--append").exit_code == 1
    with DatasetStore.open(store) as opened:
        assert opened.content_hash == before


def test_append_skips_what_is_there(store, messy):
    result = run("import", messy / "ethanol.xyz", messy / "acetylacetone.xyz", "-o", store, "--append",
                 "--method", "PBE/def2-SVP")  # fmt: skip
    assert result.exit_code == 0
    assert "12 records added" in result.stdout
    assert "12 were there already" in result.stdout


def test_a_failed_import_leaves_nothing(tmp_path):
    (tmp_path / "bad.xyz").write_text("2\nenergy=1\nH 0 0 0\n")
    result = run("import", tmp_path / "bad.xyz", "-o", tmp_path / "new.lmdb")
    assert result.exit_code == 1
    assert "line 3 of bad.xyz" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["bad.xyz"]


def test_keys_units_and_skip(tmp_path):
    (tmp_path / "a.xyz").write_text('1\nLattice="3 0 0 0 3 0 0 0 3" U=-1 V=-2 stress="1 1 1 0 0 0"\nH 0 0 0\n')
    result = run("import", tmp_path / "a.xyz", "-o", tmp_path / "a.lmdb", "--energy-key", "V",
                 "--energy-unit", "rydberg", "--skip", "stress")  # fmt: skip
    assert result.exit_code == 0, result.output
    with DatasetStore.open(tmp_path / "a.lmdb") as opened:
        assert list(opened[0].labels) == ["energy"]
        assert float(opened[0].labels["energy"]) == pytest.approx(-27.2114, abs=1e-3)
    result = run("import", tmp_path / "a.xyz", "-o", tmp_path / "b.lmdb", "--skip", "stres")
    assert result.exit_code == 1
    assert "did you mean 'stress'?" in result.stderr


def test_inspect(store):
    result = run("inspect", store)
    assert result.exit_code == 0
    for words in ("12", "energy (12), forces (12)", "PBE/def2-SVP by file", "ethanol.xyz"):
        assert words in result.stdout
    assert "C2H6O" in run("inspect", store, "--record", "-1").stdout
    missing = run("inspect", store, "--record", "12")
    assert missing.exit_code == 1
    assert "record 12" in missing.stderr


def test_audit_exit_codes(store, messy):
    assert run("audit", store).exit_code == 0
    failed = run("audit", messy / "copper_strained.xyz")
    assert failed.exit_code == 1
    assert "--stress-order" in failed.stderr
    as_json = run("audit", messy / "copper_strained.xyz", "--json")
    assert as_json.exit_code == 1
    assert not json.loads(as_json.stdout)["passed"]


@pytest.mark.parametrize("by", ["random", "distance"])
def test_split_and_export(store, tmp_path, by):
    split_file = tmp_path / "split.json"
    result = run("split", store, "-o", split_file, "--by", by, "--test", "3", "--validation", "2")
    assert result.exit_code == 0, result.output
    assert "7 train, 2 validation, 3 test" in result.stdout
    exported = run("export", store, "-o", tmp_path / "test.xyz", "--split", split_file, "--part", "test")
    assert exported.exit_code == 0, exported.output
    frames = read(tmp_path / "test.xyz", ":")
    with DatasetStore.open(store) as opened:
        expected = [float(opened[k].labels["energy"]) for k in Split.load(split_file).test]
    assert [atoms.get_potential_energy() for atoms in frames] == pytest.approx(expected)


def test_split_by_group(messy, tmp_path):
    run("import", messy / "acetylacetone.xyz", messy / "isolated_atoms.xyz", "-o", tmp_path / "a.lmdb")
    result = run("split", tmp_path / "a.lmdb", "-o", tmp_path / "s.json", "--by", "group", "--test", "3",
                 "--validation", "0")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert Split.load(tmp_path / "s.json").test.tolist() == [12, 13, 14]
    unknown = run("split", tmp_path / "a.lmdb", "-o", tmp_path / "t.json", "--by", "group", "--key", "config_typ")
    assert unknown.exit_code == 1
    assert "config_type" in unknown.stderr


def test_export_of_operators_without_any(store, tmp_path):
    assert run("export", store, "-o", tmp_path / "h.npz").exit_code == 1
    assert run("export", store, "-o", tmp_path / "h.txt").exit_code == 1
    assert not (tmp_path / "h.npz").exists()
