"""Records as folders in DeepH's layouts: all of them, or none."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from adiabat.core.errors import FileFormatError
from adiabat.data.hamiltonian_formats.deeph import write_deeph
from adiabat.data.hamiltonian_formats.deeph_legacy import write_deeph_legacy
from adiabat.data.record import Record

WRITERS: Final = {"deeph": write_deeph, "deeph-legacy": write_deeph_legacy}
"""Layouts that can be written, by their name in the command line."""


def write_folders(records: Iterable[Record], output: Path, layout: str) -> int:
    """Write each record into ``output/0000``, ``output/0001``, …; returns how many.

    The folder appears under its name only when it is complete.

    Args:
        records: with H, S and basis.
        output: a folder that does not exist.
        layout: a key of :data:`WRITERS`.

    Raises:
        FileFormatError: the output exists, or there are no records.
        LabelError: a record without H, S, basis or cell.
    """
    if output.exists():
        raise FileFormatError(
            f"{output}, which exists", expected="a new folder", suggestion="choose another name, or remove it first"
        )
    draft = output.with_name(f".{output.name}.export-{os.getpid()}")
    n_written = 0
    try:
        for record in records:
            folder = draft / f"{n_written:04d}"
            folder.mkdir(parents=True)
            WRITERS[layout](record, folder)
            n_written += 1
        if not n_written:
            raise FileFormatError("no records to write", expected="at least one", suggestion="check the selection")
        draft.rename(output)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return n_written
