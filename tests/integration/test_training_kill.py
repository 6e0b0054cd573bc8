"""kill −9 at the worst moments: the resumed run equals, bit for bit, one that was never killed."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from adiabat.models.package import load_model
from adiabat.training.checkpoint import read_checkpoint
from adiabat.training.metrics_log import read_metrics
from adiabat.training.trainer import Trainer
from labelled_waters import tiny_config, water_records, write_store

SUPPORT = Path(__file__).resolve().parents[1] / "support"

MOMENTS = ["between checkpoints", "while a checkpoint is written", "after the best model is saved"]

KILLED = """
import os, signal, sys
sys.path.insert(0, {support!r})
from pathlib import Path
from adiabat.training import loop as module
from adiabat.training.loop import TrainingLoop
from adiabat.training.trainer import Trainer
from labelled_waters import tiny_config

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def between(self, step=TrainingLoop.step):
    step(self)
    if self.progress.step == 7:
        die()

def while_written(self, target, rename=Path.replace, calls=[]):
    calls.append(Path(target).name)
    if calls.count("checkpoint.safetensors") == 3:
        die()
    return rename(self, target)

def after_saving(model, path, provenance, save=module.save_model):
    save(model, path, provenance)
    if provenance["step"] == 8:
        die()

patches = [(TrainingLoop, "step", between), (Path, "replace", while_written), (module, "save_model", after_saving)]
for index, patch in enumerate(patches):
    child = os.fork()  # each run in a process of its own, the imports paid for once
    if not child:
        setattr(*patch)
        Trainer(tiny_config({store!r}, data={{"n_validation": 3}}), {folder!r} + f"/{{index}}").fit()
    print(os.waitpid(child, 0)[1])
"""


def history(directory):
    lines = read_metrics(directory / "metrics.jsonl")
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    store = write_store(folder / "waters.lmdb", water_records(12))
    fit(store, folder / "run")
    return store, folder / "run"


def fit(store, directory, **options):
    config = tiny_config(store, data={"n_validation": 3})
    return Trainer(config, directory, console=Console(file=io.StringIO())).fit(**options)


@pytest.fixture(scope="module")
def killed(whole, tmp_path_factory):
    """A run directory for each moment at which its process died."""
    folder = tmp_path_factory.mktemp("killed")
    script = KILLED.format(support=str(SUPPORT), store=str(whole[0]), folder=str(folder))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["9", "9", "9"], result.stderr
    return {moment: folder / str(index) for index, moment in enumerate(MOMENTS)}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_resumes_bit_for_bit(whole, killed, moment):
    store, reference = whole
    directory = killed[moment]
    stopped_at = read_checkpoint(directory / "checkpoint.safetensors")[1]["progress"]["step"]
    assert stopped_at == 4
    fit(store, directory, resume=True)
    expected, state = read_checkpoint(reference / "checkpoint.safetensors")
    found, resumed_state = read_checkpoint(directory / "checkpoint.safetensors")
    for group, members in expected.items():
        for key, value in members.items():
            assert torch.equal(value, found[group][key]), (group, key)
    for progress in (state["progress"], resumed_state["progress"]):
        del progress["elapsed"]
    assert resumed_state["progress"] == state["progress"]
    assert history(directory) == history(reference)
    one, other = (load_model(folder / "model.safetensors").state_dict() for folder in (reference, directory))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
