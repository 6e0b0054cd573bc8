"""One SQLite file with transactions: what happened is in it whole or not at all, kill −9 included."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from adiabat.campaigns.active.disk import disk_full
from adiabat.campaigns.active.schema import SCHEMA_VERSION, TABLES
from adiabat.core.errors import SchemaVersionError, StoreError

DATABASE: Final = "campaign.sqlite"
"""Name of the file in a campaign's directory."""


class Database:
    """A connection. Writing happens inside :meth:`transaction` only.

    Args:
        path: the file.
        readonly: refuse to write; for onlookers.

    Raises:
        StoreError: no campaign there, or a damaged file.
        SchemaVersionError: tables of another version.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        if not path.is_file():
            raise StoreError(
                f"{path.parent}, which holds no campaign",
                expected=f"a directory with {DATABASE}",
                suggestion="make one: adiabat campaign new config.yaml DIRECTORY",
            )
        self.path = path
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=60)
            found = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
            if readonly:
                self._connection.execute("PRAGMA query_only = ON")
            else:
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.execute("PRAGMA foreign_keys = ON")
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{path}, which SQLite cannot read ({error})",
                expected="a campaign that adiabat made",
                suggestion="restore it from a copy; labels on their way in are still in its spool/ folder",
            ) from error
        self._connection.row_factory = sqlite3.Row
        if found != SCHEMA_VERSION:
            self.close()
            raise SchemaVersionError(
                f"{path} with schema version {found}",
                expected=f"schema version {SCHEMA_VERSION}",
                suggestion="go on with the version of adiabat that made it",
            )

    @classmethod
    def create(cls, path: Path) -> "Database":
        """Make the file with empty tables and open it."""
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        connection.close()
        return cls(path)

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self._connection.execute(query, values).fetchall()

    def row(self, query: str, *values: object) -> sqlite3.Row | None:
        """The first row, if there is one."""
        return self._connection.execute(query, values).fetchone()

    def number(self, query: str, *values: object) -> float:
        """The one number that a query gives; 0 for null."""
        found = self.row(query, *values)
        return 0 if found is None or found[0] is None else found[0]

    def execute(self, query: str, *values: object) -> int:
        """Write, inside a transaction; returns how many rows changed."""
        if not self._connection.in_transaction:
            raise AssertionError(f"a write outside of a transaction: {query}")
        return self._connection.execute(query, values).rowcount

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Everything inside is written when it ends, durably, or none of it.

        Raises:
            StoreError: the disk is full; nothing was written.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._commit()
        except sqlite3.OperationalError as error:
            self._roll_back()
            if "full" in str(error) or "disk I/O" in str(error):
                raise disk_full(str(self.path), str(error)) from error
            raise
        except BaseException:
            self._roll_back()
            raise

    def _commit(self) -> None:
        self._connection.execute("COMMIT")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
