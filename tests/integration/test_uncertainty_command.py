"""``adiabat uncertainty`` on labels that PySCF made, with small models of the real kind."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase.build import molecule
from typer.testing import CliRunner

from adiabat.campaigns.evaluation_result import Evaluation
from adiabat.cli.main import app
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.engines.pyscf_molecule import PyscfEngine
from adiabat.models.config import ModelConfig, OperatorConfig, OperatorReference
from adiabat.models.model import Model
from adiabat.models.package import save_model
from adiabat.physics.basis import orbital_basis
from adiabat.uncertainty.package import load_uncertain_model

N_FRAMES = 8


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Labelled water geometries, and two models that differ by their random weights."""
    folder = tmp_path_factory.mktemp("uncertainty")
    engine = PyscfEngine(xc="hf", basis="sto-3g", grid_level=0)
    with DatasetStore.create(folder / "water.lmdb") as store:
        for seed in range(N_FRAMES):
            atoms = molecule("H2O")
            atoms.rattle(0.08, seed=seed)
            store.append(engine.label(Structure.from_ase(atoms), ("energy", "forces", "hamiltonian", "overlap", "h0")))
    basis = orbital_basis([1, 8], "sto-3g")
    reference = OperatorReference(xc="hf", basis="sto-3g", grid_level=0, orbital_basis=basis.to_json())
    operator = OperatorConfig(channels=4, hidden=4, n_bessel=4)
    config = ModelConfig(channels=4, hidden=4, n_bessel=4, operator=operator)
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = Model(config, [1, 8], reference)
        with torch.no_grad():
            for parameter in model.parameters():
                if not parameter.any():
                    parameter.copy_(0.1 * torch.randn_like(parameter))
        save_model(model, folder / f"model{seed}.safetensors", {})
    return SimpleNamespace(folder=folder, store=folder / "water.lmdb")


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fit(case: SimpleNamespace, output: Path, *options: object):
    members = ["-m", case.folder / "model0.safetensors", "-m", case.folder / "model1.safetensors"]
    return run("uncertainty", "fit", "--method", "ensemble", *members, "-o", output, *options)


def test_an_ensemble_is_made_calibrated_evaluated_and_described(case: SimpleNamespace, tmp_path: Path) -> None:
    file = tmp_path / "uncertain.safetensors"
    result = fit(case, file, "--calibrate", f"{case.store}:0:5")
    assert result.exit_code == 0, result.output
    calibration = load_uncertain_model(file).calibration
    assert (calibration.energy.method, calibration.energy.n_frames) == ("scaling", 5)
    assert calibration.forces.n_values == 5 * 9
    assert calibration.hamiltonian.scale > 0
    assert calibration.data["frames"] == "0:5"

    result = run(
        "evaluate", file, case.store, "--frames", "5:", "-o", tmp_path / "out", "--report", tmp_path / "p.html"
    )
    assert result.exit_code == 0, result.output
    assert "Uncertainty by ensemble of 2, calibrated by scaling on 5 structures" in result.output
    evaluation = Evaluation.load(tmp_path / "out")
    assert evaluation.uncertainty is not None
    assert set(evaluation.uncertainty.scores) == {"energy", "forces", "hamiltonian"}
    assert evaluation.n_structures == 3
    assert {"energy and derivatives", "ΔH"} == set(evaluation.uncertainty.cost)
    assert "Reliability" in (tmp_path / "p.html").read_text()
    # Untrained models are wrong by far more than they differ: only because it was calibrated does σ say so.
    forces = evaluation.uncertainty.scores["forces"]
    assert forces.sharpness == pytest.approx(forces.rmse, rel=1.0)

    result = run("model", "inspect", file)
    assert result.exit_code == 0, result.output
    for word in ("ensemble", "scaling", "5 structures", "H, O"):
        assert word in result.output


