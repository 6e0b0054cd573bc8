"""A campaign in one process: its rounds, its failures, its locks, and what it refuses."""

import errno
import json
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from adiabat.campaigns.active import data_store, spool
from adiabat.campaigns.active.creation import create_campaign
from adiabat.campaigns.active.database import Database
from adiabat.campaigns.active.driver import run_campaign
from adiabat.campaigns.active.spool import Spool
from adiabat.campaigns.active.summary import summarise
from adiabat.cli.main import app
from adiabat.core.errors import ConfigError, EngineError, LabelError, StoreError
from adiabat.data.record import Record
from adiabat.data.store import DatasetStore
from adiabat.reports.campaign_report import campaign_page
from adiabat.uncertainty.interface import UncertainModel
from adiabat.uncertainty.package import load_any_model
from page_outline import Outline
from small_campaigns import CountedEngine, campaign_config, copper_cells, finished_calls

ONE_ROUND: dict[str, Any] = {"initial": {"n": 4}, "stop": {"max_rounds": 0}}


def made(folder: Path, **sections: Any) -> Path:
    create_campaign(campaign_config(folder, **sections), folder / "campaign")
    return folder / "campaign"


def labels_in(campaign: Path) -> list[Record]:
    found: list[Record] = []
    for name in ("train", "test"):
        with DatasetStore.open(campaign / "data" / f"{name}.lmdb") as store:
            found += list(store)
    return found


def starts(folder: Path) -> list[str]:
    """First digits of the hashes of the start structures, for the engine to find trouble with."""
    campaign_config(folder)
    from adiabat.data.structure_source import read_structures

    return [structure.content_hash for structure in read_structures(str(folder / "starts.xyz"))]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    campaign = made(folder)
    run_campaign(campaign)
    return campaign


def test_rounds_add_the_labels_that_were_asked_for_and_end_with_the_reason(whole: Path) -> None:
    summary = summarise(whole)
    assert [item["n_train"] for item in summary["rounds"]] == [5, 7, 9]
    assert [item["labels"]["done"] for item in summary["rounds"]] == [6, 3, 3]
    assert summary["events"][-1]["text"] == "2 rounds, all that stop.max_rounds allows"
    assert len({record.structure.content_hash for record in labels_in(whole)}) == 12
    assert (whole / "model.safetensors").read_bytes() == (whole / "rounds/002/model.safetensors").read_bytes()


def test_each_label_is_what_the_engine_gives_and_says_where_it_comes_from(whole: Path) -> None:
    for record in labels_in(whole):
        expected = CountedEngine().label(record.structure, ["energy", "forces"])
        np.testing.assert_array_equal(record.labels["forces"], expected.labels["forces"])
        assert record.provenance.source == "copper"
        assert record.provenance.settings_hash == expected.provenance.settings_hash


@pytest.mark.parametrize(("method", "n_models"), [("ensemble", 2), ("shallow-ensemble", 1), ("last-layer", 1)])
def test_a_rounds_model_knows_its_uncertainty_and_can_be_inspected(tmp_path: Path, method: str, n_models: int) -> None:
    train = {"uncertainty": {"method": method, "members": 2}, "validation": 0.5}
    campaign = made(tmp_path, initial={"n": 8}, train=train, test={"share": 0.1}, stop={"max_rounds": 1})
    run_campaign(campaign)
    rounds = summarise(campaign)["rounds"]
    assert not rounds[0]["uncertainties"]
    assert len(rounds[1]["uncertainties"]) == 6
    assert min(rounds[1]["uncertainties"]) > 0
    model = load_any_model(campaign / "model.safetensors")
    assert isinstance(model, UncertainModel)
    assert model.method == method
    assert model.calibration.forces.n_frames >= 5
    shown = CliRunner().invoke(app, ["model", "inspect", str(campaign / "model.safetensors")])
    assert shown.exit_code == 0, shown.output
    assert shown.output.count("made from") == n_models
    assert "train.lmdb" in shown.output
    plain = CliRunner().invoke(app, ["model", "inspect", str(campaign / "rounds/001/member-0/model.safetensors")])
    assert "made from" not in plain.output, "control: a plain model is made from none"


def test_errors_are_in_our_units_and_of_both_models_on_one_test_set(whole: Path) -> None:
    rounds = summarise(whole)["rounds"]
    evaluated = json.loads((whole / "rounds/002/evaluation/metrics.json").read_text())["errors"]["forces"]
    assert evaluated["unit"] == "meV/Å"
    assert rounds[2]["errors"]["forces"]["mae"] == pytest.approx(evaluated["mae"] / 1000)
    assert rounds[0]["errors_before"] == {}
    assert rounds[2]["errors_before"]["forces"]["count"] == rounds[2]["errors"]["forces"]["count"]


