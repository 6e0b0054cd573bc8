"""Whole runs of a few steps: what is learned, what stops a run, and that a seed settles it."""

import io
import os
import signal

import numpy as np
import pytest
import torch
from rich.console import Console

from adiabat.core.errors import ConfigError, LabelError, ModelError, TrainingError
from adiabat.models.package import inspect_model, load_model
from adiabat.training.checkpoint import read_checkpoint
from adiabat.training.loop import TrainingLoop
from adiabat.training.metrics_log import read_metrics
from adiabat.training.setup import prepare
from adiabat.training.trainer import Trainer
from labelled_waters import tiny_config, water_records, write_store


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "waters.lmdb", water_records(12))


def fit(config, directory, **options):
    console = Console(file=io.StringIO())
    result = Trainer(config, directory, console=console).fit(**options)
    return result, console.file.getvalue()


def weights(directory):
    return read_checkpoint(directory / "checkpoint.safetensors")[0]


@pytest.mark.parametrize(
    "targets",
    [["energy"], ["forces"], ["hamiltonian"], ["energy", "forces"], ["energy", "forces", "hamiltonian"]],
    ids="+".join,
)
def test_each_choice_of_targets_lowers_its_own_errors(store, tmp_path, targets):
    config = tiny_config(
        store,
        targets={name: {} for name in targets},
        data={"n_validation": 3},
        schedule={"max_steps": 60},
        optimizer={"learning_rate": 0.02},
        training={"validation_interval": 10, "ema_decay": 0.5},
    )
    result, printed = fit(config, tmp_path / "run")
    validations = [line for line in read_metrics(tmp_path / "run/metrics.jsonl") if line["kind"] == "validation"]
    assert result.reason == "finished"
    assert result.validation["loss"] < validations[0]["loss"]
    assert {key.removesuffix("_mae") for key in validations[0] if key.endswith("_mae")} == {
        *targets,
        *(["energy_per_atom"] if "energy" in targets else []),
    }
    model = load_model(result.model_path)
    assert model.has_operator == ("hamiltonian" in targets)
    assert (model.energy_head is not None) == bool({"energy", "forces"} & set(targets))
    assert "structures of" in printed


def test_without_targets_everything_that_is_labelled_and_has_a_head_is_learned(store):
    assert set(prepare(tiny_config(store)).targets.active) == {"energy", "forces", "hamiltonian"}
    assert set(prepare(tiny_config(store, model={"operator": None})).targets.active) == {"energy", "forces"}


def test_only_the_hamiltonian_needs_no_derivative(store, monkeypatch):
    setup = prepare(tiny_config(store, targets={"hamiltonian": {}}))
    seen = []
    forward = type(setup.model).forward

    def watched(model, graph, outputs):
        seen.append(tuple(outputs))
        return forward(model, graph, outputs)

    monkeypatch.setattr(type(setup.model), "forward", watched)
    config = tiny_config(store, targets={"hamiltonian": {}}, schedule={"max_steps": 2})
    TrainingLoop(config, setup, None).step()
    assert seen == [("hamiltonian",)]


def test_records_without_some_labels_take_part_with_what_they_have(tmp_path):
    mixed = [
        *water_records(4, ("energy",)),
        *water_records(4, ("hamiltonian", "h0"), seed=1),
        *water_records(4, ("energy", "forces"), seed=2),
    ]
    store = write_store(tmp_path / "mixed.lmdb", mixed)
    result, _ = fit(tiny_config(store, data={"n_validation": 6}), tmp_path / "run")
    assert np.isfinite(result.validation["loss"])
    assert {"energy_mae", "hamiltonian_mae"} <= set(result.validation)


