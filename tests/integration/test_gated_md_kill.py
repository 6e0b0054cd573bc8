"""A gated run of an ensemble, killed at any moment: rewinds and all, it goes on to the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase.build import molecule
from typer.testing import CliRunner

from adiabat.cli.main import app
from adiabat.cli.md import GATE_CLOSED
from adiabat.data.structure import Structure
from adiabat.models.config import ModelConfig
from adiabat.models.model import Model
from adiabat.models.package import load_model, save_model
from adiabat.simulation.md import MdResult, run_md
from adiabat.simulation.settings import GateSettings, MdSettings
from adiabat.uncertainty.ensemble import DeepEnsemble
from adiabat.uncertainty.package import save_uncertain_model

FILES = ("trajectory.xyz", "log.jsonl", "gated.xyz", "gate.jsonl")
# Untrained models pull water about at random: weak forces and short steps keep it whole.
SETTINGS = MdSettings(
    ensemble="langevin",
    timestep_fs=0.05,
    temperature_limit_K=1e5,
    steps=60,
    temperature_K=50.0,
    seed=3,
    log_interval=1,
    trajectory_interval=7,
    restart_interval=10,
    gate=GateSettings(threshold=1e6, every=3, action="rewind", max_rewinds=12),
)
WATER = Structure.from_ase(molecule("H2O"))
PROGRAM = """
import json, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_gated_md_kill import run
run(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
"""


def run(models: Path, directory: Path, threshold: float) -> MdResult:
    """The run, begun or gone on with."""
    assert SETTINGS.gate is not None
    gate = SETTINGS.gate.model_copy(update={"threshold": threshold})
    ensemble = DeepEnsemble([load_model(path) for path in sorted(models.glob("*.safetensors"))])
    settings = SETTINGS.model_copy(update={"gate": gate})
    return run_md(ensemble, WATER, settings, directory, resume=(directory / "restart.npz").exists())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for seed in range(2):
        torch.manual_seed(seed)
        model = Model(ModelConfig(channels=4, hidden=4, n_bessel=4), [1, 8])
        assert model.energy_head is not None
        model.energy_head.scale.fill_(1e-3)
        save_model(model, folder / f"{seed}.safetensors", {})
    return folder


@pytest.fixture(scope="module")
def threshold(models: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """A limit that is passed again and again after the first restart points."""
    directory = tmp_path_factory.mktemp("open") / "run"
    run(models, directory, 1e6)
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return float(np.max([line["largest_force_uncertainty"] for line in lines[:32]]))


def contents(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in FILES}


def kill_when(models: Path, directory: Path, threshold: float, name: str, n_lines: int) -> None:
    """Run in a process of its own, and kill it once a file has so many lines."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    program = PROGRAM.format(here=str(Path(__file__).parent))
    arguments = [sys.executable, "-c", program, str(models), str(directory), repr(threshold)]
    process = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    path = directory / name
    while not path.exists() or path.read_bytes().count(b"\n") < n_lines:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_run_killed_about_its_rewinds_resumes_to_the_same_bytes(
    models: Path, threshold: float, tmp_path: Path
) -> None:
    whole = run(models, tmp_path / "whole", threshold)
    assert whole.rewinds >= 3
    for name, n_lines in (("gate.jsonl", 2), ("log.jsonl", 12)):
        directory = tmp_path / f"killed {name} {n_lines}"
        kill_when(models, directory, threshold, name, n_lines)
        result = run(models, directory, threshold)
        assert (result.step, result.rewinds, result.gated) == (whole.step, whole.rewinds, whole.gated)
        assert contents(directory) == contents(tmp_path / "whole")


@pytest.fixture
def command(models: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments of ``adiabat md`` for the same ensemble, from its file."""
    ensemble = DeepEnsemble([load_model(path) for path in sorted(models.glob("*.safetensors"))])
    save_uncertain_model(ensemble, tmp_path / "ensemble.safetensors", {})
    ase.io.write(tmp_path / "water.xyz", molecule("H2O"))

    def arguments(*options: str) -> list[str]:
        paths = [str(tmp_path / "ensemble.safetensors"), str(tmp_path / "water.xyz"), "-o", str(tmp_path / "run")]
        return [
            "md",
            *paths,
            "--timestep",
            "0.05",
            "--temperature",
            "50",
            "--steps",
            "40",
            "--log-every",
            "1",
            *options,
        ]

    return arguments


def test_the_command_ends_with_what_the_gate_did(
    command: Callable[..., list[str]], threshold: float, tmp_path: Path
) -> None:
    runner = CliRunner()
    options = ["--gate", str(0.9 * threshold), "--seed", "3", "--ensemble", "langevin"]
    stopped = runner.invoke(app, command(*options))
    assert stopped.exit_code == GATE_CLOSED, stopped.output
    assert "the gate closed at step" in stopped.output
    assert "gated.xyz" in stopped.output
    frame = ase.io.read(tmp_path / "run" / "gated.xyz")
    assert np.linalg.norm(frame.arrays["forces_uncertainty"], axis=1).max() > 0.9 * threshold
    again = runner.invoke(app, command(*options, "--resume"))
    assert again.exit_code == GATE_CLOSED
    wider = ["--gate", "1e6", "--seed", "3", "--ensemble", "langevin"]
    finished = runner.invoke(app, command(*wider, "--resume"))
    assert finished.exit_code == 0, finished.output
    assert "40 steps" in finished.output


def test_the_command_moves_on_the_biased_surface(command: Callable[..., list[str]], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, command("--bias", "0.5", "--log-every", "10"))
    assert result.exit_code == 0, result.output
    line = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert line["unbiased_energy"] > line["potential_energy"]
    assert line["energy_uncertainty"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gate-every", "5"], "without --gate"),
        (["--drive", "central"], "without --gate"),
        (["--gate", "0"], "gate.threshold"),
        (["--gate", "1", "--drive", "central", "--bias", "1"], "drive must be mean"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    command: Callable[..., list[str]], tmp_path: Path, options: list[str], message: str
) -> None:
    result = CliRunner().invoke(app, command(*options))
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "run").exists()
