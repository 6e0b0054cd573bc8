import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from adiabat.cli.main import app
from adiabat.models.config import ModelConfig, OperatorConfig, OperatorReference
from adiabat.models.model import build_model
from adiabat.models.package import save_model
from adiabat.physics.reference_energies import given

runner = CliRunner(env={"COLUMNS": "100"})

REFERENCE = OperatorReference(
    xc="hf", basis="sto-3g", grid_level=3, orbital_basis={"name": "sto-3g", "shells": {"1": [0], "8": [0, 0, 1]}}
)
PROVENANCE = {
    "n_train": 7,
    "n_test": 2,
    "step": 30,
    "minutes": 0.5,
    "methods": ["HF/sto-3g"],
    "metrics": {"test": {"forces_mae": 12.34}},
    "statistics": {"reference_energies": given({"H": -13.6, "O": -2040.0}).to_json()},
}


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    config = ModelConfig(channels=4, hidden=4, operator=OperatorConfig(channels=4, hidden=4))
    path = tmp_path / "model.safetensors"
    save_model(build_model(config, [1, 8], REFERENCE, dtype=torch.float32), path, PROVENANCE)
    return path


def test_inspect_says_what_a_model_is(model_file: Path) -> None:
    result = runner.invoke(app, ["model", "inspect", str(model_file)])
    assert result.exit_code == 0, result.output
    for words in (
        "Hamiltonian at hf/sto-3g, grid 3, all pairs of atoms",
        "H, O",
        "7 structures of HF/sto-3g",
        "F 12.3 meV/Å (2 structures)",
        "reference energies (given) [eV]: H -13.6000, O -2040.0000",
        "schema version 1",
    ):
        assert words in result.stdout


def test_inspect_of_a_model_without_training_provenance(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(build_model(ModelConfig(channels=4, hidden=4), [6], dtype=torch.float64), path, {})
    result = runner.invoke(app, ["model", "inspect", str(path)])
    assert result.exit_code == 0, result.output
    assert "float64" in result.stdout
    assert "Hamiltonian" not in result.stdout
    assert "trained on" not in result.stdout


def test_json_holds_all_of_the_header(model_file: Path) -> None:
    result = runner.invoke(app, ["model", "inspect", str(model_file), "--json"])
    description = json.loads(result.stdout)
    assert description["provenance"] == PROVENANCE
    assert description["atomic_numbers"] == [1, 8]


def test_a_truncated_file_is_refused(model_file: Path) -> None:
    model_file.write_bytes(model_file.read_bytes()[:-100])
    result = runner.invoke(app, ["model", "inspect", str(model_file)])
    assert result.exit_code == 1
    assert result.stderr.startswith("got: ")
    assert "try: " in result.stderr


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    result = runner.invoke(app, ["model", "inspect", str(tmp_path / "nothing.safetensors")])
    assert result.exit_code == 1
    assert "nothing.safetensors" in result.stderr
