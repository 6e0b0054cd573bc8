"""HDF5 files of results: one kind a file, versioned, written in one piece."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import h5py

from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import FileFormatError, SchemaVersionError

SCHEMA_VERSION: Final = 1
"""Version of the layout of all result files."""

Result = TypeVar("Result")


def write_result(path: Path, kind: str, fill: Callable[[Any], None]) -> None:
    """Write an HDF5 file atomically.

    Args:
        path: the file.
        kind: what it holds, ``adiabat bands``.
        fill: puts datasets and attributes into the open file.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["format"] = kind
        file.attrs["schema_version"] = SCHEMA_VERSION
        fill(file)
    write_atomically(path, buffer.getvalue())


def read_result(path: Path, kind: str, take: Callable[[Any], Result]) -> Result:
    """Read what :func:`write_result` wrote.

    Raises:
        FileFormatError: there is no such file, or it is truncated, damaged or of another kind.
        SchemaVersionError: it was written under another version.
    """
    try:
        with h5py.File(path, "r") as file:
            _check(path, kind, file)
            return take(file)
    except (OSError, KeyError, ValueError) as error:
        raise _unreadable(path, kind, error) from error


def kind_of(path: Path) -> str | None:
    """What an HDF5 file says it holds; None for one that says nothing.

    Raises:
        FileFormatError: no such file, or it is truncated or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("format")
            return None if found is None else str(found)
    except OSError as error:
        raise _unreadable(path, "results of adiabat", error) from error


def _unreadable(path: Path, kind: str, error: Exception) -> FileFormatError:
    return FileFormatError(
        f"{path}, which cannot be read as {kind} ({error})",
        expected=f"a complete HDF5 file of {kind}",
        suggestion="the file is missing, truncated or damaged; write it again",
    )


def _check(path: Path, kind: str, file: Any) -> None:
    found = file.attrs.get("format")
    if found != kind:
        raise FileFormatError(
            f"{path}, an HDF5 file of {found or 'something else'}",
            expected=f"a file of {kind}",
            suggestion="check that it is the right file",
        )
    version = int(file.attrs.get("schema_version", 0))
    if version != SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{path} with schema version {version}",
            expected=f"schema version {SCHEMA_VERSION}",
            suggestion="write it again with this version of adiabat",
        )
