"""``adiabat campaign`` through the real command: made, run, shown, reported, changed, stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from adiabat.cli.main import app
from small_campaigns import campaign_config


def call(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "300"}).invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    sections = {"initial": {"n": 4}, "stop": {"max_rounds": 1}}
    path.write_text(yaml.safe_dump(campaign_config(tmp_path, **sections).model_dump(mode="json")))
    return path


def test_a_campaign_from_its_configuration_to_its_page(config: Path, tmp_path: Path) -> None:
    directory = tmp_path / "campaign"
    for words in (("new", config, directory), ("run", directory), ("report", directory)):
        result = call("campaign", *words)
        assert result.exit_code == 0, result.output
    shown = call("campaign", "status", directory).output
    assert "not running, round 1, phase done; labels: 7 done" in shown
    assert "F [meV/Å]" in shown
    assert "ended: 1 rounds" in shown
    assert (directory / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert len(json.loads(call("campaign", "status", directory, "--json").output)["rounds"]) == 2


def test_a_changed_limit_in_the_directory_counts_and_a_changed_method_is_refused(config: Path, tmp_path: Path) -> None:
    directory = tmp_path / "campaign"
    call("campaign", "new", config, directory)
    ours = directory / "campaign.yaml"
    ours.write_text(ours.read_text().replace("max_rounds: 1", "max_rounds: 0"))
    assert "ended: 0 rounds" in call("campaign", "run", directory).output
    ours.write_text(ours.read_text().replace("engine: counted", "engine: lj"))
    refused = call("campaign", "run", directory)
    assert refused.exit_code == 1
    assert "got: label.engine" in refused.output


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sttop": {}}, "did you mean 'stop'?"),
        ({"select": {"n": 0}}, "select.n = 0"),
        ({"test": {}, "stop": {"forces": 0.04}}, "need a test set"),
        ({"cluster": {"kind": "slurm", "workers": 2}}, "cluster.memory"),
        ({"label": {"engine": "emtt"}}, "did you mean 'emt'?"),
        ({"structures": "nowhere.xyz"}, "nowhere.xyz"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_made(
    config: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), **change}))
    result = call("campaign", "new", config, tmp_path / "campaign")
    assert result.exit_code == 1
    assert words in result.output
    assert not (tmp_path / "campaign").exists()


def test_a_directory_without_a_campaign_and_one_that_is_not_empty_are_refused(config: Path, tmp_path: Path) -> None:
    assert "holds no campaign" in call("campaign", "status", tmp_path).output
    assert "holds something already" in call("campaign", "new", config, tmp_path).output


def test_ctrl_c_ends_a_run_cleanly_and_the_same_command_goes_on(config: Path, tmp_path: Path) -> None:
    settings = yaml.safe_load(config.read_text())
    settings["label"]["options"]["seconds"] = 0.3
    config.write_text(yaml.safe_dump(settings))
    directory = tmp_path / "campaign"
    assert call("campaign", "new", config, directory).exit_code == 0
    code = "import small_campaigns, sys; from adiabat.cli.main import app; app(['campaign', 'run', sys.argv[1]])"
    support = str(Path(__file__).resolve().parents[2] / "support")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(directory)],
        env={**os.environ, "PYTHONPATH": support, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        log = tmp_path / "calls.log"
        while not (log.exists() and "end" in log.read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
        assert process.stderr is not None
        assert "Run the same command again" in process.stderr.read()
    assert call("campaign", "run", directory).exit_code == 0
    ended = [line.split()[1] for line in log.read_text().splitlines() if line.startswith("end")]
    assert len(ended) == len(set(ended)) == 7
