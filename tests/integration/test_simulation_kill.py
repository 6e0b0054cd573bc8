"""``adiabat md`` as a user runs it: killed, stopped, resumed, refused."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import ase.io
import pytest
import torch
from ase.build import molecule
from typer.testing import CliRunner

from adiabat.cli.main import app
from adiabat.models.config import ModelConfig, OperatorConfig, OperatorReference
from adiabat.models.model import Model
from adiabat.models.package import save_model
from adiabat.physics.basis import orbital_basis

FILES = ("trajectory.xyz", "log.jsonl", "electrons.jsonl")
# An untrained model pulls water about at random: short steps keep the run going long enough to be killed.
OPTIONS = ["--timestep", "0.02", "--steps", "80", "--temperature", "50", "--seed", "3", "--log-every", "1"]
OPTIONS += ["--save-every", "7", "--restart-every", "20", "--follow", "gap", "--follow-every", "15"]

Run = Callable[..., list[str]]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Arguments of ``adiabat md`` for water and an untrained model, in a run directory of that name."""
    folder = tmp_path_factory.mktemp("md")
    torch.manual_seed(0)
    basis = orbital_basis([1, 8], "sto-3g")
    reference = OperatorReference(xc="hf", basis="sto-3g", grid_level=0, orbital_basis=basis.to_json())
    config = ModelConfig(channels=4, hidden=4, n_bessel=4, operator=OperatorConfig(channels=4, hidden=4, n_bessel=4))
    save_model(Model(config, [1, 8], reference), folder / "model.safetensors", {})
    ase.io.write(folder / "water.xyz", molecule("H2O"))

    def arguments(name: str, *options: str) -> list[str]:
        paths = [str(folder / "model.safetensors"), str(folder / "water.xyz"), "-o", str(folder / name)]
        return ["md", *paths, *OPTIONS, *options]

    return arguments


def invoke(arguments: list[str]):
    return CliRunner().invoke(app, arguments)


def contents(arguments: list[str]) -> dict[str, bytes]:
    directory = Path(arguments[arguments.index("-o") + 1])
    return {name: (directory / name).read_bytes() for name in FILES}


def start_and_signal(arguments: list[str], number: int, n_lines: int) -> subprocess.Popen[str]:
    """Start the command in its own process, and send it a signal once the log has ``n_lines`` lines."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-c", "from adiabat.cli.main import main; main()", *arguments]
    process = subprocess.Popen(program, env=environment, stderr=subprocess.PIPE, text=True)
    log = Path(arguments[arguments.index("-o") + 1]) / "log.jsonl"
    deadline = time.monotonic() + 120
    while not log.exists() or log.read_bytes().count(b"\n") < n_lines:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(number)
    return process


@pytest.fixture(scope="module")
def whole_nve(command: Run) -> dict[str, bytes]:
    """Files of a run that nothing interrupted."""
    arguments = command("whole")
    assert invoke(arguments).exit_code == 0
    return contents(arguments)


@pytest.mark.parametrize("n_lines", [1, 50], ids=["at the start", "in the middle"])
def test_a_killed_run_resumes_to_the_same_bytes(command: Run, whole_nve: dict[str, bytes], n_lines: int) -> None:
    arguments = command(f"killed {n_lines}")
    process = start_and_signal(arguments, signal.SIGKILL, n_lines)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    result = invoke([*arguments, "--resume"])
    assert result.exit_code == 0, result.output
    assert "80 steps (1.6 fs) of H2O" in result.output
    assert contents(arguments) == whole_nve


def test_a_killed_langevin_run_continues_its_noise(command: Run) -> None:
    whole, killed = (command(name, "--ensemble", "langevin") for name in ("langevin", "langevin killed"))
    assert invoke(whole).exit_code == 0
    start_and_signal(killed, signal.SIGKILL, 30).communicate()
    assert invoke([*killed, "--resume"]).exit_code == 0
    assert contents(killed) == contents(whole)


def test_sigterm_ends_a_run_with_the_command_that_continues_it(command: Run, whole_nve: dict[str, bytes]) -> None:
    arguments = command("terminated")
    process = start_and_signal(arguments, signal.SIGTERM, 10)
    _, message = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in message
    assert message.rstrip().endswith("--resume")
    assert invoke([*arguments, "--resume"]).exit_code == 0
    assert contents(arguments) == whole_nve


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--timestep", "0"], "timestep_fs"),
        (["--follow", "gab"], "did you mean 'gap'"),
        (["--frame", ":"], "2 frames"),
        (["--frame", "7"], "frame"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    command: Run, tmp_path: Path, options: list[str], message: str
) -> None:
    arguments = command(f"refused {message}", *options)
    water = tmp_path / "two.xyz"
    ase.io.write(water, [molecule("H2O"), molecule("H2O")])
    result = invoke([arguments[0], arguments[1], str(water), *arguments[3:]])
    assert result.exit_code == 1
    assert message in result.output
    assert not Path(arguments[arguments.index("-o") + 1]).exists()


def test_the_gap_is_followed(whole_nve: dict[str, bytes]) -> None:
    followed = [json.loads(line) for line in whole_nve["electrons.jsonl"].splitlines()]
    assert [entry["step"] for entry in followed] == list(range(0, 81, 15))
    assert all(entry["gap"] > 0 for entry in followed)
