"""``adiabat evaluate`` on labels that PySCF made, with an untrained model of the real kind."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase.build import molecule
from typer.testing import CliRunner

from adiabat.campaigns.evaluation_result import Evaluation
from adiabat.cli.main import app
from adiabat.core.units import MICRO_HARTREE
from adiabat.data.splits import Split
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.engines.pyscf_molecule import PyscfEngine
from adiabat.models.config import ModelConfig, OperatorConfig, OperatorReference
from adiabat.models.model import Model
from adiabat.models.package import load_model, save_model
from adiabat.physics.basis import orbital_basis

TARGETS = ("energy", "forces", "hamiltonian", "overlap", "h0", "orbital_energies")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Four labelled water geometries, and a model that knows water but has learned nothing."""
    folder = tmp_path_factory.mktemp("evaluate")
    engine = PyscfEngine(xc="hf", basis="sto-3g", grid_level=0)
    with DatasetStore.create(folder / "water.lmdb") as store:
        for seed in range(4):
            atoms = molecule("H2O")
            atoms.rattle(0.05, seed=seed)
            atoms.info["config_type"] = "even" if seed % 2 == 0 else "odd"
            store.append(engine.label(Structure.from_ase(atoms), TARGETS))
        parts = (np.array(indices) for indices in ([0], [1], [2, 3]))
        Split(*parts, method="by hand", content_hash=store.content_hash).save(folder / "split.json")
        records = list(store)
    torch.manual_seed(0)
    basis = orbital_basis([1, 8], "sto-3g")
    reference = OperatorReference(xc="hf", basis="sto-3g", grid_level=0, orbital_basis=basis.to_json())
    config = ModelConfig(channels=4, hidden=4, n_bessel=4, operator=OperatorConfig(channels=4, hidden=4, n_bessel=4))
    save_model(Model(config, [1, 8], reference), folder / "model.safetensors", {})
    save_model(Model(config.model_copy(update={"operator": None}), [1, 8]), folder / "energy_only.safetensors", {})
    return SimpleNamespace(folder=folder, records=records)


def run(case: SimpleNamespace, *options: str, model: str = "model.safetensors"):
    arguments = ["evaluate", str(case.folder / model), str(case.folder / "water.lmdb"), *options]
    return CliRunner().invoke(app, arguments)


def test_a_split_part_is_evaluated_and_written(case: SimpleNamespace, tmp_path: Path) -> None:
    result = run(case, "--split", f"{case.folder / 'split.json'}:test", "--scf", "1", "-o", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    evaluation = Evaluation.load(tmp_path / "out")
    assert evaluation.n_structures == 2
    assert set(evaluation.groups) == {"even", "odd"}
    assert len(evaluation.density_checks) == 1
    assert evaluation.density_checks[0].energy_error >= -1e-7
    assert evaluation.provenance["data"]["split"].endswith("split.json:test")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["scf_cycle_ratio"] == evaluation.scf_cycle_ratio
    # The same numbers, straight from the model.
    model = load_model(case.folder / "model.safetensors")
    errors = [
        np.abs(model.hamiltonian(record.structure).values - record.labels["hamiltonian"].values).mean()
        for record in case.records[2:]
    ]
    assert evaluation.errors["hamiltonian"].mae == pytest.approx(np.mean(errors) / MICRO_HARTREE, rel=1e-6)
    assert "Hamiltonian" in result.output


def test_h0_is_computed_where_the_record_has_none(case: SimpleNamespace, tmp_path: Path) -> None:
    labels = {name: value for name, value in case.records[0].labels.items() if name != "h0"}
    with DatasetStore.create(tmp_path / "without.lmdb") as store:
        store.append(replace(case.records[0], labels=labels))
    model = str(case.folder / "model.safetensors")
    for path, output in ((case.folder / "water.lmdb", "with"), (tmp_path / "without.lmdb", "without")):
        result = CliRunner().invoke(app, ["evaluate", model, str(path), "-o", str(tmp_path / output)])
        assert result.exit_code == 0, result.output
    first, only = (Evaluation.load(tmp_path / name).arrays for name in ("with", "without"))
    n_values = len(only["hamiltonian_predicted"])
    np.testing.assert_allclose(only["hamiltonian_predicted"], first["hamiltonian_predicted"][:n_values], atol=1e-9)


def test_a_model_of_energies_is_evaluated_on_energies(case: SimpleNamespace) -> None:
    result = run(case, model="energy_only.safetensors")
    assert result.exit_code == 0, result.output
    assert "forces" in result.output
    assert "Hamiltonian" not in result.output


@pytest.mark.parametrize(
    ("options", "model", "message"),
    [
        (["--split", "split.json"], "model.safetensors", "FILE:PART"),
        (["--split", "split.json:tset"], "model.safetensors", "did you mean 'test'"),
        (["--scf", "2"], "energy_only.safetensors", "operator head"),
        ([], "missing.safetensors", "missing.safetensors"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(
    case: SimpleNamespace, options: list[str], model: str, message: str
) -> None:
    result = run(case, *options, model=model)
    assert result.exit_code == 1
    assert message in result.output
