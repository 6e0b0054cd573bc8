"""Campaigns on dask: workers, schedulers and drivers killed; nodes without the engine; job scripts."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adiabat.campaigns.active.cluster import batch_cluster
from adiabat.campaigns.active.config import ClusterConfig
from adiabat.campaigns.active.dask_workers import DaskWorkers
from adiabat.campaigns.active.database import Database
from adiabat.campaigns.active.label_task import Outcome
from adiabat.campaigns.active.workers import Finished
from adiabat.core.errors import ConfigError, EngineError

ROOT = Path(__file__).resolve().parents[3]
SUPPORT = ROOT / "tests" / "support"

# A process of its own, so that dask's threads and warnings stay out of the tests.
LOCAL = """
import os, sys
sys.path.insert(0, {support!r})
from pathlib import Path
import small_campaigns
from adiabat.campaigns.active.creation import create_campaign
from adiabat.data.structure_source import read_structures
from adiabat.campaigns.active.driver import run_campaign

def main():
    folder = Path({folder!r})
    small_campaigns.campaign_config(folder)
    first = read_structures(str(folder / "starts.xyz"))[0].content_hash[:12]
    log = str(folder / "calls.log")
    config = small_campaigns.campaign_config(
        folder,
        initial={{"n": 8}},
        stop={{"max_rounds": 0}},
        label={{"options": {{"log": log, "trouble": {{first: "die"}}}}}},
        cluster={{"workers": 2, "options": {{"preload": [small_campaigns.__file__]}}}},
    )
    create_campaign(config, folder / "campaign")
    print(run_campaign(folder / "campaign").reason)

if __name__ == "__main__":
    main()
"""


def run_python(code: str, folder: Path) -> str:
    script = folder / "script.py"
    script.write_text(code)
    result = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_a_structure_that_kills_three_workers_is_set_aside_and_the_others_are_labelled(tmp_path: Path) -> None:
    run_python(LOCAL.format(support=str(SUPPORT), folder=str(tmp_path)), tmp_path)
    database = Database(tmp_path / "campaign" / "campaign.sqlite", readonly=True)
    assert database.number("SELECT COUNT(*) FROM jobs WHERE status = 'done'") == 7
    row = database.row("SELECT got FROM jobs WHERE status = 'set-aside'")
    assert row is not None
    assert row["got"] == "a structure whose worker died 3 times while it computed it"
    database.close()
    begun = [line.split()[1] for line in (tmp_path / "calls.log").read_text().splitlines() if "begin" in line]
    assert len(begun) == 7 + 3


@pytest.mark.slow
def test_killed_workers_scheduler_and_driver_leave_no_trace_in_the_data(tmp_path: Path) -> None:
    """The show of the benchmark, smaller."""
    script = ROOT / "benchmarks" / "data_efficiency" / "robust_campaign.py"
    options = ["--engine", "gfn2", "--labels", "6", "--rounds", "1", "--steps", "20", "--seconds", "0.4"]
    command = [sys.executable, str(script), str(tmp_path / "run"), *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "run" / "result.json").read_text())
    assert found["same_data"]
    assert found["undisturbed"]["stores"]["train"]["records"] == 10
    assert found["disturbed"]["computed_twice"] == 0
    assert found["disturbed"]["calls_begun"] > found["disturbed"]["labels_computed"]  # the kills hit something
    assert len(found["disturbed"]["done"]) == 4


class FewWorkers(DaskWorkers):
    """Two workers that are told apart by name only, one without the engine."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.excluded: set[str] = set()

    @property
    def generation(self) -> int:
        return 1

    @property
    def capacity(self) -> int:
        return 4

    @property
    def n_workers(self) -> int:
        return 2

    def submit(self, name: str, task: Any, argument: Any) -> None:
        self.sent.append(name)
        self.tasks = {**getattr(self, "tasks", {}), name: (task, argument)}

    def poll(self, seconds: float) -> list[Finished]:
        back = []
        for count, name in enumerate(list(self.tasks)):
            task, argument = self.tasks.pop(name)
            worker = "bad" if "bad" not in self.excluded and count % 2 == 0 else "good"
            missing = Outcome.of("engine-missing", EngineError("no cp2k", expected="cp2k", suggestion="install it"))
            back.append(Finished(name, missing if worker == "bad" else task(argument), worker=worker))
        return back

    def exclude(self, worker: str) -> bool:
        self.excluded.add(worker)
        return bool({"good", "bad"} - self.excluded)

    def close(self) -> None:
        pass