def test_a_campaign_that_ended_goes_on_when_its_limit_is_raised(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "campaign")
    shutil.copy(whole.parent / "starts.xyz", tmp_path)
    stored = summarise(whole)["config"]
    from adiabat.campaigns.active.config import CampaignConfig

    more = CampaignConfig.model_validate({**stored, "stop": {**stored["stop"], "max_rounds": 10, "max_labels": 14}})
    end = run_campaign(tmp_path / "campaign", more)
    assert end.reason == "14 labels, all that stop.max_labels allows"
    assert summarise(tmp_path / "campaign")["rounds"][-1]["labels"]["done"] == 2  # not the 3 of a full round


def test_a_change_that_would_mix_methods_is_refused(whole: Path) -> None:
    from adiabat.campaigns.active.config import CampaignConfig

    stored = summarise(whole)["config"]
    other = CampaignConfig.model_validate({**stored, "label": {**stored["label"], "engine": "lj", "options": {}}})
    with pytest.raises(ConfigError, match=r"label\.engine"):
        run_campaign(whole, other)


def test_an_scf_that_fails_is_retried_with_safer_settings_then_set_aside(tmp_path: Path) -> None:
    hashes = starts(tmp_path)
    trouble = {hashes[0][:12]: "scf", hashes[1][:12]: "broken", hashes[2][:12]: "refuse"}
    label = {
        "options": {"log": str(tmp_path / "calls.log"), "trouble": trouble},
        "retries": [{"help": 1}, {"help": 2}],
    }
    campaign = made(tmp_path, label=label, initial={"n": 8}, stop={"max_rounds": 0})
    run_campaign(campaign)
    begun = Counter(line.split()[1] for line in (tmp_path / "calls.log").read_text().splitlines() if "begin" in line)
    assert [begun[digest] for digest in hashes[:4]] == [3, 3, 1, 1]  # the refusal is not worth a second attempt
    failures = {item["got"]: item for item in summarise(campaign)["failures"]}
    assert {name: item["attempts"] for name, item in failures.items()} == {"no convergence": 3, "a structure": 1}
    assert failures["no convergence"]["suggestion"] == "help"
    done = {record.structure.content_hash for record in labels_in(campaign)}
    assert done == set(hashes) - {hashes[1], hashes[2]}


def test_a_retry_that_changes_the_numbers_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="changes the numbers"):
        made(tmp_path, label={"engine": "lj", "options": {}, "retries": [{"sigma": 2.0}]})


def test_two_labels_that_disagree_are_both_set_aside_and_kept(tmp_path: Path) -> None:
    campaign = made(tmp_path, **ONE_ROUND)
    first = copper_cells(8)[0]
    record = CountedEngine().label(first, ["energy", "forces"])
    wrong = Record(first, {**record.labels, "energy": np.array(record.labels["energy"] + 0.01)}, record.provenance)
    _spool_twice(campaign, record, wrong)
    run_campaign(campaign)
    summary = summarise(campaign)
    assert [item["got"] for item in summary["failures"]] == ["two labels of one Cu4 whose energy differs by 0.01"]
    database = Database(campaign / "campaign.sqlite", readonly=True)
    assert database.number("SELECT COUNT(*) FROM disputed") == 2
    database.close()
    assert first.content_hash not in {item.structure.content_hash for item in labels_in(campaign)}


def test_two_labels_that_agree_count_once(tmp_path: Path) -> None:
    campaign = made(tmp_path, **ONE_ROUND)
    first = copper_cells(8)[0]
    record = CountedEngine().label(first, ["energy", "forces"])
    close = Record(first, {**record.labels, "energy": np.array(record.labels["energy"] + 1e-6)}, record.provenance)
    _spool_twice(campaign, record, close)
    run_campaign(campaign)
    assert summarise(campaign)["failures"] == []
    assert summarise(campaign)["jobs"] == {"done": len(labels_in(campaign))}
    assert first.content_hash in {item.structure.content_hash for item in labels_in(campaign)}
    assert first.content_hash not in finished_calls(tmp_path)  # it was there before anybody computed it


