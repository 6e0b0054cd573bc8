"""The spool: what workers finished, on the shared file system, until the campaign's database has it.

A worker computes a job under a lock of its own and spools the answer before it lets go, so whoever comes second finds
it. Nothing in the spool is removed before the database holds it, and then a marker stays.
"""

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Final

from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import StoreError

_FOLDERS: Final = ("new", "taken", "failed", "locks")


@dataclass(frozen=True)
class SpooledLabel:
    """A label that waits to be taken.

    Attributes:
        path: its file.
        key: of its job.
        record: the encoded record.
        digest: SHA-256 of the record.
        attempt: 0-based attempt that gave it.
        worker: host and process.
        seconds: wall time.
    """

    path: Path
    key: str
    record: bytes
    digest: str
    attempt: int
    worker: str
    seconds: float


@dataclass(frozen=True)
class SpooledFailure:
    """An attempt that failed.

    Attributes:
        key: of its job.
        attempt: 0-based.
        final: whether another attempt is of no use.
        kind: class of the error.
        got, expected, suggestion: its three parts.
        worker: host and process.
        seconds: wall time.
    """

    key: str
    attempt: int
    final: bool
    kind: str
    got: str
    expected: str
    suggestion: str
    worker: str
    seconds: float


class Spool:
    """The spool of one campaign.

    Args:
        directory: the campaign's.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "spool"

    def create(self, campaign: str) -> None:
        """Make the folders, and a file by which workers know that they see the right one."""
        for name in _FOLDERS:
            (self.path / name).mkdir(parents=True, exist_ok=True)
        write_atomically(self.path / "campaign.id", campaign.encode())

    def belongs_to(self, campaign: str) -> bool:
        """Whether this is that campaign's spool, seen from here."""
        try:
            return (self.path / "campaign.id").read_text() == campaign
        except OSError:
            return False

    # ------------------------------------------------------------ for workers
    @contextmanager
    def job(self, key: str) -> Generator["Journal"]:
        """Hold a job's lock; waits for whoever holds it. The lock dies with its process."""
        with (self.path / "locks" / key).open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield Journal(file)

    def has_label(self, key: str) -> bool:
        """Whether a job's label was spooled, taken or not."""
        return (self.path / "taken" / key).exists() or any((self.path / "new").glob(f"{key}.*"))

    def has_failure(self, key: str, attempt: int) -> bool:
        """Whether this attempt, or a later one, or the last one, failed already."""
        path = self.path / "failed" / key
        if not path.exists():
            return False
        found = json.loads(path.read_text())
        return found["attempt"] >= attempt or found["final"]

    def write_label(self, key: str, record: bytes, attempt: int, worker: str, seconds: float) -> None:
        """Spool a label, durably and in one piece."""
        digest = hashlib.sha256(record).hexdigest()
        header = {"key": key, "digest": digest, "attempt": attempt, "worker": worker, "seconds": seconds}
        data = json.dumps(header).encode() + b"\n" + record
        write_atomically(self.path / "new" / f"{key}.{digest[:16]}", data)

    def write_failure(self, failure: SpooledFailure) -> None:
        """Spool a failed attempt over the one before."""
        write_atomically(self.path / "failed" / failure.key, json.dumps(failure.__dict__).encode())

    # ------------------------------------------------------------ for the driver
    def labels(self) -> list[Path]:
        """Files of labels to be taken."""
        return sorted(path for path in (self.path / "new").iterdir() if not path.name.startswith("."))

    def read_label(self, path: Path) -> SpooledLabel:
        """Read one.

        Raises:
            StoreError: damaged bytes.
        """
        line, _newline, record = path.read_bytes().partition(b"\n")
        try:
            header: Mapping[str, Any] = json.loads(line)
            label = SpooledLabel(path=path, record=record, **header)
        except (ValueError, TypeError):
            label = None
        if label is None or hashlib.sha256(record).hexdigest() != label.digest:
            raise StoreError(
                f"{path}, whose bytes do not match their hash",
                expected="a label as a worker wrote it",
                suggestion="move the file away and run again: this structure is then computed anew",
            )
        return label

    def take(self, label: SpooledLabel) -> None:
        """Leave a marker in place of a label that the database holds."""
        (self.path / "taken" / label.key).touch()
        label.path.unlink()

    def failure(self, key: str) -> SpooledFailure | None:
        """The last failed attempt of a job."""
        path = self.path / "failed" / key
        return SpooledFailure(**json.loads(path.read_text())) if path.exists() else None

    def n_calls(self) -> int:
        """Engine calls so far, of all attempts, interrupted ones included."""
        return sum(path.read_text().count("begin ") for path in (self.path / "locks").iterdir())

    def n_deaths(self, key: str, generation: int) -> int:
        """Calls of a job that had no end in a generation; one of them may still be running."""
        path = self.path / "locks" / key
        if not path.exists():
            return 0
        with path.open("r", encoding="utf-8") as file:
            return Journal(file).n_deaths(generation)


class Journal:
    """The lines of a job's lock file: when an engine was called on it and when the call ended.

    A call without an end took its process with it, or was ended from outside.

    Args:
        file: locked, open for reading and appending.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def begin(self, attempt: int, generation: int) -> None:
        """Note a call, durably."""
        self._append(f"begin {attempt} {generation} {worker_name()}\n")

    def end(self) -> None:
        """Note that it came back."""
        self._append("end\n")

    def n_deaths(self, generation: int | None = None) -> int:
        """Calls without an end, in one generation or in all."""
        self._file.seek(0)
        lines = self._file.read().splitlines()
        dead = [line for line, after in pairwise([*lines, ""]) if line.startswith("begin ") and after != "end"]
        return sum(generation is None or int(line.split()[2]) == generation for line in dead)

    def _append(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()
        os.fsync(self._file.fileno())


def worker_name() -> str:
    """Host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"