def test_jobs_of_a_worker_without_the_engine_go_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adiabat.campaigns.active import driver
    from adiabat.campaigns.active.creation import create_campaign
    from adiabat.campaigns.active.summary import summarise
    from small_campaigns import campaign_config, finished_calls

    create_campaign(campaign_config(tmp_path, initial={"n": 4}, stop={"max_rounds": 0}), tmp_path / "campaign")
    workers = FewWorkers()
    workers.tasks = {}
    # Stages are done by the good one; only labels need an engine.
    workers.excluded = {"bad"}
    monkeypatch.setattr(driver._Driver, "_make_workers", lambda _driver: workers)
    label_all = driver.Dispatcher.label_all

    def begin_with_both(dispatcher: Any) -> bool:
        workers.excluded = set()
        return label_all(dispatcher)

    monkeypatch.setattr(driver.Dispatcher, "label_all", begin_with_both)
    driver.run_campaign(tmp_path / "campaign")
    summary = summarise(tmp_path / "campaign")
    assert summary["jobs"] == {"done": 4}
    assert "bad: no cp2k" in {event["text"] for event in summary["events"] if event["kind"] == "engine missing"}
    assert len(finished_calls(tmp_path)) == 4


def test_a_slurm_job_has_one_worker_with_one_task_and_all_cores(tmp_path: Path) -> None:
    config = ClusterConfig(
        kind="slurm", workers=3, cores=8, memory="16GB", walltime="12:00:00", queue="main",
        options={"account": "abc", "job_script_prologue": ["module load cp2k"],
                 "scheduler_options": {"host": "127.0.0.1"}},
    )  # fmt: skip
    cluster = batch_cluster(config, tmp_path, "copper")
    try:
        script = cluster.job_script()
    finally:
        cluster.close()
    for line in ("-J copper", "-p main", "-A abc", "--cpus-per-task=8", "--mem=15G", "-t 12:00:00"):
        assert f"#SBATCH {line}" in script
    assert "export OMP_NUM_THREADS=8" in script
    assert "module load cp2k" in script
    assert "--nthreads 1" in script


def test_a_pbs_job_asks_for_the_same_in_its_own_words(tmp_path: Path) -> None:
    config = ClusterConfig(
        kind="pbs", workers=3, cores=8, memory="16GB", walltime="12:00:00", queue="main",
        options={"scheduler_options": {"host": "127.0.0.1"}},
    )  # fmt: skip
    cluster = batch_cluster(config, tmp_path, "copper")
    try:
        script = cluster.job_script()
    finally:
        cluster.close()
    for line in ("-N copper", "-q main", "-l select=1:ncpus=8:mem=16GB", "-l walltime=12:00:00"):
        assert f"#PBS {line}" in script
    assert "export OMP_NUM_THREADS=8" in script
    assert "--nthreads 1" in script


@pytest.mark.skipif(importlib.util.find_spec("dask_kubernetes") is not None, reason="it is installed")
def test_a_missing_package_is_named_with_its_extra(tmp_path: Path) -> None:
    from adiabat.campaigns.active.cluster import make_cluster
    from adiabat.core.errors import MissingExtraError

    with pytest.raises(MissingExtraError, match=r"adiabat\[dask-kubernetes\]"):
        make_cluster(ClusterConfig(kind="kubernetes", workers=1), tmp_path, "copper")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # dask's own half-made cluster
def test_an_option_that_dask_does_not_know_is_refused(tmp_path: Path) -> None:
    from adiabat.campaigns.active.cluster import make_cluster

    config = ClusterConfig(kind="slurm", workers=1, memory="1GB", options={"wokers": 3})
    with pytest.raises(ConfigError, match=r"options \['wokers'\]"):
        make_cluster(config, tmp_path, "copper")
