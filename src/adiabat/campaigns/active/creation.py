"""Making a campaign: its directory appears with everything in it, or not at all."""

import hashlib
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adiabat.campaigns.active.config import CampaignConfig
from adiabat.campaigns.active.database import Database
from adiabat.campaigns.active.events import log_event
from adiabat.campaigns.active.files import CampaignFiles
from adiabat.campaigns.active.jobs import Jobs, Purpose
from adiabat.campaigns.active.label_settings import check_labelling, check_same_method, engine_here, n_attempts
from adiabat.campaigns.active.rounds import Rounds
from adiabat.campaigns.active.spool import Spool
from adiabat.campaigns.active.structures import encode_structure, job_key
from adiabat.core.errors import ConfigError, StoreError
from adiabat.data.record import Record
from adiabat.data.record_codec import encode_record
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure
from adiabat.data.structure_source import read_structures


def create_campaign(config: CampaignConfig, directory: str | Path) -> None:
    """Make a campaign with its start structures and the labels it takes over; compute nothing.

    Args:
        config: the whole campaign.
        directory: new, or empty.

    Raises:
        StoreError: the directory holds something.
        ConfigError, LabelError: settings of the engine, or labels taken over, that do not fit.
        FileFormatError: structures that cannot be read.
    """
    directory = Path(directory).absolute()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise StoreError(
            f"{directory}, which holds something already",
            expected="a new or empty directory",
            suggestion="choose another one, or go on with the campaign in it: adiabat campaign run DIRECTORY",
        )
    starts = [structure for path in config.structures for structure in read_structures(path)]
    check_labelling(config.label, starts[0])
    if config.initial.n > len(starts) and config.initial.labelled is None:
        raise ConfigError(
            f"initial.n = {config.initial.n} with {len(starts)} start structures",
            expected=f"at most {len(starts)}",
            suggestion="lower it, or give more structures",
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    draft.chmod(0o755)
    try:
        _fill(draft, config, starts)
        draft.rename(directory)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _fill(draft: Path, config: CampaignConfig, starts: Sequence[Structure]) -> None:
    files = CampaignFiles(draft)
    campaign = uuid.uuid4().hex
    Spool(draft).create(campaign)
    database = Database.create(files.database)
    try:
        with database.transaction():
            for name, value in (("id", campaign), ("config", config.model_dump_json()), ("generation", "0")):
                database.execute("INSERT INTO meta VALUES (?, ?)", name, value)
            for number, structure in enumerate(starts):
                database.execute("INSERT INTO starts VALUES (?, ?)", number, encode_structure(structure))
            Rounds(database).begin(0, round_config(config))
            jobs = Jobs(database, tolerance=config.label.duplicate_tolerance, max_attempts=n_attempts(config.label))
            # The test set comes first: what is in both is tested on, never learned from.
            if config.test.store is not None:
                _import(jobs, database, config, config.test.store, "test")
            if config.initial.labelled is not None:
                _import(jobs, database, config, config.initial.labelled, "train")
            log_event(database, "made", f"{len(starts)} start structures")
    finally:
        database.close()


def _import(jobs: Jobs, database: Database, config: CampaignConfig, path: str, purpose: Purpose) -> None:
    records = _labelled(path)
    named = {f"record {index} of {path}": record for index, record in enumerate(records)}
    check_same_method(None if config.initial.same_method else engine_here(config.label), config.label, named)
    counts = {"new": 0, "known": 0, "disputed": 0, "foreign": 0}
    for record in records:
        key = job_key(record.structure, config.label.engine, config.label.options, config.label.targets)
        data = encode_record(record)
        counts[jobs.add_imported(key, data, hashlib.sha256(data).hexdigest(), purpose)] += 1
    log_event(
        database,
        "taken over",
        f"{counts['new']} labels of {Path(path).name} for {purpose}; {counts['known']} known before, "
        f"{counts['disputed']} disputed",
    )


def round_config(config: CampaignConfig) -> dict[str, Any]:
    """What a round keeps for itself, so that a change counts from the next one on."""
    return {name: getattr(config, name).model_dump(mode="json") for name in ("explore", "select", "train")}


def _labelled(path: str) -> list[Record]:
    with DatasetStore.open(path) as store:
        return list(store)
