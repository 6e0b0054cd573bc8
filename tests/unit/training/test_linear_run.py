"""A run of the linear family: the files, scores and refusals of any run."""

import json
from pathlib import Path

import pytest
import torch

from adiabat.core.errors import ConfigError, TrainingError
from adiabat.data.record import Provenance, Record
from adiabat.data.store import DatasetStore
from adiabat.models.package import inspect_model, load_model
from adiabat.simulation.calculator import AdiabatCalculator
from adiabat.training import linear_run
from adiabat.training.config import TrainConfig
from adiabat.training.config_parsing import parse_config
from adiabat.training.metrics_log import read_metrics
from adiabat.training.trainer import Trainer
from linear_models import linear_config, linear_model
from small_models import molecule

MODEL = {"family": "linear-ace", "cutoff": 3.5, "linear_ace": {"degrees": [4, 3, 2], "l_max": 2}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Energies and forces of a linear model, so that a fit can be right."""
    truth = linear_model(linear_config(degrees=(4, 3, 2), l_max=2))
    path = tmp_path_factory.mktemp("linear") / "data.lmdb"
    with DatasetStore.create(path) as made:
        for seed in range(18):
            structure = molecule(seed, (6, 8, 1, 1, 6))
            found = truth(truth.graph(structure, ("energy", "forces")), ("energy", "forces"))
            labels = {"energy": found.energy.detach()[0].numpy(), "forces": found.forces.detach().numpy()}
            made.append(Record(structure, labels, Provenance("test", method="made")))
    return str(path)


def config(store: str, **sections: object) -> TrainConfig:
    data = {"train": [{"path": store, "frames": ":14"}], "test": [{"path": store, "frames": "14:"}]}
    return parse_config({"data": data, "model": MODEL, "training": {"tensorboard": False}, **sections})


def test_a_run_leaves_what_every_run_leaves(store: str, tmp_path: Path) -> None:
    result = Trainer(config(store), tmp_path / "run").fit()
    assert result.reason == "finished"
    assert result.test["forces_mae"] < 300  # of forces of several eV/Å
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["kind"] for line in lines] == ["train", "test"]
    described = inspect_model(result.model_path)
    assert described["provenance"]["n_train"] == 14
    assert described["provenance"]["metrics"]["test"] == dict(result.test)
    settings = json.loads((tmp_path / "run" / "config.json").read_text())
    assert parse_config(settings) == config(store)  # what was understood can be run again
    atoms = molecule(100, (6, 8, 1, 1, 6)).to_ase()
    atoms.calc = AdiabatCalculator.from_file(result.model_path)
    assert atoms.get_forces().shape == (5, 3)


def test_a_run_is_not_begun_over_another_but_resumed(store: str, tmp_path: Path) -> None:
    first = Trainer(config(store), tmp_path).fit()
    with pytest.raises(TrainingError, match="holds a run"):
        Trainer(config(store), tmp_path).fit()
    with pytest.raises(ConfigError, match="smoothness"):
        Trainer(config(store, linear_fit={"smoothness": 2.0}), tmp_path).fit(resume=True)
    again = Trainer(config(store), tmp_path).fit(resume=True)
    assert again.test == first.test


def test_a_stopped_fit_says_so_and_is_fitted_by_resuming(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopping(linear_run.StopRequest):
        signal_number = 15

        def __init__(self) -> None:
            pass

    with monkeypatch.context() as patched:
        patched.setattr(linear_run, "StopRequest", Stopping)
        from contextlib import nullcontext

        patched.setattr(linear_run, "stop_on_signals", lambda: nullcontext(Stopping()))
        stopped = Trainer(config(store), tmp_path).fit()
    assert stopped.interrupted
    assert stopped.model_path is None
    assert Trainer(config(store), tmp_path).fit(resume=True).reason == "finished"


def test_the_precision_of_production_is_enough(store: str, tmp_path: Path) -> None:
    result = Trainer(config(store), tmp_path).fit()
    models = [load_model(result.model_path, dtype=dtype) for dtype in (torch.float32, torch.float64)]
    forces = [model(model.graph(molecule(100), ("forces",)), ("forces",)).forces.double() for model in models]
    # single precision of forces that large cancelling terms add up to
    assert (forces[0] - forces[1]).abs().max() < 1e-3 * forces[1].abs().max()


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"schedule": {"max_steps": 100}}, "schedule"),
        ({"optimizer": {"learning_rate": 0.1}}, "optimizer.learning_rate"),
        ({"training": {"batch_size": 3}}, "training.batch_size"),
        ({"targets": {"forces": {"weight": 2.0}}}, "targets.forces.weight"),
    ],
)
def test_settings_of_steps_are_refused(store: str, sections: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(store, **sections)
    assert key in caught.value.expected


def test_other_families_do_not_read_the_fit(store: str) -> None:
    with pytest.raises(ConfigError, match="linear"):
        parse_config({"data": {"train": store}, "schedule": {"max_steps": 1}, "linear_fit": {"hyperparameter_rows": 5}})
