"""The dataset store: labelled structures in an LMDB directory, one record a structure.

Each append is one durable transaction, so a run that is killed loses nothing that ``append`` returned for. Every
record carries a SHA-256 that is checked on reading.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Final

from adiabat.core.errors import AdiabatError, SchemaVersionError, StoreError
from adiabat.data.lmdb_environment import INITIAL_MAP_SIZE, Environment, WriterLock, borrow, give_back
from adiabat.data.record import Record
from adiabat.data.record_codec import decode_record, encode_record

SCHEMA_VERSION: Final = 1
"""Version of the layout of tables and records."""

_BATCH: Final = 256


class DatasetStore:
    """Labelled structures on disk: many readers, one writer, append only.

    Use :meth:`create` or :meth:`open`. A store can be pickled and used after fork: each process opens its own
    read-only view of the same directory.

    Attributes:
        path: the store's directory.
        writable: whether this object may append.
    """

    def __init__(self, path: Path, *, writable: bool, map_size: int = INITIAL_MAP_SIZE) -> None:
        """Open ``path``, which holds a complete store."""
        self.path = path
        self.writable = writable
        self._process = os.getpid()
        self._environment: Environment | None = None
        self._writer_lock = WriterLock(path) if writable else None
        try:
            self._environment = borrow(path, writable=writable, map_size=map_size)
            self._check_schema()
        except AdiabatError:
            self.close()
            raise

    @classmethod
    def create(cls, path: str | Path, *, map_size: int = INITIAL_MAP_SIZE) -> "DatasetStore":
        """Make an empty store and open it for writing.

        The directory appears under its name only when it is complete.

        Raises:
            StoreError: something of that name exists.
        """
        path = Path(path).absolute()
        if path.exists():
            raise StoreError(
                f"{path}, which exists",
                expected="a new path",
                suggestion="choose another name, remove it, or append with DatasetStore.open(path, writable=True)",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        draft.chmod(0o755)
        try:
            environment = Environment(draft, writable=True, map_size=map_size)
            meta = {"schema_version": SCHEMA_VERSION, "created_by": f"adiabat {version('adiabat')}"}
            environment.write([("meta", b"store", json.dumps(meta).encode())])
            environment.close()
            draft.rename(path)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return cls(path, writable=True, map_size=map_size)

    @classmethod
    def open(cls, path: str | Path, writable: bool = False) -> "DatasetStore":
        """Open an existing store.

        Raises:
            StoreError: there is no store at ``path``, or another writer holds it.
            SchemaVersionError: the store is of another schema version.
        """
        path = Path(path).absolute()
        if not (path / "data.mdb").is_file():
            raise StoreError(
                f"no dataset store at {path}",
                expected="a directory name.lmdb/ written by adiabat",
                suggestion="check the path, or make a store with 'adiabat data import' or 'adiabat label'",
            )
        return cls(path, writable=writable)

    def close(self) -> None:
        """Give the writer's lock and the database back; further use reopens a reader only through :meth:`open`."""
        if self._process != os.getpid():
            return
        if self._environment is not None:
            give_back(self._environment)
            self._environment = None
        if self._writer_lock is not None:
            self._writer_lock.release()
            self._writer_lock = None
        self._process = -1

    def __enter__(self) -> "DatasetStore":
        """Use as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def __len__(self) -> int:
        """Number of records."""
        with self._reader().read() as tables:
            return tables.count("records")

    def __getitem__(self, index: int) -> Record:
        """Read one record and check its hash.

        Raises:
            IndexError: no such record.
            StoreError: the record's bytes are damaged; the other records stay readable.
        """
        with self._reader().read() as tables:
            n_records = tables.count("records")
            position = index + n_records if index < 0 else index
            if not 0 <= position < n_records:
                raise IndexError(f"record {index} of a store with {n_records}")
            data = tables.get("records", _row(position))
            digest = tables.get("digests", _row(position))
        if data is None or digest is None or hashlib.sha256(data).digest() != digest:
            raise self._damaged(position)
        return decode_record(data)

    def __iter__(self) -> Iterator[Record]:
        """Every record in order of appending."""
        return (self[index] for index in range(len(self)))

    def append(self, record: Record) -> bool:
        """Add a record in one durable transaction; False, and nothing written, if its key is already there."""
        return self.append_many([record]) == 1

    def append_many(self, records: Iterable[Record]) -> int:
        """Add records, a few hundred a transaction; returns how many were new.

        Raises:
            StoreError: the store is open for reading only.
        """
        environment = self._writer()
        n_added = 0
        batch: dict[str, Record] = {}
        for record in records:
            batch.setdefault(record.key, record)
            if len(batch) == _BATCH:
                n_added += self._commit(environment, batch)
                batch = {}
        return n_added + self._commit(environment, batch)

    def _commit(self, environment: Environment, batch: dict[str, Record]) -> int:
        with environment.read() as tables:
            n_records = tables.count("records")
            new = {key: record for key, record in batch.items() if tables.get("keys", bytes.fromhex(key)) is None}
        entries: list[tuple[str, bytes, bytes]] = []
        for position, (key, record) in enumerate(new.items(), start=n_records):
            data = encode_record(record)
            entries += [
                ("records", _row(position), data),
                ("digests", _row(position), hashlib.sha256(data).digest()),
                ("keys", bytes.fromhex(key), _row(position)),
            ]
        if entries:
            environment.write(entries)
        return len(new)

    def keys(self) -> set[str]:
        """Keys of all records (see ``Record.key``), read from the index without touching the records."""
        with self._reader().read() as tables:
            return {key.hex() for key in tables.keys("keys")}

    @property
    def content_hash(self) -> str:
        """SHA-256 over all records' hashes in order: equal for stores with equal content."""
        with self._reader().read() as tables:
            return hashlib.sha256(b"".join(tables.values("digests"))).hexdigest()

    @property
    def meta(self) -> dict[str, object]:
        """Schema version and the version of adiabat that made the store."""
        with self._reader().read() as tables:
            return json.loads(tables.get("meta", b"store") or b"{}")

    def damaged_records(self) -> list[int]:
        """Indices of all records whose bytes do not match their hash."""
        damaged = []
        for index in range(len(self)):
            try:
                self[index]
            except StoreError:
                damaged.append(index)
        return damaged

    def __getstate__(self) -> dict[str, object]:
        """Only the path travels to another process; there it is a reader."""
        return {"path": self.path}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Open lazily, in the process that uses it."""
        self.__dict__.update(path=state["path"], writable=False, _process=None, _environment=None, _writer_lock=None)

    def _reader(self) -> Environment:
        if self._process == os.getpid() and self._environment is not None:
            return self._environment
        if self._process == -1:
            raise StoreError(
                f"{self.path}, which was closed",
                expected="an open store",
                suggestion="open it again with DatasetStore.open",
            )
        # Forked or unpickled: the parent's database handle and its right to write stay with the parent.
        self._environment = borrow(self.path, writable=False)
        self._process = os.getpid()
        self.writable = False
        self._writer_lock = None
        return self._environment

    def _writer(self) -> Environment:
        environment = self._reader()
        if self._writer_lock is None:
            raise StoreError(
                f"{self.path} open for reading",
                expected="a store open for writing, in the process that opened it",
                suggestion="DatasetStore.open(path, writable=True)",
            )
        return environment

    def _check_schema(self) -> None:
        found = self.meta.get("schema_version")
        if found != SCHEMA_VERSION:
            raise SchemaVersionError(
                f"{self.path} with schema version {found}, made by {self.meta.get('created_by', 'an unknown program')}",
                expected=f"schema version {SCHEMA_VERSION}",
                suggestion="open it with the version of adiabat that made it and export it to extended XYZ",
            )

    def _damaged(self, index: int) -> StoreError:
        return StoreError(
            f"record {index} of {self.path} with bytes that do not match its hash",
            expected="the bytes that were written",
            suggestion="the other records are intact: export them, or restore the store from a copy",
        )


def _row(index: int) -> bytes:
    """Big-endian, so that LMDB's byte order is the order of appending."""
    return int(index).to_bytes(8, "big")
