"""Runs that start from a trained model: what they take, what they keep still, and that a kill changes nothing."""

import io
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from rich.console import Console

from adiabat.core.errors import ConfigError, ModelError
from adiabat.models.package import inspect_model, load_model
from adiabat.training.checkpoint import read_checkpoint
from adiabat.training.config import TrainConfig
from adiabat.training.loop import TrainingLoop
from adiabat.training.setup import prepare
from adiabat.training.trainer import Trainer
from labelled_waters import tiny_config, water_records, write_store
from two_levels import HIGH, LOW, SHIFT, costly

BOTH_HEADS = {"operator": {"channels": 4, "order": 2, "hidden": 8, "n_bessel": 4}}


def fit(config: TrainConfig, directory: Path, **options: bool) -> str:
    console = Console(file=io.StringIO(), width=400)
    Trainer(config, directory, console=console).fit(**options)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of both levels, and a model of the low one: ``low/model.safetensors``; of H alone: ``h``."""
    path = tmp_path_factory.mktemp("warm")
    records = water_records(12)
    write_store(path / "low.lmdb", records)
    write_store(path / "high.lmdb", costly(records[:4]))
    fit(tiny_config(path / "low.lmdb", schedule={"max_steps": 60}, training={"checkpoint_interval": 60}), path / "low")
    alone = tiny_config(path / "low.lmdb", targets={"hamiltonian": {}}, training={"checkpoint_interval": 12})
    fit(alone, path / "h")
    return path


def warm(folder: Path, start: str = "low", store: str = "low", **sections: object) -> TrainConfig:
    training = {"init_model": str(folder / start / "model.safetensors"), **(sections.pop("training", None) or {})}
    return tiny_config(folder / f"{store}.lmdb", training=training, **sections)


def test_a_run_starts_where_the_other_ended(folder: Path) -> None:
    """Sizes come from the package where the model section is silent; weights and averages are its own."""
    config = warm(folder, training={"init_references": "keep"})
    config = config.model_copy(update={"model": type(config.model)(**BOTH_HEADS)})  # sizes not given
    loop = TrainingLoop(config, prepare(config), None)
    package = load_model(folder / "low/model.safetensors")
    theirs = package.state_dict()
    for name, value in loop.model.state_dict().items():
        assert torch.equal(value, theirs[name]), name
    assert all(torch.equal(value, theirs[name]) for name, value in loop.averages.state().items())
    cold = prepare(tiny_config(folder / "low.lmdb")).model.state_dict()
    assert not torch.equal(cold["trunk.radial.species"], theirs["trunk.radial.species"]), "negative control"


def test_another_level_begins_with_its_energies_in_the_mean(folder: Path) -> None:
    labels = [float(record.labels["energy"]) for record in costly(water_records(12)[:4])]
    errors = {}
    for way in ("refit", "keep"):
        setup = prepare(warm(folder, store="high", training={"init_references": way, "dtype": "float64"}))
        with torch.no_grad():
            found = [float(setup.model(example.graph, {"energy"}).energy) for example in setup.train]
        errors[way] = float(np.mean(np.array(found) - labels))
    assert errors["refit"] == pytest.approx(0, abs=1e-6)
    assert errors["keep"] == pytest.approx(-SHIFT, abs=5)


def test_the_log_and_the_package_say_what_was_not_carried_over(folder: Path, tmp_path: Path) -> None:
    printed = fit(warm(folder, "h", targets={"energy": {}, "forces": {}}), tmp_path / "run")
    assert "starts from" in printed
    assert "new, not in the other model: energy_head\n" in printed
    assert "not used of the other model: operator_head\n" in printed
    provenance = inspect_model(tmp_path / "run/model.safetensors")["provenance"]["init_model"]
    assert provenance["content_hash"] == inspect_model(folder / "h/model.safetensors")["content_hash"]
    assert provenance["dropped"] == ["operator_head"]


def test_pretraining_on_hamiltonians_serves_forces(folder: Path) -> None:
    setup = prepare(warm(folder, "h", targets={"energy": {}, "forces": {}}))
    theirs = load_model(folder / "h/model.safetensors").trunk.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in setup.model.trunk.state_dict().items())


def test_one_level_starts_several(folder: Path) -> None:
    data = {"train": [str(folder / "high.lmdb"), str(folder / "low.lmdb")]}
    config = warm(folder, data=data, model={"fidelities": [HIGH, LOW]})
    setup = prepare(config)
    assert any("trunk.fidelity_scalars" in note for note in setup.notes)
    reference = setup.model.energy_head.reference @ torch.tensor([2.0, 1.0], dtype=torch.float64)
    assert float(reference[0] - reference[1]) == pytest.approx(SHIFT, abs=1)


def test_frozen_parts_stay_and_the_rest_moves(folder: Path) -> None:
    config = warm(folder, training={"freeze": ["trunk"]})
    loop = TrainingLoop(config, prepare(config), None)
    before = {name: value.detach().clone() for name, value in loop.model.named_parameters()}
    for _ in range(3):
        loop.step()
    moved = {name for name, value in loop.model.named_parameters() if not torch.equal(value, before[name])}
    assert {"energy_head.network.weights.0", "operator_head.pair.mixing.0"} <= moved
    assert not any(name.startswith("trunk") for name in moved)
    with pytest.raises(ConfigError, match="leaves nothing to train"):
        prepare(warm(folder, training={"freeze": ["trunk", "energy_head", "operator_head"]}))
    with pytest.raises(ConfigError, match="a model without one"):
        prepare(warm(folder, targets={"energy": {}}, training={"freeze": ["operator_head"]}))


def test_a_model_of_other_sizes_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="channels 4") as caught:
        prepare(warm(folder, model={"channels": 6}))
    assert "leave these keys out" in caught.value.suggestion


def test_an_interrupted_run_resumes_bit_for_bit_without_the_first_model(folder: Path, tmp_path: Path) -> None:
    config = warm(folder, store="high", schedule={"max_steps": 10}, training={"freeze": ["trunk"]})
    fit(config, tmp_path / "whole")
    step = TrainingLoop.step

    def interrupted(loop: TrainingLoop) -> None:
        if loop.progress.step == 6:
            raise KeyboardInterrupt
        step(loop)

    with mock.patch.object(TrainingLoop, "step", interrupted), pytest.raises(KeyboardInterrupt):
        fit(config, tmp_path / "part")
    package = folder / "low/model.safetensors"
    aside = package.rename(package.with_suffix(".aside"))
    try:
        printed = fit(config, tmp_path / "part", resume=True)
    finally:
        aside.rename(package)
    assert "carried over" not in printed
    whole, part = (read_checkpoint(tmp_path / name / "checkpoint.safetensors")[0] for name in ("whole", "part"))
    for group in ("model", "averages", "optimizer"):
        assert all(torch.equal(value, part[group][name]) for name, value in whole[group].items())
    packages = [inspect_model(tmp_path / name / "model.safetensors")["provenance"] for name in ("whole", "part")]
    assert packages[0]["init_model"] == packages[1]["init_model"]
