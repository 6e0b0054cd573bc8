"""Models of a difference over their lower level, and models of several levels: where labels judge, and atoms move."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.calculators.lj import LennardJones
from typer.testing import CliRunner

from adiabat.campaigns.baseline import above_baseline
from adiabat.campaigns.evaluation import evaluate
from adiabat.cli.main import app
from adiabat.core.errors import ConfigError, LabelError, ModelError, SimulationError
from adiabat.data.record import Record
from adiabat.engines.calculator import EngineCalculator
from adiabat.engines.registry import create_engine
from adiabat.models.model import Model, build_model
from adiabat.models.package import save_model
from adiabat.simulation.baseline import Baseline
from adiabat.simulation.calculator import AdiabatCalculator
from adiabat.simulation.md import run_md
from adiabat.simulation.settings import MdSettings
from labelled_waters import water_records, write_store
from small_models import ELEMENTS, crystal, small_config, small_model
from two_levels import HIGH, LOW, costly

RUNNER = CliRunner(env={"COLUMNS": "200"})
ENGINE = create_engine("lj", sigma=0.9, epsilon=0.1)


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model(small_config(operator=False))


@pytest.fixture(scope="module")
def levels() -> Model:
    config = small_config(operator=False).model_copy(update={"fidelities": (HIGH, LOW)})
    torch.manual_seed(0)
    model = build_model(config, ELEMENTS, dtype=torch.float64).eval()
    with torch.no_grad():
        model.energy_head.reference.copy_(torch.tensor([[-1.0, 0.0, -2000.0], [-3.0, 0.0, -1900.0]]))
        model.energy_head.correction.copy_(0.3 * torch.randn_like(model.energy_head.correction))
    return model


def labelled_by_the_sum(model: Model, records: list[Record]) -> list[Record]:
    """Energies and forces of Lennard-Jones plus the model, from their separate calculators."""
    found = []
    for record in records:
        low = ENGINE.label(record.structure, ("energy", "forces"))
        delta = model(model.graph(record.structure, ("energy", "forces")), ("energy", "forces"))
        labels = {
            "energy": np.asarray(low.labels["energy"] + float(delta.energy.detach())),
            "forces": low.labels["forces"] + delta.forces.detach().numpy(),
        }
        found.append(replace(record, labels=labels))
    return found


# ---------------------------------------------------------------- a model of a difference


def test_the_calculator_gives_the_sum_of_both_levels(model: Model) -> None:
    structure = crystal()
    calculator = AdiabatCalculator(model, baseline=Baseline(EngineCalculator(ENGINE), "lj"))
    low, delta = EngineCalculator(ENGINE), AdiabatCalculator(model)
    results = []
    for one in (calculator, low, delta):
        atoms = structure.to_ase()
        atoms.calc = one
        results.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
    for both, a, b in zip(*results, strict=True):
        np.testing.assert_allclose(both, a + b, rtol=1e-12, atol=1e-12)
    reference = structure.to_ase()
    reference.calc = LennardJones(sigma=0.9, epsilon=0.1, rc=2.7, smooth=True)
    assert results[1][0] == pytest.approx(reference.get_potential_energy(), rel=1e-12)
    np.testing.assert_allclose(results[1][2], reference.get_stress(), rtol=1e-10)


def test_forces_of_the_sum_are_its_gradient(model: Model) -> None:
    atoms = water_records(1)[0].structure.to_ase()
    atoms.calc = AdiabatCalculator(model, baseline=Baseline(EngineCalculator(ENGINE), "lj"))
    forces = atoms.get_forces()
    step, positions = 1e-5, atoms.get_positions()
    for atom, axis in ((0, 0), (2, 1)):
        energies = []
        for sign in (1, -1):
            moved = positions.copy()
            moved[atom, axis] += sign * step
            atoms.set_positions(moved)
            energies.append(atoms.get_potential_energy())
        numeric = -(energies[0] - energies[1]) / (2 * step)
        assert forces[atom, axis] == pytest.approx(numeric, rel=1e-6, abs=1e-6)
        atoms.set_positions(positions)


def test_a_difference_has_no_electrons() -> None:
    calculator = AdiabatCalculator(small_model(small_config()), baseline=Baseline(EngineCalculator(ENGINE), "lj"))
    with pytest.raises(ModelError, match="difference between two levels"):
        calculator.get_gap(water_records(1)[0].structure.to_ase())


def test_errors_are_those_of_the_sum(model: Model) -> None:
    records = labelled_by_the_sum(model, water_records(4))
    result = evaluate(model, above_baseline(records, ENGINE))
    assert result.errors["energy"].mae < 1e-9
    assert result.errors["forces"].mae < 1e-9
    assert evaluate(model, records).errors["forces"].mae > 1e-3, "negative control: without the lower level"
    with pytest.raises(LabelError, match="ase computes"):
        above_baseline([replace(records[0], labels={})], ENGINE)


def test_dynamics_run_on_the_sum_and_resume_on_the_same(model: Model, tmp_path: Path) -> None:
    structure = water_records(1)[0].structure
    baseline = Baseline(EngineCalculator(ENGINE), "lj 0.9")
    settings = MdSettings(steps=3, temperature_K=50.0, timestep_fs=0.1, log_interval=1, restart_interval=1)
    run_md(model, structure, settings, tmp_path / "run", baseline=baseline)
    first = json.loads((tmp_path / "run/log.jsonl").read_text().splitlines()[0])
    atoms = structure.to_ase()
    atoms.calc = AdiabatCalculator(model, baseline=baseline)
    assert first["potential_energy"] == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    longer = settings.model_copy(update={"steps": 4})
    for other in (None, Baseline(EngineCalculator(ENGINE), "lj 1.0")):
        with pytest.raises(SimulationError, match=r"lj 0\.9"):
            run_md(model, structure, longer, tmp_path / "run", resume=True, baseline=other)
    assert run_md(model, structure, longer, tmp_path / "run", resume=True, baseline=baseline).finished


def test_the_commands_take_an_engine_or_a_model_as_baseline(model: Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "delta.safetensors", {})
    records = labelled_by_the_sum(model, water_records(3))
    write_store(tmp_path / "high.lmdb", records)
    write_store(tmp_path / "twice.lmdb", [_twice(model, record) for record in water_records(3, ("energy",))])
    for store, baseline, mae in (("twice", str(tmp_path / "delta.safetensors"), 1e-6), ("high", "lj", None)):
        result = RUNNER.invoke(app, [
            "evaluate", str(tmp_path / "delta.safetensors"), str(tmp_path / f"{store}.lmdb"),
            "--baseline", baseline, "-o", str(tmp_path / f"errors-{store}"),
        ], catch_exceptions=False)  # fmt: skip
        assert result.exit_code == 0, result.output
        metrics = json.loads((tmp_path / f"errors-{store}/metrics.json").read_text())
        if mae is not None:
            assert metrics["errors"]["energy"]["mae"] < mae
        assert metrics["provenance"]["settings"]["baseline"] == baseline
    water = tmp_path / "water.xyz"
    records[0].structure.to_ase().write(water)
    result = RUNNER.invoke(app, [
        "md", str(tmp_path / "delta.safetensors"), str(water), "-o", str(tmp_path / "md"), "--steps", "2",
        "--temperature", "10", "--timestep", "0.1", "--baseline", "lj",
    ], catch_exceptions=False)  # fmt: skip
    assert "2 steps" in result.output
    refused = RUNNER.invoke(app, ["--debug", "evaluate", str(tmp_path / "delta.safetensors"),
                                  str(tmp_path / "high.lmdb"), "--baseline", "gfn3"])  # fmt: skip
    assert isinstance(refused.exception, ConfigError)
    assert "gfn2" in refused.exception.suggestion or "gfn1" in refused.exception.suggestion


def _twice(model: Model, record: Record) -> Record:
    energy = model(model.graph(record.structure, ("energy",)), ("energy",)).energy.detach()
    return replace(record, labels={"energy": np.asarray(2 * float(energy))})


# ---------------------------------------------------------------- a model of several levels


def test_each_label_is_compared_at_its_own_level(levels: Model) -> None:
    """Labels are the predictions of the level that they say they are of."""
    low = water_records(3)
    records = [*(_as_predicted(levels, r, HIGH) for r in costly(low)), *(_as_predicted(levels, r, LOW) for r in low)]
    result = evaluate(levels, records)
    assert result.errors["energy"].mae < 1e-8
    assert result.errors["forces"].mae < 1e-8
    crossed = evaluate(levels, records, fidelity=LOW)
    assert crossed.errors["energy"].mae > 10, "negative control: half of them at the other level"
    stray = replace(low[0], provenance=replace(low[0].provenance, method="HF/toy"))
    with pytest.raises(LabelError, match="HF/toy") as caught:
        evaluate(levels, [*records, stray])
    assert f"--fidelity {HIGH}" in caught.value.suggestion
    with pytest.raises(ModelError, match="one level of theory"):
        evaluate(small_model(small_config(operator=False)), low, fidelity=LOW)


def test_the_commands_predict_at_the_level_that_is_asked_for(levels: Model, tmp_path: Path) -> None:
    save_model(levels, tmp_path / "model.safetensors", {})
    low = [_as_predicted(levels, record, LOW) for record in water_records(2)]
    write_store(tmp_path / "low.lmdb", low)
    energies = {}
    low[0].structure.to_ase().write(tmp_path / "water.xyz")
    for name in (HIGH, LOW):
        folder = tmp_path / name.replace("/", "-")
        arguments = ["md", str(tmp_path / "model.safetensors"), str(tmp_path / "water.xyz"), "-o", str(folder),
                     "--steps", "1", "--temperature", "0", "--timestep", "0.01", "--log-every", "1"]  # fmt: skip
        RUNNER.invoke(app, [*arguments, *(["--fidelity", name] if name == LOW else [])], catch_exceptions=False)
        energies[name] = json.loads((folder / "log.jsonl").read_text().splitlines()[0])["potential_energy"]
    assert energies[LOW] == pytest.approx(float(low[0].labels["energy"]), abs=1e-5)
    assert abs(energies[HIGH] - energies[LOW]) > 10
    arguments = ["evaluate", str(tmp_path / "model.safetensors"), str(tmp_path / "low.lmdb"), "-o", str(tmp_path / "e")]
    RUNNER.invoke(app, arguments, catch_exceptions=False)
    assert json.loads((tmp_path / "e/metrics.json").read_text())["errors"]["energy"]["mae"] < 1e-8
    refused = RUNNER.invoke(app, ["--debug", *arguments[:3], "--fidelity", "HF"])
    assert isinstance(refused.exception, ModelError)


def _as_predicted(model: Model, record: Record, fidelity: str) -> Record:
    own = model.at_fidelity(fidelity)
    found = own(own.graph(record.structure, ("energy", "forces")), ("energy", "forces"))
    labels = {"energy": np.asarray(float(found.energy.detach())), "forces": found.forces.detach().numpy()}
    return replace(record, labels=labels)