def _spool_twice(campaign: Path, *records: Record) -> None:
    """As two workers would that did not see each other's lock."""
    from adiabat.campaigns.active.structures import job_key
    from adiabat.data.record_codec import encode_record

    config = summarise(campaign)["config"]["label"]
    every = Database(campaign / "campaign.sqlite")
    with every.transaction():
        from adiabat.campaigns.active.jobs import Jobs

        key = job_key(records[0].structure, config["engine"], config["options"], config["targets"])
        Jobs(every, tolerance=0.0, max_attempts=1).add([(key, records[0].structure)], 0, 0.0)
    every.close()
    for record in records:
        Spool(campaign).write_label(key, encode_record(record), 0, "elsewhere:1", 1.0)


def test_started_twice_it_names_who_drives_it(tmp_path: Path) -> None:
    campaign = made(tmp_path, **ONE_ROUND)
    holder = (
        "import sys, time; from pathlib import Path\n"
        "from adiabat.campaigns.active.driver_lock import DriverLock\n"
        f"lock = DriverLock(Path({str(campaign)!r})); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert summarise(campaign)["running"]
        with pytest.raises(StoreError, match=rf"driven by process {process.pid} on "):
            run_campaign(campaign)
        process.kill()
    assert not summarise(campaign)["running"]
    run_campaign(campaign)  # the lock of the dead is taken over
    assert "taken over" in {event["kind"] for event in summarise(campaign)["events"]}


@pytest.mark.parametrize("place", ["spool", "database", "store"])
def test_on_a_full_disk_it_says_so_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    campaign = made(tmp_path, **ONE_ROUND)

    def no_room(*_arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def full(self: Database) -> None:
        if self.number("SELECT COUNT(*) FROM labels") > 2:
            raise sqlite3.OperationalError("database or disk is full")
        self._connection.execute("COMMIT")

    def no_room_in_store(*_arguments: Any) -> None:
        raise data_store.lmdb.DiskError("mdb_txn_commit: No space left on device")

    with monkeypatch.context() as patch:
        if place == "spool":
            patch.setattr(spool, "write_atomically", no_room)
        elif place == "database":
            patch.setattr(Database, "_commit", full)
        else:
            patch.setattr(DatasetStore, "append_many", no_room_in_store)
        with pytest.raises(StoreError, match="no room on the disk"):
            run_campaign(campaign)
    run_campaign(campaign)
    assert len(labels_in(campaign)) == 4
    if place != "spool":  # where the label could not be kept, it had to be computed again
        assert max(Counter(finished_calls(tmp_path)).values()) == 1


def test_an_engine_that_nobody_has_is_an_error_and_its_jobs_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = made(tmp_path, label={"engine": "absent", "options": {}}, **ONE_ROUND)
    with pytest.raises(EngineError, match="no program 'absent'"):
        run_campaign(campaign)
    summary = summarise(campaign)
    assert summary["jobs"] == {"waiting": 4}
    assert summary["failures"] == []
    monkeypatch.setenv("HAS_ABSENT", "1")
    run_campaign(campaign)
    assert summarise(campaign)["jobs"] == {"done": 4}


def test_labels_are_taken_over_if_they_are_of_the_same_method(tmp_path: Path) -> None:
    records = [CountedEngine().label(cell, ["energy", "forces"]) for cell in copper_cells(3, seed=5)]
    with DatasetStore.create(tmp_path / "before.lmdb") as store:
        store.append_many(records)
    initial = {"n": 0, "labelled": str(tmp_path / "before.lmdb")}
    campaign = made(tmp_path, initial=initial, test={"share": 0.0}, stop={"max_rounds": 1})
    run_campaign(campaign)
    assert [item["n_train"] for item in summarise(campaign)["rounds"]] == [3, 6]
    assert summarise(campaign)["jobs"] == {"taken over": 3, "done": 3}
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(LabelError, match="with other settings"):
        made(other, initial=initial, label={"engine": "lj", "options": {}})


def test_the_page_tells_labels_errors_and_failures(whole: Path) -> None:
    summary = summarise(whole)
    summary["failures"] = [
        {"number": 3, "round": 0, "status": "set-aside", "attempts": 2, "kind": "EngineError", "got": "<broken>",
         "expected": "", "suggestion": "mend it", "worker": ""}
    ]  # fmt: skip
    summary["rounds"][1]["uncertainties"] = [0.1, 0.2, 0.5]
    summary["rounds"][1]["selected_uncertainties"] = [0.5]
    html = campaign_page(summary)
    outline = Outline()
    outline.feed(html)
    assert "&lt;broken&gt;" in html
    assert html.count("<svg") == 4
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org", "")
