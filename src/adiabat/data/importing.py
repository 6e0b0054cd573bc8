"""From files to a store: everything is read and checked before anything is written."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adiabat.core.errors import StoreError
from adiabat.data.readers import Reading, ReadOptions, read_file
from adiabat.data.store import DatasetStore


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes:
        readings: what each file held, in order.
        n_added: records that are new in the store.
        n_records: records of all files; those that were not added stood in the store already, or twice in the files.
    """

    readings: list[Reading]
    n_added: int
    n_records: int


def import_files(
    paths: Sequence[Path], output: Path, options: ReadOptions | None = None, *, append: bool = False
) -> ImportReport:
    """Read files into a new store, or with ``append`` into an existing one.

    A new store appears under its name only when it is complete; an existing one is not opened before every file has
    been read.

    Raises:
        StoreError: the output exists and ``append`` is not set, or another writer holds it.
        FileFormatError, LabelError, StructureError: as :func:`adiabat.data.readers.read_file`.
    """
    if output.exists() and not append:
        raise StoreError(
            f"{output}, which exists",
            expected="a new store",
            suggestion="choose another name, or add to it with --append",
        )
    readings = [read_file(path, options) for path in paths]
    records = [record for reading in readings for record in reading.records]
    if output.exists():
        with DatasetStore.open(output, writable=True) as store:
            return ImportReport(readings, store.append_many(records), len(records))
    draft = output.with_name(f".{output.name}.import-{os.getpid()}")
    try:
        with DatasetStore.create(draft) as store:
            n_added = store.append_many(records)
        draft.rename(output)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return ImportReport(readings, n_added, len(records))
