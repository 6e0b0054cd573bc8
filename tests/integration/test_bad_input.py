"""Bad input through the real commands: three parts on stderr, a non-zero exit, and nothing that was there touched."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest
from click.testing import Result
from pyscf import gto, scf
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner

from adiabat.cli.main import app
from adiabat.data.store import DatasetStore
from adiabat.models.package import save_model
from labelled_waters import tiny_config, water_records, write_store
from small_models import small_config, small_model

WATER = '3\npbc="F F F" energy=-76.0\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound files, made once: a structure, a store, a configuration, and models with and without an operator head."""
    folder = tmp_path_factory.mktemp("sound")
    (folder / "water.xyz").write_text(WATER)
    store = write_store(folder / "waters.lmdb", water_records(6))
    (folder / "train.yaml").write_text(json.dumps(tiny_config(store).model_dump(mode="json")))
    save_model(small_model(small_config(operator=False)), folder / "forces.safetensors", {})
    save_model(small_model(small_config()), folder / "joint.safetensors", {})
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of them, to be spoilt."""
    return Path(shutil.copytree(made, tmp_path / "work"))


def contents(folder: Path) -> dict[str, str]:
    """Every file with a hash of what it holds, but for locks, which hold nothing."""
    files = [path for path in folder.rglob("*") if path.is_file() and "lock" not in path.name]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def refused(folder: Path) -> Callable[..., str]:
    """Run a command that must fail; returns what it said."""

    def run(*arguments: object) -> str:
        before = contents(folder)
        result: Result = CliRunner(env={"COLUMNS": "400"}).invoke(app, [str(argument) for argument in arguments])
        assert isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == 1, result.output
        for part in ("got:", "expected:", "try:"):
            assert part in result.output
        assert contents(folder) == before
        return result.output

    return run


def test_a_missing_label_key(folder, refused):
    said = refused("data", "import", folder / "water.xyz", "-o", folder / "new.lmdb", "--energy-key", "Energie")
    assert "'Energie', which is in no frame" in said


def test_ambiguous_label_keys(folder, refused):
    path = folder / "two.xyz"
    path.write_text(WATER.replace("energy=-76.0", "energy=-76.0 dft_energy=-2067.9"))
    assert "--energy-key" in refused("data", "import", path, "-o", folder / "new.lmdb")


def test_an_unknown_unit(folder, refused):
    said = refused("data", "import", folder / "water.xyz", "-o", folder / "new.lmdb", "--energy-unit", "Hartee")
    assert "did you mean 'hartree'" in said


def test_energies_in_the_wrong_unit(folder):
    frames = []
    for record in water_records(12):
        lines = [f"{s} {x:.6f} {y:.6f} {z:.6f}" for s, (x, y, z) in zip("OHH", record.structure.positions, strict=True)]
        frames += ["3", f'pbc="F F F" energy={-76.0 + 0.01 * len(frames)}', *lines]
    (folder / "hartree.xyz").write_text("\n".join(frames) + "\n")
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, ["data", "audit", str(folder / "hartree.xyz")])
    assert result.exit_code == 1
    assert "import again with --energy-unit hartree" in result.output


def test_an_unknown_element(folder, refused):
    (folder / "q.xyz").write_text(WATER.replace("O 0", "Qq 0"))
    assert "'Qq', which is no chemical symbol" in refused("data", "import", folder / "q.xyz", "-o", folder / "new.lmdb")
    (folder / "gold.xyz").write_text(WATER.replace("O 0", "Au 0"))
    assert "elements Au" in refused("md", folder / "forces.safetensors", folder / "gold.xyz", "-o", folder / "run")


def test_a_basis_with_cartesian_d(folder, refused):
    molecule = gto.M(atom="O 0 0 0; H 0.96 0 0; H -0.24 0.93 0", basis="6-31g*", cart=True, verbose=0)
    field = scf.RHF(molecule)
    field.chkfile = str(folder / "cartesian.chk")
    field.kernel()
    said = refused("data", "import", folder / "cartesian.chk", "-o", folder / "new.lmdb")
    assert "Cartesian d or f shells" in said
    assert "mol.cart = False" in said


def test_overlapping_atoms(folder, refused):
    (folder / "twice.xyz").write_text(WATER.replace("H -0.24 0.93 0", "H 0.96 0 0.01"))
    assert "atoms 1 and 2" in refused("md", folder / "joint.safetensors", folder / "twice.xyz", "-o", folder / "run")
    store = folder / "twice.lmdb"
    assert CliRunner().invoke(app, ["data", "import", str(folder / "twice.xyz"), "-o", str(store)]).exit_code == 0
    options = ["--set", f"data.train={store}", "--set", "model={}"]
    assert "in frame 0 of" in refused("train", folder / "train.yaml", "-o", folder / "run", *options)
    assert CliRunner().invoke(app, ["data", "audit", str(store)]).exit_code == 1


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_store(folder, refused, share):
    path = folder / "waters.lmdb" / "data.mdb"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "truncated" in refused("data", "inspect", path.parent)
    assert "truncated" in refused(
        "train", folder / "train.yaml", "-o", folder / "run", "--set", f"data.train={path.parent}"
    )


@pytest.mark.parametrize("n_bytes", [0, 5, 200, -50])
def test_a_truncated_model(folder, refused, n_bytes):
    path = folder / "joint.safetensors"
    path.write_bytes(path.read_bytes()[:n_bytes])
    assert "cannot be read as an adiabat model" in refused("model", "inspect", path)
    refused("md", path, folder / "water.xyz", "-o", folder / "run")


def test_a_truncated_structure_file(folder, refused):
    path = folder / "water.xyz"
    path.write_text(WATER[:-20])
    assert "after 2 of 3 atoms" in refused("label", path, "-o", folder / "new.lmdb", "--engine", "gfn2")


def test_a_truncated_checkpoint(folder, refused):
    command = ["train", folder / "train.yaml", "-o", folder / "run"]
    assert CliRunner().invoke(app, list(map(str, command))).exit_code == 0
    path = folder / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    assert "cannot be read as an adiabat checkpoint" in refused(*command, "--resume")


def test_a_store_of_another_schema_version(folder, refused):
    path = folder / "waters.lmdb"
    environment = lmdb.open(str(path), max_dbs=4)
    with environment.begin(write=True, db=environment.open_db(b"meta")) as transaction:
        transaction.put(b"store", json.dumps({"schema_version": 99, "created_by": "adiabat 9"}).encode())
    environment.close()
    assert "schema version 99, made by adiabat 9" in refused("data", "inspect", path)
    refused("train", folder / "train.yaml", "-o", folder / "run", "--set", f"data.train={path}")


def test_a_model_of_another_schema_version(folder, refused):
    path = folder / "joint.safetensors"
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        header = file.metadata()
    save_file(tensors, path, {**header, "schema_version": "99"})
    assert "schema version 99" in refused("model", "inspect", path)


def test_an_unconverged_scf_is_reported_and_not_stored(folder):
    command = ["label", folder / "water.xyz", "-o", folder / "new.lmdb", "--basis", "sto-3g", "--max-cycles", "1",
               "--workers", "1", "--targets", "energy"]  # fmt: skip
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, list(map(str, command)))
    assert result.exit_code == 1
    assert "orbital gradient is still" in result.output
    assert "--level-shift" in result.output
    with DatasetStore.open(folder / "new.lmdb") as store:
        assert len(store) == 0
    assert json.loads((folder / "new.failures.json").read_text())[0]["kind"] == "ScfNotConvergedError"


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("optimizer.learning_rat=1", "did you mean 'learning_rate'"),
        ("optimizer.learning_rate=-1", "greater than 0"),
        ("model.cutoff=.inf", "finite"),
        ("training.device=tpu", "device 'tpu'"),
        ("training.device=cuda:99", "device 'cuda:99'"),
        ("training.select_by=stress", "not a target of this run"),
        ("data.train=nothing.lmdb", "no dataset store"),
        ("data.train={path: waters.lmdb, frames: '::0'}", "frames '::0'"),
        ("data.reference_energies={H: 1.0}", "no reference energy for O"),
    ],
)
def test_a_configuration_that_cannot_be_meant(folder, refused, assignment, said, monkeypatch):
    monkeypatch.chdir(folder)
    assert said in refused("train", "train.yaml", "-o", "run", "--set", assignment)


@pytest.mark.parametrize(
    ("text", "said"),
    [(b"", "holds nothing"), (b"- 1\n", "holds list"), (b"\xff\xfe", "not UTF-8"), (b"a: [", "not YAML")],
)
def test_a_file_that_is_no_configuration(folder, refused, text, said):
    (folder / "bad.yaml").write_bytes(text)
    assert said in refused("train", folder / "bad.yaml")


def test_a_model_without_an_operator_head_asked_for_h(folder, refused):
    model = folder / "forces.safetensors"
    head = "a model with an operator head; this one has none"
    assert head in refused("md", model, folder / "water.xyz", "-o", folder / "run", "--follow", "gap")
    assert head in refused("evaluate", model, folder / "waters.lmdb", "--scf", "1")
    config = folder / "train.yaml"
    said = refused("train", config, "-o", folder / "run", "--set", "model={}", "--set", "targets={hamiltonian: {}}")
    assert "`operator: {}` in the model section" in said


@pytest.mark.parametrize("name", ["water.xyz", "water.xyz/run"])
def test_an_output_that_is_a_file(folder, refused, name):
    model, water = folder / "joint.safetensors", folder / "water.xyz"
    for command in (
        ["train", folder / "train.yaml"],
        ["md", model, water],
        ["evaluate", folder / "forces.safetensors", folder / "waters.lmdb"],
    ):
        assert "which is a file" in refused(*command, "-o", folder / name)


def test_an_output_in_no_folder(folder, refused):
    for command in (["split"], ["export"]):
        said = refused("data", *command, folder / "waters.lmdb", "-o", folder / "no" / "such.xyz")
        assert "No such file or directory" in said


@pytest.mark.parametrize("name", ["charge=abc", "charge=0.5", "charge=nan", "multiplicity=0"])
def test_charges_and_spins_that_are_no_counts(folder, refused, name):
    (folder / "ion.xyz").write_text(WATER.replace("energy", f"{name} energy"))
    assert "in frame 0 of ion.xyz" in refused("data", "import", folder / "ion.xyz", "-o", folder / "new.lmdb")


@pytest.mark.parametrize(
    "options",
    [["--workers", "0"], ["--targets", ","], ["--max-cycles", "-1"], ["--damping", "2"], ["--grid-level", "12"],
     ["--level-shift", "nan"], ["--spin", "-1"], ["--basis", "def2-nothing"], ["--xc", "pbee"]],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Basis may be available in basis-set-exchange")
def test_label_options_out_of_range(folder, refused, options):
    refused("label", folder / "water.xyz", "-o", folder / "new.lmdb", "--workers", "1", *options)


@pytest.mark.parametrize("train", [["a"], [-1], [1.5], "all"])
def test_a_split_that_numbers_no_records(folder, refused, train):
    with DatasetStore.open(folder / "waters.lmdb") as store:
        head = {"schema_version": 1, "method": "by hand", "content_hash": store.content_hash}
    (folder / "split.json").write_text(json.dumps({**head, "train": train, "validation": [], "test": []}))
    option = f"{folder / 'split.json'}:train"
    assert "record numbers" in refused(
        "evaluate", folder / "forces.safetensors", folder / "waters.lmdb", "--split", option
    )


@pytest.mark.parametrize("share", ["nan", "inf", "-1", "6"])
def test_shares_that_are_none(folder, refused, share):
    refused("data", "split", folder / "waters.lmdb", "-o", folder / "split.json", "--test", share)


def test_a_run_without_validation_is_inspected(folder):
    """A file that every user makes first; it once ended the inspection with a traceback."""
    arguments = ["train", str(folder / "train.yaml"), "-o", str(folder / "run"), "--set", "schedule.max_steps=2"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    result = CliRunner().invoke(app, ["model", "inspect", str(folder / "run" / "model.safetensors")])
    assert result.exit_code == 0, result.output
    assert "errors" not in result.output
