"""A campaign that everything is done to: a worker killed twice, the scheduler once, the driver once, all with kill −9.

    python benchmarks/data_efficiency/robust_campaign.py OUTPUT [--engine gfn2] [--rounds 2] [--seconds 0.5]

It runs twice: undisturbed in one process, and on two dask workers with the kills. Both must end with the same data set
(content hash), the disturbed one without a label computed twice. Calls are counted by the engine itself, in a file.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import ase.io
import numpy as np
import psutil
from ase.build import bulk, molecule

from adiabat.campaigns.active.config import CampaignConfig
from adiabat.campaigns.active.creation import create_campaign
from adiabat.campaigns.active.driver import run_campaign
from adiabat.campaigns.active.summary import summarise
from adiabat.data.record import Labels, Provenance
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.engines import registry
from adiabat.engines.base import Engine

N_WORKERS = 2
PATIENCE = 300.0
"""Seconds in which anything must happen."""
DRIVERS: list[subprocess.Popen[bytes]] = []
"""All that were started, so that the failure of one is noticed."""


@dataclass(frozen=True)
class CountedEngine(Engine):
    """Another engine, with a line in a file when a call begins and when its label is computed.

    Attributes:
        inner: name of that engine.
        log: the file.
        seconds: least time of a call, so that there is time to kill it.
    """

    name: ClassVar[str] = "counted"

    inner: str = "emt"
    log: str = "calls.log"
    seconds: float = 0.0

    @property
    def available(self) -> frozenset[str]:
        """As of the other engine."""
        return registry.create_engine(self.inner).available

    def provenance(self, structure: Structure) -> Provenance:
        """As of the other engine."""
        return registry.create_engine(self.inner).provenance(structure)

    def _compute(self, structure: Structure, targets: frozenset[str]) -> Labels:
        self._note("begin", structure)
        time.sleep(self.seconds)
        while (free := _worker_to_be_killed(Path(self.log))) is not None and os.getppid() != free:
            time.sleep(0.02)
        labels = registry.create_engine(self.inner).label(structure, sorted(targets)).labels
        self._note("end", structure)
        return labels

    def _note(self, word: str, structure: Structure) -> None:
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(f"{word} {structure.content_hash} {os.getpid()}\n")


registry.ENGINES["counted"] = CountedEngine  # type: ignore[index]  # workers import this file: dask's --preload


def calls(log: Path) -> list[list[str]]:
    """Word, structure and process of each line."""
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def _hold(log: Path) -> Path:
    """While it is there, calls of all workers wait but of the one whose nanny it names."""
    return log.with_suffix(".hold")


def _worker_to_be_killed(log: Path) -> int | None:
    try:
        return int(_hold(log).read_text() or 0)
    except FileNotFoundError:
        return None


def n_done(log: Path) -> int:
    """Labels computed so far."""
    return sum(line[0] == "end" for line in calls(log))


def structures(engine: str, folder: Path, count: int) -> Path:
    """Shaken copper cells, or shaken ethanol."""
    generator = np.random.default_rng(0)
    path, frames = folder / "starts.xyz", []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True) if engine == "emt" else molecule("CH3CH2OH")
        atoms.rattle(0.08, rng=generator)
        frames.append(atoms)
    ase.io.write(path, frames)
    return path


def config(arguments: argparse.Namespace, starts: Path, log: Path, cluster: dict[str, Any]) -> CampaignConfig:
    """The same campaign wherever it runs."""
    return CampaignConfig.model_validate(
        {
            "name": "robust",
            "structures": str(starts),
            "initial": {"n": arguments.labels},
            "explore": {"sources": [{"kind": "displace", "n": 4 * arguments.labels, "rms": 0.15}]},
            "select": {"n": arguments.labels, "choose": {"method": "diversity"}},
            "label": {
                "engine": "counted",
                "options": {"inner": arguments.engine, "log": str(log), "seconds": arguments.seconds},
            },
            "train": {
                "model": {"cutoff": 3.5, "channels": 8, "l_max": 1, "layers": 1, "order": 2, "hidden": 16},
                "schedule": {"max_steps": arguments.steps},
                "training": {"tensorboard": False, "checkpoint_interval": 10},
                "uncertainty": {"method": arguments.uncertainty, "members": 2},
            },
            "test": {"share": 0.2},
            "stop": {"max_rounds": arguments.rounds},
            "cluster": cluster,
        }
    )


class Cluster:
    """A dask scheduler and workers as processes of their own, restarted by a loop as a batch system would.

    Args:
        folder: for the scheduler's file and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self._log = (folder / "cluster.log").open("a")
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "120s"}
        self.scheduler = self._start_scheduler()
        self.workers = [self._start_worker() for _ in range(N_WORKERS)]

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:]]
        return subprocess.Popen(command, stdout=self._log, stderr=self._log, env=self._environment)

    def _start_scheduler(self) -> subprocess.Popen[bytes]:
        self.file.unlink(missing_ok=True)
        process = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(self.file)
        )
        wait_until(self.file.exists, "a scheduler")
        return process

    def _start_worker(self) -> subprocess.Popen[bytes]:
        return self._start(
            "worker", "--scheduler-file", str(self.file), "--nthreads", "1", "--no-dashboard",
            "--preload", str(Path(__file__).resolve()),
        )  # fmt: skip

    def kill_worker(self, log: Path, number: int) -> int:
        """Kill −9 the process of one worker in the middle of a call; its nanny starts another. Returns its pid.

        The others wait in their calls until then: they would do all that is left while this one is still starting.
        """
        nanny = psutil.Process(self.workers[number].pid)

        def busy() -> int | None:
            children = {child.pid for child in nanny.children(recursive=True)}
            ended = Counter(line[1] for line in calls(log) if line[0] == "end")
            open_calls = [int(line[2]) for line in calls(log) if line[0] == "begin" and not ended[line[1]]]
            return next((pid for pid in reversed(open_calls) if pid in children), None)

        _hold(log).write_text(str(nanny.pid))
        pid = wait_until(busy, f"a call on worker {number}")
        os.kill(pid, signal.SIGKILL)
        _hold(log).unlink()
        return pid

    def restart_scheduler(self) -> None:
        """Kill −9 it, and start another with new workers: those of the old one go with it, as a batch system's do."""
        for process in (self.scheduler, *self.workers):
            _kill_all(process)
        self.scheduler = self._start_scheduler()
        self.workers = [self._start_worker() for _ in range(N_WORKERS)]

    def close(self) -> None:
        """End everything."""
        for process in (*self.workers, self.scheduler):
            _kill_all(process)
        self._log.close()