def test_a_target_without_a_single_label_is_refused(tmp_path):
    store = write_store(tmp_path / "a.lmdb", water_records(4, ("energy",)))
    with pytest.raises(LabelError, match="forces"):
        fit(tiny_config(store, targets={"energy": {}, "forces": {}}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_target_without_its_head_is_refused(store, tmp_path):
    with pytest.raises(ModelError, match="operator"):
        fit(tiny_config(store, targets={"hamiltonian": {}}, model={"operator": None}), tmp_path / "run")


def test_one_seed_one_run(store, tmp_path):
    config = tiny_config(store, data={"n_validation": 3})
    for name in ("a", "b"):
        fit(config, tmp_path / name)
    fit(tiny_config(store, data={"n_validation": 3}, training={"seed": 1}), tmp_path / "c")
    a, b, c = (weights(tmp_path / name) for name in "abc")
    for group, members in a.items():
        for key, value in members.items():
            assert torch.equal(value, b[group][key]), (group, key)
    assert any(not torch.equal(value, c["model"][key]) for key, value in a["model"].items())


def test_early_stopping_keeps_the_best_model(store, tmp_path):
    config = tiny_config(
        store,
        data={"n_validation": 3},
        schedule={"max_steps": 400, "kind": "constant"},
        optimizer={"learning_rate": 0.2},  # too large to settle
        training={"patience": 2, "validation_interval": 1},
    )
    result, _ = fit(config, tmp_path / "run")
    values = [line["loss"] for line in read_metrics(tmp_path / "run/metrics.jsonl") if line["kind"] == "validation"]
    assert result.reason == "early stopping"
    assert len(values) == result.step < 400
    assert min(values) == values[-3] == result.validation["loss"]


def test_the_saved_model_is_the_one_that_was_scored(store, tmp_path):
    """MAE of the package, computed from its own predictions, equals what the run reports for the test frames."""
    config = tiny_config(store, data={"n_validation": 3, "test": str(store)}, training={"dtype": "float64"})
    result, printed = fit(config, tmp_path / "run")
    model = load_model(result.model_path)
    errors = []
    for record in water_records(12):
        prediction = model(model.graph(record.structure, {"forces"}), {"forces"})
        errors.append(np.abs(prediction.forces.detach().numpy() - record.labels["forces"]))
    assert np.mean(errors) * 1e3 == pytest.approx(result.test["forces_mae"], rel=1e-9)
    assert "test E" in printed


def test_the_package_says_where_it_comes_from(store, tmp_path):
    result, _ = fit(tiny_config(store, data={"n_validation": 3}), tmp_path / "run")
    provenance = inspect_model(result.model_path)["provenance"]
    assert provenance["n_train"] == 9
    assert provenance["metrics"]["validation"] == result.validation
    assert provenance["config"]["schedule"]["max_steps"] == 12
    assert {"torch", "adiabat", "python"} <= set(provenance["versions"])
    assert len(provenance["data_hash"]) == 64


def test_a_run_can_be_limited_by_time_alone(store, tmp_path):
    config = tiny_config(store, schedule={"max_steps": None, "max_minutes": 0.02, "final_factor": 0.01})
    result, _ = fit(config, tmp_path / "run")
    assert result.minutes >= 0.02
    last = [line for line in read_metrics(tmp_path / "run/metrics.jsonl") if line["kind"] == "train"][-1]
    assert last["learning_rate"] < 0.5 * config.optimizer.learning_rate


def test_nan_stops_the_run_and_names_the_structure(store, tmp_path, monkeypatch):
    config = tiny_config(store)
    setup = prepare(config)
    poisoned = setup.train[7]
    batches = [TrainingLoop(config, setup, None).sampler.batch(step).tolist() for step in range(12)]
    poisoned_steps = [step for step, batch in enumerate(batches) if 7 in batch]
    forward = type(setup.model).forward
    marker = poisoned.graph.positions[0, 0]

    def broken(model, graph, outputs):
        prediction = forward(model, graph, outputs)
        at = graph.structure_index[(graph.positions[:, 0] == marker).nonzero()[:, 0]]
        if len(at):
            prediction.energy[at] = prediction.energy[at] * float("nan")
        return prediction

    monkeypatch.setattr(type(setup.model), "forward", broken)
    with pytest.raises(TrainingError) as caught:
        fit(config, tmp_path / "run")
    assert poisoned.name in caught.value.got
    assert "frame 7 " in caught.value.got
    assert sum("frame" in part for part in caught.value.got.split(",")) == 1
    assert f"step {poisoned_steps[0]}" in caught.value.got
    groups, state = read_checkpoint(tmp_path / "run/checkpoint.safetensors")
    assert state["progress"]["step"] <= poisoned_steps[0]
    assert all(value.isfinite().all() for value in groups["model"].values())


def test_weights_that_diverge_are_told_from_a_bad_structure(store, tmp_path):
    config = tiny_config(store, optimizer={"learning_rate": 1e30, "clip_norm": None}, schedule={"warmup_steps": 0})
    with pytest.raises(TrainingError, match="diverged"):
        fit(config, tmp_path / "run")


def test_a_signal_saves_and_a_resumed_run_ends_like_one_that_never_stopped(store, tmp_path, monkeypatch):
    config = tiny_config(store, data={"n_validation": 3})
    fit(config, tmp_path / "whole")
    step = TrainingLoop.step

    def interrupted(loop):
        step(loop)
        if loop.progress.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(TrainingLoop, "step", interrupted)
    result, printed = fit(config, tmp_path / "halves")
    assert result.interrupted
    assert result.step == 5
    assert "--resume" in printed
    monkeypatch.undo()
    result, _ = fit(config, tmp_path / "halves", resume=True)
    assert result.reason == "finished"
    whole, halves = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert all(torch.equal(value, halves["averages"][key]) for key, value in whole["averages"].items())


def test_a_run_is_not_begun_over_another(store, tmp_path):
    fit(tiny_config(store), tmp_path / "run")
    before = (tmp_path / "run/checkpoint.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="--resume"):
        fit(tiny_config(store), tmp_path / "run")
    assert (tmp_path / "run/checkpoint.safetensors").read_bytes() == before


def test_a_finished_run_can_be_made_longer(store, tmp_path):
    fit(tiny_config(store), tmp_path / "run")
    result, _ = fit(tiny_config(store, schedule={"max_steps": 20}), tmp_path / "run", resume=True)
    assert result.step == 20


def test_resuming_as_something_else_is_refused(store, tmp_path):
    fit(tiny_config(store), tmp_path / "run")
    with pytest.raises(ConfigError, match="batch_size"):
        fit(tiny_config(store, training={"batch_size": 2}), tmp_path / "run", resume=True)
    other = write_store(tmp_path / "other.lmdb", water_records(12, seed=5))
    with pytest.raises(TrainingError, match="hash"):
        fit(tiny_config(other), tmp_path / "run", resume=True)


def test_the_same_frames_under_another_path_can_be_resumed(store, tmp_path):
    fit(tiny_config(store), tmp_path / "run")
    store.rename(tmp_path / "moved.lmdb")
    config = tiny_config(tmp_path / "moved.lmdb", schedule={"max_steps": 14})
    assert fit(config, tmp_path / "run", resume=True)[0].step == 14
