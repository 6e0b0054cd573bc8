"""Read the files of a run directory; one that is missing or damaged is named, with what mends it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from adiabat.core.errors import FileFormatError
from adiabat.data.record import Record
from adiabat.data.store import DatasetStore


def read_records(path: Path) -> list[Record]:
    """All records of a store.

    Raises:
        StoreError: it is missing or damaged.
    """
    with DatasetStore.open(path) as store:
        return list(store)


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        FileFormatError: it is missing or damaged.
    """
    return _parsed(path, json.loads)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """A file of one JSON object a line.

    Raises:
        FileFormatError: it is missing or damaged.
    """
    return _parsed(path, lambda text: [json.loads(line) for line in text.splitlines()])


def read_arrays(path: Path) -> dict[str, Any]:
    """A NumPy archive.

    Raises:
        FileFormatError: it is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_stage_times(directory: Path) -> dict[str, float]:
    """Seconds by stage, in order.

    Raises:
        FileFormatError: the book of stages is missing or damaged.
    """
    stages = read_json(directory / "stages.json")["stages"]
    return {name: float(entry["seconds"]) for name, entry in stages.items()}


def _parsed(path: Path, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> FileFormatError:
    return FileFormatError(
        f"{path}, which cannot be read: {error}",
        expected="the directory of a finished run",
        suggestion="run the command with that directory (-o) again; it completes what is missing",
    )
