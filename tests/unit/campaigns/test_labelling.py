import json
import os
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest

from adiabat.campaigns.labelling import LabellingReport, failures_path, label_structures
from adiabat.core.errors import ConfigError, EngineError, LabelError, StoreError
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.engines.pyscf_molecule import PyscfEngine
from dying_engine import DyingEngine

HF = PyscfEngine(xc="hf", basis="sto-3g")


def hydrogen(distance: float, **settings) -> Structure:
    return Structure(np.array([1, 1]), np.array([[0.0, 0, 0], [0, 0, distance]]), **settings)


def atom(number: int, x: float = 0.0) -> Structure:
    return Structure(np.array([number]), np.array([[x, 0.0, 0.0]]))


def label(structures, path, engine=None, targets=("energy",), **options) -> LabellingReport:
    return label_structures(structures, engine or DyingEngine(), path, targets=targets, **options)


def test_labels_are_stored_with_info_and_provenance(tmp_path):
    structures = [hydrogen(0.7, info={"T": 300}), hydrogen(0.8, info={"T": 600})]
    states = []
    report = label(
        structures, tmp_path / "a.lmdb", HF, ["energy", "hamiltonian"], source="h2.xyz", on_progress=states.append
    )
    assert (report.n_labelled, report.n_skipped, report.failures, report.stopped_by) == (2, 0, (), None)
    assert [state.n_labelled for state in states] == [0, 1, 2]
    with DatasetStore.open(tmp_path / "a.lmdb") as store:
        records = sorted(store, key=lambda record: record.structure.info["T"])
    assert [record.provenance.source for record in records] == ["h2.xyz"] * 2
    for record, structure in zip(records, structures, strict=True):
        direct = HF.label(structure, ["energy", "hamiltonian"])
        assert record.key == direct.key
        assert np.array_equal(record.labels["hamiltonian"].values, direct.labels["hamiltonian"].values)


def test_a_second_run_skips_what_is_there_and_repeats_nothing(tmp_path):
    structures = [atom(5), atom(6), atom(5), atom(7)]
    first = label(structures[:2], tmp_path / "a.lmdb")
    second = label(structures, tmp_path / "a.lmdb", n_workers=2)
    third = label(structures, tmp_path / "a.lmdb")
    assert (first.n_labelled, second.n_labelled, second.n_skipped) == (2, 1, 3)
    assert (third.n_labelled, third.n_skipped, third.n_remaining) == (0, 4, 0)
    with DatasetStore.open(tmp_path / "a.lmdb") as store:
        assert [float(record.labels["energy"]) for record in store] == [-5, -6, -7]


def test_other_settings_are_other_labels(tmp_path):
    label([hydrogen(0.7)], tmp_path / "a.lmdb", HF)
    report = label([hydrogen(0.7)], tmp_path / "a.lmdb", replace(HF, basis="6-31g"))
    assert report.n_labelled == 1


def test_kept_labels_are_taken_over_and_marked(tmp_path):
    kept = [{"energy": np.array(-1.5)}]
    report = label([hydrogen(0.7)], tmp_path / "a.lmdb", HF, ["energy", "overlap"], kept=kept, source="h2.xyz")
    assert report.n_labelled == 1
    with DatasetStore.open(tmp_path / "a.lmdb") as store:
        record = store[0]
    assert float(record.labels["energy"]) == -1.5
    assert record.provenance.inherited == {"energy": "h2.xyz"}
    assert set(record.labels) == {"energy", "overlap"}


def test_fewer_labels_than_asked_for_do_not_count_as_labelled(tmp_path):
    label([hydrogen(0.7)], tmp_path / "a.lmdb", HF, ["energy"])
    with pytest.raises(LabelError, match="lacks hamiltonian"):
        label([hydrogen(0.7)], tmp_path / "a.lmdb", HF, ["energy", "hamiltonian"])


def test_failures_cost_their_own_structure_only_and_are_listed(tmp_path):
    structures = [atom(5), atom(1), atom(2), atom(6)]
    path = tmp_path / "a.lmdb"
    report = label(structures, path)
    assert report.n_labelled == 2
    assert [failure.index for failure in report.failures] == [1, 2]
    assert "exit code 17" in report.failures[0].error.got
    listed = json.loads(failures_path(path).read_text())
    assert [(entry["index"], entry["kind"], entry["try"]) for entry in listed][1] == (2, "EngineError", "drop it")
    label(structures[:1], path)
    assert not failures_path(path).exists()


def test_an_unconverged_scf_is_not_stored(tmp_path):
    engine = PyscfEngine(basis="sto-3g", grid_level=0, max_cycles=1, coarse_grid_level=None)
    water = Structure(np.array([8, 1, 1]), np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]))
    report = label([water], tmp_path / "a.lmdb", engine)
    assert report.n_labelled == 0
    assert report.failures[0].to_json()["kind"] == "ScfNotConvergedError"
    with DatasetStore.open(tmp_path / "a.lmdb") as store:
        assert len(store) == 0


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_with_everything_stored(tmp_path, signal_number):
    before = signal.getsignal(signal_number)

    def stop_after_one(state: LabellingReport) -> None:
        if state.n_labelled == 1:
            threading.Timer(0.1, os.kill, (os.getpid(), signal_number)).start()

    report = label([atom(5), atom(3), atom(6)], tmp_path / "a.lmdb", on_progress=stop_after_one)
    assert report.stopped_by == signal_number
    assert (report.n_labelled, report.n_remaining) == (1, 2)
    assert signal.getsignal(signal_number) is before
    with DatasetStore.open(tmp_path / "a.lmdb", writable=True) as store:
        assert len(store) == 1


def test_workers_use_one_thread_and_the_parent_s_environment_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    label([atom(5)], tmp_path / "a.lmdb")
    assert os.environ["OMP_NUM_THREADS"] == "7"
    with DatasetStore.open(tmp_path / "a.lmdb") as store:
        assert float(store[0].labels["energy"]) == -5.0


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"n_workers": 0}, ConfigError, "0 workers"),
        ({"kept": [{}, {}]}, ConfigError, "kept labels of 2"),
        ({"targets": ["forces"]}, LabelError, "'forces'"),
    ],
)
def test_bad_arguments_leave_nothing_behind(tmp_path, options, error, match):
    with pytest.raises(error, match=match):
        label([atom(5)], tmp_path / "a.lmdb", **options)
    assert list(tmp_path.iterdir()) == []


def test_what_the_engine_refuses_is_refused_before_the_store_is_made(tmp_path):
    with pytest.raises(EngineError, match="each spin"):
        label([hydrogen(0.7, spin=2)], tmp_path / "a.lmdb", replace(HF, unrestricted=True), ["hamiltonian"])
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_another_run_writes_is_refused(tmp_path):
    with DatasetStore.create(tmp_path / "a.lmdb"), pytest.raises(StoreError):
        label([atom(5)], tmp_path / "a.lmdb")
