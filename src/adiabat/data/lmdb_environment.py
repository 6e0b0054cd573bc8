"""LMDB environments, at most one a process and path: many readers, one writer, safe across fork.

LMDB forbids opening one environment twice in a process and using one across fork. Stores therefore borrow a
shared handle, and a child process opens its own.
"""

import fcntl
import os
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import lmdb

from adiabat.core.errors import StoreError

INITIAL_MAP_SIZE: Final = 1 << 28
"""Bytes of address space, not of disk; doubled whenever it is full."""

TABLES: Final = ("meta", "records", "digests", "keys")


class Environment:
    """One open LMDB environment, used through short transactions only.

    Args:
        path: the store's directory.
        writable: whether writing is meant.
    """

    def __init__(self, path: Path, *, writable: bool, map_size: int = INITIAL_MAP_SIZE) -> None:
        """Open ``path``, which holds a complete store."""
        self.path = path
        self.writable = writable
        self.n_users = 0
        self._map_size = map_size
        self._lock = threading.RLock()
        self._open()

    def _open(self) -> None:
        lock_file = self.path / "lock.mdb"
        # A reader on a read-only file system cannot register itself; nobody can be writing there either.
        lock = self.writable or os.access(lock_file if lock_file.exists() else self.path, os.W_OK)
        try:
            self._env = lmdb.open(
                str(self.path),
                readonly=not self.writable,
                lock=lock,
                max_dbs=len(TABLES),
                max_readers=1024,
                map_size=self._map_size,
                readahead=False,
            )
            self._refuse_truncated()
            self._tables = {name: self._env.open_db(name.encode(), create=self.writable) for name in TABLES}
        except lmdb.Error as error:
            raise StoreError(
                f"{self.path} that LMDB cannot open ({error})",
                expected="a dataset store written by adiabat",
                suggestion="check the path and its permissions, or restore the store from a copy",
            ) from error

    def _refuse_truncated(self) -> None:
        """Compare the file's length with its page count: reading a page that is not there would kill the process.

        A store only ever grows, and LMDB writes every page that it counts, so a sound file is never shorter.
        """
        expected = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
        found = (self.path / "data.mdb").stat().st_size
        if found < expected:
            self._env.close()
            raise StoreError(
                f"{self.path / 'data.mdb'} of {found} bytes, which is truncated",
                expected=f"at least {expected} bytes, as it was written",
                suggestion="copy the store again from where it is whole",
            )

    @contextmanager
    def read(self) -> Generator["Tables"]:
        """Short read transaction."""
        with self._lock:
            try:
                transaction = self._env.begin()
            except lmdb.MapResizedError:
                self._env.set_mapsize(0)
                transaction = self._env.begin()
            with transaction:
                yield Tables(transaction, self._tables)

    def write(self, entries: list[tuple[str, bytes, bytes]]) -> None:
        """Write (table, key, value) entries in one atomic, durable transaction, growing the map when it is full."""
        with self._lock:
            while True:
                try:
                    with self._env.begin(write=True) as transaction:
                        for table, key, value in entries:
                            transaction.put(key, value, db=self._tables[table])
                    return
                except lmdb.MapFullError:
                    self._map_size = 2 * self._env.info()["map_size"]
                    self._env.set_mapsize(self._map_size)
                except lmdb.MapResizedError:
                    self._env.set_mapsize(0)

    def make_writable(self) -> None:
        """Reopen for writing; safe because no transaction outlives a call."""
        with self._lock:
            if not self.writable:
                self._env.close()
                self.writable = True
                self._open()

    def close(self) -> None:
        """Close the environment."""
        with self._lock:
            self._env.close()

    def close_copy(self) -> None:
        """Close in a forked child, where another thread of the parent may have held the lock for ever."""
        self._env.close()


class Tables:
    """What a read transaction sees, by table name. Values are copied out, so they outlive it."""

    def __init__(self, transaction: lmdb.Transaction, tables: Mapping[str, Any]) -> None:
        """See ``transaction`` through its named tables."""
        self._transaction = transaction
        self._tables = tables

    def get(self, table: str, key: bytes) -> bytes | None:
        """Value of one key."""
        value = self._transaction.get(key, db=self._tables[table])
        return None if value is None else bytes(value)

    def count(self, table: str) -> int:
        """Number of entries."""
        return self._transaction.stat(self._tables[table])["entries"]

    def keys(self, table: str) -> list[bytes]:
        """All keys in order."""
        return [
            bytes(key) for key in self._transaction.cursor(db=self._tables[table]).iternext(keys=True, values=False)
        ]

    def values(self, table: str) -> list[bytes]:
        """All values in the order of their keys."""
        return [
            bytes(item) for item in self._transaction.cursor(db=self._tables[table]).iternext(keys=False, values=True)
        ]


_environments: dict[Path, Environment] = {}
_registry_lock = threading.Lock()


def _forget_after_fork() -> None:
    """In a child: close the copies of the parent's handles, which LMDB forbids to use; the parent's are unharmed."""
    global _environments, _registry_lock
    inherited, _environments, _registry_lock = _environments, {}, threading.Lock()
    for environment in inherited.values():
        environment.close_copy()


os.register_at_fork(after_in_child=_forget_after_fork)


def borrow(path: Path, *, writable: bool, map_size: int = INITIAL_MAP_SIZE) -> Environment:
    """This process's environment of ``path``; return it with :func:`give_back`."""
    with _registry_lock:
        environment = _environments.get(path)
        if environment is None:
            environment = _environments[path] = Environment(path, writable=writable, map_size=map_size)
        elif writable:
            environment.make_writable()
        environment.n_users += 1
        return environment


def give_back(environment: Environment) -> None:
    """Close an environment when its last user returns it."""
    with _registry_lock:
        environment.n_users -= 1
        if environment.n_users == 0 and _environments.get(environment.path) is environment:
            del _environments[environment.path]
            environment.close()


class WriterLock:
    """The right to write to one store, held by at most one open store of one process.

    It dies with its process, kill −9 included, and is not inherited by forked workers: a worker that outlives its
    parent does not block the resumed run.
    """

    _held: Final[set[tuple[int, Path]]] = set()

    def __init__(self, path: Path) -> None:
        """Take the lock or refuse at once."""
        self._key = (os.getpid(), path)
        if self._key in self._held:
            raise self._refusal(path, "this process")
        self._file = open(path / "writer.lock", "a")  # noqa: SIM115 - held until release
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise self._refusal(path, "another process") from error
        self._held.add(self._key)

    def release(self) -> None:
        """Let another writer in."""
        self._held.discard(self._key)
        self._file.close()

    @staticmethod
    def _refusal(path: Path, holder: str) -> StoreError:
        return StoreError(
            f"{path} is open for writing in {holder}",
            expected="one writer at a time (any number of readers may stay)",
            suggestion="wait until the other run has finished, or write to another store",
        )
