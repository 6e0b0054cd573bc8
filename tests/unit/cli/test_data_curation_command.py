import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read, write
from typer.testing import CliRunner

from adiabat.cli.main import app
from adiabat.data.record import Provenance, Record
from adiabat.data.splits import Split
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Twenty shaken waters with harmonic labels; the last is the first, mirrored."""
    generator = np.random.default_rng(0)
    records = []
    for _ in range(19):
        atoms = molecule("H2O")
        shift = generator.normal(scale=0.05, size=(3, 3))
        structure = Structure(atoms.numbers.astype(np.int64), atoms.positions + shift)
        labels = {"energy": np.array(-100 + 4 * (shift**2).sum()), "forces": -8 * shift}
        records.append(Record(structure, labels, Provenance("toy")))
    first = records[0]
    mirrored = Structure(first.structure.atomic_numbers, first.structure.positions[:, [1, 0, 2]])
    labels = {"energy": first.labels["energy"], "forces": first.labels["forces"][:, [1, 0, 2]]}
    records.append(Record(mirrored, labels, Provenance("toy")))
    with DatasetStore.create(tmp_path / "waters.lmdb") as created:
        created.append_many(records)
    return tmp_path / "waters.lmdb"


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", *arguments])
    return result.exit_code, result.output


def test_select_writes_the_chosen_structures(store: Path, tmp_path: Path):
    atoms = [molecule("H2O") for _ in range(4)]
    atoms[2].positions[1] += 0.3
    write(tmp_path / "candidates.xyz", atoms)

    code, output = run(
        "select", str(tmp_path / "candidates.xyz"), "-o", str(tmp_path / "chosen.xyz"), "-n", "1",
        "--labelled", str(store), "--method", "environment",
    )  # fmt: skip

    assert code == 0, output
    np.testing.assert_allclose(read(tmp_path / "chosen.xyz").positions, atoms[2].positions, atol=1e-6)


def test_subset_writes_a_split_or_a_store(store: Path, tmp_path: Path):
    assert run("subset", str(store), "-n", "5", "-o", str(tmp_path / "s.json"), "--method", "entropy")[0] == 0
    code, output = run("subset", str(store), "-n", "5", "-o", str(tmp_path / "s.lmdb"), "--method", "entropy")
    assert code == 0
    assert "5 of 20 frames kept" in output
    with DatasetStore.open(store) as whole, DatasetStore.open(tmp_path / "s.lmdb") as part:
        split = Split.load(tmp_path / "s.json", content_hash=whole.content_hash)
        assert {record.key for record in part} == {whole[int(index)].key for index in split.train}
    assert run("subset", str(store), "-n", "5", "-o", str(tmp_path / "s.txt"))[0] == 1


def test_duplicates_are_listed_and_left_out(store: Path, tmp_path: Path):
    code, output = run("duplicates", str(store), "--threshold", "1e-4", "--json", "-o", str(tmp_path / "once.lmdb"))

    assert code == 0
    assert json.loads(output)["near"] == [[0, 19]]
    with DatasetStore.open(tmp_path / "once.lmdb") as once:
        assert len(once) == 19


def test_noise_and_influence_answer_in_json(store: Path):
    code, output = run("noise", str(store), "--json")
    assert code in (0, 1)
    assert set(json.loads(output)) == {"energy", "forces", "rate"}

    code, output = run("influence", str(store), str(store), "--frame", "3", "--json")
    assert code == 0
    found = json.loads(output)
    assert sorted(found["ranking"]) == list(range(20))
    assert found["forces"][found["ranking"][0]] == max(found["forces"])


def test_learning_curve_answers_or_refuses():
    points = [item for n in (10, 20, 40, 80) for item in ("--point", f"{n}:{900 * n**-0.85:.3f}")]

    code, output = run("learning-curve", "--target", "15", "--json", *points)

    assert code == 0
    found = json.loads(output)["labels"]
    assert found["low"] < (900 / 15) ** (1 / 0.85) < found["high"]
    code, output = run("learning-curve", "--target", "15", "--point", "10:90", "--point", "20:50")
    assert code == 1
    assert run("learning-curve", "--target", "15", "--point", "10=90")[0] == 1