def test_the_raw_spread_is_the_members_own(case: SimpleNamespace, tmp_path: Path) -> None:
    """σ of each matrix element and each force, straight from the two models."""
    from adiabat.models.package import load_model

    assert fit(case, tmp_path / "raw.safetensors").exit_code == 0
    result = run("evaluate", tmp_path / "raw.safetensors", case.store, "--frames", "0", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    arrays = Evaluation.load(tmp_path / "out").arrays
    members = [load_model(case.folder / f"model{seed}.safetensors") for seed in (0, 1)]
    with DatasetStore.open(case.store) as store:
        structure = store[0].structure
    deltas = np.stack([member.delta_hamiltonian(structure).to_dense() for member in members])
    np.testing.assert_allclose(arrays["hamiltonian_spread"], deltas.std(axis=0, ddof=1).ravel(), atol=1e-5)
    graph = members[0].graph(structure, ("forces",))
    forces = torch.stack([member(graph, ("forces",)).forces for member in members])
    np.testing.assert_allclose(arrays["forces_spread"], forces.std(dim=0).detach(), rtol=1e-4, atol=1e-6)


def test_calibrating_again_replaces_the_calibration(case: SimpleNamespace, tmp_path: Path) -> None:
    file = tmp_path / "uncertain.safetensors"
    assert fit(case, file, "--calibrate", f"{case.store}:0:5").exit_code == 0
    first = load_uncertain_model(file).calibration
    result = run("uncertainty", "calibrate", file, "--data", case.store, "--by", "conformal", "--levels", "0.5")
    assert result.exit_code == 0, result.output
    again = load_uncertain_model(file).calibration
    assert again.forces.method == "conformal"
    assert again.forces.n_frames == N_FRAMES
    assert [level for level, _ in again.forces.factors] == [0.5, 0.6827]
    assert again != first
    # The factor is of the raw spread, not of the one that was calibrated before.
    assert 0.1 < again.forces.scale / first.forces.scale < 10
    result = run("uncertainty", "calibrate", file, "--data", f"{case.store}:0:5", "-o", tmp_path / "other.safetensors")
    assert result.exit_code == 0, result.output
    assert load_uncertain_model(tmp_path / "other.safetensors").calibration.forces == first.forces
    assert load_uncertain_model(file).calibration == again


def test_a_last_layer_is_fitted_to_the_training_set(case: SimpleNamespace, tmp_path: Path) -> None:
    file = tmp_path / "last.safetensors"
    options = ["--method", "last-layer", "-m", case.folder / "model0.safetensors", "--draws", 4, "-o", file]
    result = run("uncertainty", "fit", *options, "--train", f"{case.store}:0:4", "--calibrate", f"{case.store}:4:")
    assert result.exit_code == 0, result.output
    model = load_uncertain_model(file)
    assert (model.method, len(model.members)) == ("last-layer", 4)
    assert model.calibration.hamiltonian.n_frames == 4
    result = run("model", "inspect", file, "--json")
    assert json.loads(result.output)["provenance"]["train"]["frames"] == "0:4"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "ensemble", "-m", "model0.safetensors"], "two models or more"),
        (["--method", "last-layer", "-m", "model0.safetensors"], "--train"),
        (["--method", "linear", "-m", "model0.safetensors", "--train", "water.lmdb"], "last-layer"),
        (["--method", "ensemble", "-m", "model0.safetensors", "-m", "missing.safetensors"], "missing.safetensors"),
        (["--method", "last-layer", "-m", "model0.safetensors", "--train", "nowhere.lmdb:0:4"], "nowhere.lmdb"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(
    case: SimpleNamespace, options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(case.folder)
    result = run("uncertainty", "fit", *options, "-o", "out.safetensors")
    assert result.exit_code == 1
    assert message in result.output
    assert not (case.folder / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--calibrate", "water.lmdb:9:"], "without a frame"),
        (["--calibrate", "water.lmdb", "--by", "conformal", "--levels", "much"], "0.5,0.9"),
        (["--calibrate", "water.lmdb", "--by", "conformal", "--levels", "0.99"], "at least 99"),
        (["--calibrate", "water.lmdb", "--by", "conformal", "--floor"], "floor"),
    ],
)
def test_calibrations_that_cannot_be_made_are_refused(
    case: SimpleNamespace, tmp_path: Path, options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(case.folder)
    result = fit(case, tmp_path / "out.safetensors", *options)
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "out.safetensors").exists()
