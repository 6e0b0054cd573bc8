"""Jobs and labels in the database. A label and its job's ``done`` are one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from adiabat.campaigns.active.database import Database
from adiabat.campaigns.active.events import log_event
from adiabat.campaigns.active.spool import SpooledFailure, SpooledLabel
from adiabat.campaigns.active.structures import encode_structure, largest_difference
from adiabat.core.errors import AdiabatError, LabelError
from adiabat.data.record import Record
from adiabat.data.record_codec import decode_record
from adiabat.data.structure import Structure

Purpose = Literal["train", "test"]
Taken = Literal["new", "known", "disputed", "foreign"]

_OPEN: Final = "status IN ('waiting', 'running', 'failed')"


@dataclass(frozen=True)
class Job:
    """A label that is to be computed.

    Attributes:
        number: place in the final data set.
        key: see ``structures.job_key``.
        structure: an encoded record without labels.
        attempts: how many failed.
    """

    number: int
    key: str
    structure: bytes
    attempts: int


class Jobs:
    """The jobs of a campaign.

    Args:
        database: open for writing.
        tolerance: largest difference of two labels of one structure.
        max_attempts: attempts before a structure is set aside.
    """

    def __init__(self, database: Database, *, tolerance: float, max_attempts: int) -> None:
        self._database = database
        self._tolerance, self._max_attempts = tolerance, max_attempts

    def add(self, keyed: Sequence[tuple[str, Structure]], round_number: int, test_share: float) -> int:
        """Append jobs for structures with their keys, within a transaction; those that are known are left out.

        Returns: how many were new.
        """
        number = int(self._database.number("SELECT 1 + MAX(number) FROM jobs"))
        count = int(self._database.number("SELECT COUNT(*) FROM jobs WHERE origin = 'computed'"))
        before = count
        for key, structure in keyed:
            purpose = "test" if int((count + 1) * test_share) > int(count * test_share) else "train"
            added = self._database.execute(
                "INSERT OR IGNORE INTO jobs (number, key, round, purpose, origin, structure, status)"
                " VALUES (?, ?, ?, ?, 'computed', ?, 'waiting')",
                number, key, round_number, purpose, encode_structure(structure),
            )  # fmt: skip
            number, count = number + added, count + added
        return count - before

    def add_imported(self, key: str, data: bytes, digest: str, purpose: Purpose) -> Taken:
        """Append a label that was there before the campaign, within a transaction."""
        if self._database.row("SELECT 1 FROM jobs WHERE key = ?", key) is not None:
            return self._compare(key, data, digest)
        number = int(self._database.number("SELECT 1 + MAX(number) FROM jobs"))
        structure = encode_structure(decode_record(data).structure)
        self._database.execute(
            "INSERT INTO jobs (number, key, round, purpose, origin, structure, status)"
            " VALUES (?, ?, 0, ?, 'imported', ?, 'done')",
            number, key, purpose, structure,
        )  # fmt: skip
        self._database.execute("INSERT INTO labels VALUES (?, ?, ?)", number, data, digest)
        return "new"

    def waiting(self, limit: int) -> list[Job]:
        """The first jobs that nobody works on; failed ones wait for their next attempt."""
        rows = self._database.rows(
            "SELECT number, key, structure, attempts FROM jobs WHERE status IN ('waiting', 'failed')"
            " ORDER BY number LIMIT ?",
            limit,
        )
        return [Job(**dict(row)) for row in rows]

    def running(self) -> dict[str, Job]:
        """Jobs that were given to a worker, by key."""
        rows = self._database.rows("SELECT number, key, structure, attempts FROM jobs WHERE status = 'running'")
        return {row["key"]: Job(**dict(row)) for row in rows}

    def n_open(self) -> int:
        """Jobs that are neither done nor set aside."""
        return int(self._database.number(f"SELECT COUNT(*) FROM jobs WHERE {_OPEN}"))

    def mark_running(self, jobs: Sequence[Job]) -> None:
        """Note that jobs were given to workers."""
        with self._database.transaction():
            for job in jobs:
                self._database.execute("UPDATE jobs SET status = 'running' WHERE number = ?", job.number)

    def requeue(self, keys: Sequence[str] | None = None) -> None:
        """Let running jobs wait again: some, or all of them."""
        with self._database.transaction():
            if keys is None:
                self._database.execute("UPDATE jobs SET status = 'waiting' WHERE status = 'running'")
            for key in keys or ():
                self._database.execute("UPDATE jobs SET status = 'waiting' WHERE status = 'running' AND key = ?", key)

    def take_label(self, label: SpooledLabel) -> Taken:
        """Take a spooled label in; the same one twice is taken once.

        Returns: ``new``; ``known`` if the database holds it, or one that agrees; ``disputed`` if the database holds one
            that does not, whereupon both are set aside; ``foreign`` if it is of no job.
        """
        with self._database.transaction():
            job = self._database.row("SELECT number FROM jobs WHERE key = ?", label.key)
            if job is None:
                log_event(self._database, "foreign label", f"{label.path.name} belongs to no job and was left out")
                return "foreign"
            held = self._database.row("SELECT 1 FROM labels WHERE job = ?", job["number"])
            disputed = self._database.row("SELECT 1 FROM disputed WHERE job = ?", job["number"])
            if held is not None or disputed is not None:
                return self._compare(label.key, label.record, label.digest)
            self._database.execute("INSERT INTO labels VALUES (?, ?, ?)", job["number"], label.record, label.digest)
            self._database.execute(
                "UPDATE jobs SET status = 'done', worker = ?, seconds = seconds + ?,"
                " kind = '', got = '', expected = '', suggestion = '' WHERE number = ?",
                label.worker, label.seconds, job["number"],
            )  # fmt: skip
            return "new"

    def take_failure(self, failure: SpooledFailure) -> bool:
        """Take a failed attempt in, once; the structure is set aside after its last one.

        Returns: whether it was news.
        """
        with self._database.transaction():
            job = self._database.row("SELECT number, attempts, status FROM jobs WHERE key = ?", failure.key)
            known = job is None or job["status"] in ("done", "set-aside")
            if job is None or known or (job["attempts"] > failure.attempt and not failure.final):
                return False
            attempts = failure.attempt + 1
            over = failure.final or attempts >= self._max_attempts
            self._database.execute(
                "UPDATE jobs SET status = ?, attempts = ?, worker = ?, seconds = seconds + ?,"
                " kind = ?, got = ?, expected = ?, suggestion = ? WHERE number = ?",
                "set-aside" if over else "failed", attempts, failure.worker, failure.seconds,
                failure.kind, failure.got, failure.expected, failure.suggestion, job["number"],
            )  # fmt: skip
            if over:
                log_event(self._database, "set aside", f"job {job['number']}: {failure.kind}: {failure.got}")
            return True

    def set_aside(self, key: str, error: AdiabatError) -> None:
        """Give a job up, with the reason."""
        with self._database.transaction():
            self._set_aside(key, error)

    def _set_aside(self, key: str, error: AdiabatError) -> None:
        self._database.execute(
            "UPDATE jobs SET status = 'set-aside', kind = ?, got = ?, expected = ?, suggestion = ? WHERE key = ?",
            type(error).__name__, error.got, error.expected, error.suggestion, key,
        )  # fmt: skip
        log_event(self._database, "set aside", f"{type(error).__name__}: {error.got}")

    def _compare(self, key: str, data: bytes, digest: str) -> Taken:
        """Hold a second label of a job against the first."""
        number = int(self._database.number("SELECT number FROM jobs WHERE key = ?", key))
        held = self._database.row("SELECT record, digest FROM labels WHERE job = ?", number)
        if held is not None and held["digest"] == digest:
            return "known"
        if held is not None:
            theirs = decode_record(data)
            name, difference = largest_difference(decode_record(held["record"]), theirs)
            if difference <= self._tolerance:
                return "known"
            self._database.execute("DELETE FROM labels WHERE job = ?", number)
            self._database.execute(
                "INSERT OR IGNORE INTO disputed VALUES (?, ?, ?)", number, held["record"], held["digest"]
            )
            self._set_aside(key, _disagreement(theirs, name, difference, self._tolerance))
        self._database.execute("INSERT OR IGNORE INTO disputed VALUES (?, ?, ?)", number, data, digest)
        return "disputed"


def _disagreement(record: Record, name: str, difference: float, tolerance: float) -> AdiabatError:
    return LabelError(
        f"two labels of one {record.structure.formula} whose {name} differs by {difference:.3g}",
        expected=f"at most {tolerance:g} (label.duplicate_tolerance)",
        suggestion="both are set aside, in the table `disputed`; compute this structure by hand to see which is right",
    )