def _kill_all(process: subprocess.Popen[bytes]) -> None:
    """A process and its children; a nanny whose worker and scheduler are gone does not end by itself."""
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()
    process.wait()


def wait_until(found: Callable[[], Any], what: str) -> Any:
    """What a function gives once it gives something."""
    end = time.monotonic() + PATIENCE
    while not (answer := found()):
        if any(process.poll() not in (None, 0, -signal.SIGKILL) for process in DRIVERS):
            raise RuntimeError(f"the driver failed before {what} came")
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come in {PATIENCE:g} s")
        time.sleep(0.05)
    return answer


def drive(campaign: Path) -> subprocess.Popen[bytes]:
    """A driver in a process of its own."""
    DRIVERS.append(subprocess.Popen([sys.executable, str(Path(__file__).resolve()), "--drive", str(campaign)]))
    return DRIVERS[-1]


def disturbed(campaign: Path, log: Path, cluster: Cluster, labels: int) -> list[str]:
    """Run to the end, with all the kills; returns what was done."""
    done: list[str] = []
    driver = drive(campaign)
    wait_until(lambda: n_done(log) >= 1, "a first label")
    for _ in range(2):
        pid = cluster.kill_worker(log, 0)
        done.append(f"killed the process of worker 0 ({n_done(log)} labels then)")
        before = n_done(log)
        wait_until(lambda least=before: n_done(log) > least, f"a label after the kill of {pid}")
    wait_until(lambda: n_done(log) >= labels // 2, "half of the first labels")
    cluster.restart_scheduler()
    done.append(f"killed the scheduler and started another ({n_done(log)} labels then)")
    wait_until(lambda: n_done(log) >= labels + 2, "labels of round 1")
    driver.kill()
    driver.wait()
    done.append(f"killed the driver ({n_done(log)} labels then)")
    driver = drive(campaign)
    assert driver.wait(PATIENCE) == 0, "the driver failed"
    return done


def result(campaign: Path, log: Path) -> dict[str, Any]:
    """What is compared."""
    hashes = {}
    for name in ("train", "test"):
        with DatasetStore.open(campaign / "data" / f"{name}.lmdb") as store:
            hashes[name] = {"records": len(store), "content_hash": store.content_hash}
    counts = Counter(line[1] for line in calls(log) if line[0] == "end")
    begun = sum(line[0] == "begin" for line in calls(log))
    summary = summarise(campaign)
    return {
        "stores": hashes,
        "labels_computed": len(counts),
        "calls_begun": begun,
        "computed_twice": sum(count > 1 for count in counts.values()),
        "set_aside": summary["jobs"].get("set-aside", 0),
        "test_errors": [item["errors"].get("forces", {}).get("mae") for item in summary["rounds"]],
    }


def main() -> None:
    """Both runs, and whether they agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--engine", default="gfn2", choices=["gfn2", "emt"])
    parser.add_argument("--labels", type=int, default=8, help="labels of each round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--uncertainty", default="none")
    arguments = parser.parse_args()
    folder = arguments.output.resolve()
    folder.mkdir(parents=True)
    starts = structures(arguments.engine, folder, arguments.labels)
    results = {}
    for kind in ("undisturbed", "disturbed"):
        log, campaign = folder / f"{kind}.log", folder / kind
        begun = time.monotonic()
        done: list[str] = []
        if kind == "undisturbed":
            create_campaign(config(arguments, starts, log, {}), campaign)
            run_campaign(campaign)
        else:
            cluster = Cluster(folder)
            try:
                place = {"kind": "address", "address": str(cluster.file)}
                create_campaign(config(arguments, starts, log, place), campaign)
                done = disturbed(campaign, log, cluster, arguments.labels)
            finally:
                for driver in DRIVERS:
                    driver.kill()
                cluster.close()
        results[kind] = {**result(campaign, log), "seconds": time.monotonic() - begun, "done": done}
    same = results["undisturbed"]["stores"] == results["disturbed"]["stores"]
    results["same_data"] = same
    print(json.dumps(results, indent=2))
    (folder / "result.json").write_text(json.dumps(results, indent=2))
    if not same or results["disturbed"]["computed_twice"]:
        raise SystemExit("the kills left a trace")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--drive"]:
        run_campaign(sys.argv[2])
    else:
        main()
