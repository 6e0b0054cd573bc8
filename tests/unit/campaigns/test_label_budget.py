from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from typer.testing import CliRunner

from adiabat.campaigns.label_budget import MAX_CANDIDATES, plan_labels
from adiabat.cli.main import app
from adiabat.core.errors import ConfigError, LabelError
from adiabat.data.record import Provenance, Record
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.engines.registry import create_engine

ENGINE = create_engine("gfn2")


def waters(n: int, seed: int = 0) -> list[Structure]:
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        atoms = molecule("H2O")
        atoms.rattle(0.08, rng=generator)
        found.append(Structure.from_ase(atoms))
    return found


CANDIDATES = waters(10)
LOW = [ENGINE.label(structure, ["energy", "forces"]) for structure in CANDIDATES[:4]]
HIGH = [
    Record(low.structure, {"forces": 1.1 * np.asarray(low.labels["forces"])}, Provenance("test", method="high"))
    for low in LOW
]


def test_a_level_that_tells_the_other_is_bought_while_it_is_cheap() -> None:
    cheap = plan_labels(CANDIDATES, {"low": LOW, "high": HIGH}, {"low": 0.01, "high": 5.0}, 16.0)
    names = [name for _, name in cheap]
    assert names[0] == "low"
    assert names.count("high") <= 3
    dear = plan_labels(CANDIDATES, {"low": LOW, "high": HIGH}, {"low": 5.0, "high": 5.0}, 16.0)
    assert {name for _, name in dear} == {"high"}, "control: at one price nobody buys the lower level"


def test_labels_that_exist_are_not_bought_again() -> None:
    found = plan_labels(CANDIDATES, {"low": LOW, "high": HIGH}, {"low": 1.0, "high": 1.0}, 100.0)
    assert sorted(found) == sorted((index, name) for index in range(4, 10) for name in ("low", "high"))


def test_bad_input_is_refused() -> None:
    levels, costs = {"low": LOW, "high": HIGH}, {"low": 1.0, "high": 1.0}
    with pytest.raises(ConfigError, match="data select"):
        plan_labels(CANDIDATES * (MAX_CANDIDATES // 10 + 1), levels, costs, 1.0)
    with pytest.raises(LabelError, match="'high'"):
        plan_labels(CANDIDATES, {"low": LOW, "high": HIGH[:1]}, costs, 1.0)
    with pytest.raises(ConfigError, match="above zero"):
        plan_labels(CANDIDATES, levels, {"low": 1.0}, 1.0)


def test_the_command_writes_a_file_a_level(tmp_path: Path) -> None:
    free = [Record(structure, {}, Provenance("test")) for structure in CANDIDATES]
    for name, records in (("candidates", free), ("low", LOW), ("high", HIGH)):
        with DatasetStore.create(tmp_path / f"{name}.lmdb") as store:
            store.append_many(records)
    levels = ["--level", f"{tmp_path}/low.lmdb=0.01", "--level", f"{tmp_path}/high.lmdb=5"]
    arguments = ["data", "budget", f"{tmp_path}/candidates.lmdb", *levels, "--seconds", "11", "-o", f"{tmp_path}/next"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert len(ase.io.read(tmp_path / "next/high.xyz", ":")) == 2
    assert len(ase.io.read(tmp_path / "next/low.xyz", ":")) == 6
