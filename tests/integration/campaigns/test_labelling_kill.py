"""``adiabat label`` killed and resumed: nothing is lost, nothing is computed twice, and the end is the same."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from adiabat.core.errors import StoreError
from adiabat.data.store import DatasetStore

N_STRUCTURES = 6
DEADLINE = 240.0
"""Seconds; generous, for machines that do other work."""


@pytest.fixture
def waters(tmp_path: Path) -> Path:
    random = np.random.default_rng(3)
    geometry = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    frames = [Atoms("OH2", geometry + 0.05 * random.standard_normal((3, 3))) for _frame in range(N_STRUCTURES)]
    path = tmp_path / "waters.xyz"
    write(path, frames)
    return path


def start(structures: Path, store: Path, *options: str) -> subprocess.Popen[str]:
    settings = ["--xc", "pbe", "--basis", "6-31g", "--grid-level", "2", *options]
    code = "from adiabat.cli.main import main; main()"
    arguments = [sys.executable, "-c", code, "label", str(structures), "-o", str(store), *settings]
    # A session of its own, so that its workers can be found, and Ctrl-C can be sent to all of them as a terminal does.
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True)


def n_stored(store: Path) -> int:
    try:
        with DatasetStore.open(store) as opened:
            return len(opened)
    except StoreError:
        return -1


def wait_until_stored(store: Path, n: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + DEADLINE
    while n_stored(store) < n:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


def wait_until_session_ends(session: int) -> None:
    """Workers and Python's own helper process end by themselves, shortly after their parent."""
    end = time.monotonic() + DEADLINE
    while True:
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return
        assert time.monotonic() < end, "workers outlive their parent"
        time.sleep(0.02)


def finish(structures: Path, store: Path, *options: str) -> str:
    process = start(structures, store, *options)
    messages = process.communicate(timeout=DEADLINE)[1]
    assert process.returncode == 0, messages
    return messages


def n_labelled(messages: str) -> int:
    found = re.search(r"(\d+) labelled", messages)
    assert found, messages
    return int(found.group(1))


@pytest.mark.slow
def test_kill_9_at_three_moments_then_resume_equals_the_uninterrupted_run(waters, tmp_path):
    killed, whole = tmp_path / "killed.lmdb", tmp_path / "whole.lmdb"
    before = []
    for moment in (0, 1, 3):
        process = start(waters, killed, "--workers", "1")
        wait_until_stored(killed, moment, process)
        process.kill()
        process.communicate()
        wait_until_session_ends(process.pid)
        before.append(n_stored(killed))
    assert before[-1] < N_STRUCTURES, "all was labelled before the last kill: nothing is tested"
    messages = finish(waters, killed, "--workers", "1")
    assert n_labelled(messages) == N_STRUCTURES - before[-1]
    finish(waters, whole, "--workers", "1")
    with DatasetStore.open(killed) as resumed, DatasetStore.open(whole) as uninterrupted:
        assert resumed.damaged_records() == []
        # One thread and one order of work: equal to the last bit.
        assert resumed.content_hash == uninterrupted.content_hash


@pytest.mark.parametrize(("signal_number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_cleanly_says_how_to_go_on_and_two_workers_finish(waters, tmp_path, signal_number, exit_code):
    store = tmp_path / "stopped.lmdb"
    process = start(waters, store, "--workers", "2")
    wait_until_stored(store, 1, process)
    if signal_number == signal.SIGINT:
        os.killpg(process.pid, signal_number)
    else:
        process.send_signal(signal_number)
    messages = process.communicate(timeout=DEADLINE)[1]
    assert process.returncode == exit_code, messages
    assert "Run the same command again" in messages
    wait_until_session_ends(process.pid)
    stored = n_stored(store)
    assert 1 <= stored < N_STRUCTURES
    assert n_labelled(finish(waters, store, "--workers", "2")) == N_STRUCTURES - stored
    with DatasetStore.open(store) as finished:
        assert len(finished.keys()) == len(finished) == N_STRUCTURES
