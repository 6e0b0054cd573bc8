"""The dataset stores that training reads, derived from the database.

Records stand in the order of their jobs, not of their arrival, so a store is the same whatever was killed on the way.
"""

import hashlib
import shutil
from pathlib import Path

import lmdb

from adiabat.campaigns.active.database import Database
from adiabat.campaigns.active.disk import disk_full
from adiabat.campaigns.active.jobs import Purpose
from adiabat.data.record_codec import decode_record
from adiabat.data.store import DatasetStore

_BATCH = 100


def write_store(database: Database, purpose: Purpose, path: Path) -> int:
    """Bring a store up to date: extended if it is the beginning of what it should be, else made anew.

    Returns: number of records.

    Raises:
        StoreError: the disk is full.
    """
    rows = database.rows(
        "SELECT jobs.number, labels.digest FROM jobs JOIN labels ON labels.job = jobs.number"
        " WHERE jobs.purpose = ? ORDER BY jobs.number",
        purpose,
    )
    digests = [bytes.fromhex(row["digest"]) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _open(path, digests) as store:
            for start in range(len(store), len(rows), _BATCH):
                numbers = [row["number"] for row in rows[start : start + _BATCH]]
                records = (database.row("SELECT record FROM labels WHERE job = ?", number) for number in numbers)
                store.append_many(decode_record(row["record"]) for row in records if row is not None)
            if store.content_hash != _hash(digests):
                raise AssertionError(f"{path} does not hold what the database holds")
    except lmdb.DiskError as error:
        raise disk_full(str(path), str(error)) from error
    except lmdb.Error as error:
        if "No space" not in str(error):
            raise
        raise disk_full(str(path), str(error)) from error
    return len(rows)


def _open(path: Path, digests: list[bytes]) -> DatasetStore:
    if path.exists():
        store = DatasetStore.open(path, writable=True)
        if store.content_hash == _hash(digests[: len(store)]):
            return store
        store.close()
        shutil.rmtree(path)
    return DatasetStore.create(path)


def _hash(digests: list[bytes]) -> str:
    return hashlib.sha256(b"".join(digests)).hexdigest()
