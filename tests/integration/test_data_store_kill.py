import os
import signal
import subprocess
import sys

import pytest

from adiabat.data.lmdb_environment import Environment
from adiabat.data.store import DatasetStore

WRITER = """
import sys
import numpy as np
from adiabat.data.record import Provenance, Record
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure

with DatasetStore.open(sys.argv[1], writable=True) as store:
    for index in range(len(store), 100000):
        structure = Structure(np.full(40, 6), np.random.default_rng(index).normal(size=(40, 3)) * 9)
        store.append(Record(structure, {"energy": np.array(float(index))}, Provenance("toy")))
        print(index, flush=True)
"""


def test_nothing_committed_is_lost_by_kill_9(tmp_path):
    path = tmp_path / "killed.lmdb"
    DatasetStore.create(path, map_size=1 << 17).close()
    for n_lines in (3, 20, 55):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(n_lines)]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        with DatasetStore.open(path) as store:
            energies = [float(record.labels["energy"]) for record in store]
            assert energies == list(range(len(energies))), "no record is torn, missing or out of order"
            assert len(energies) > acknowledged[-1], "every acknowledged append is there"
            assert not store.damaged_records()


def test_a_store_appears_only_when_complete(tmp_path, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Environment, "write", die)
    with pytest.raises(KeyboardInterrupt):
        DatasetStore.create(tmp_path / "never.lmdb")
    assert list(tmp_path.iterdir()) == []
