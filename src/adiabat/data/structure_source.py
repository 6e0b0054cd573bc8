"""Structures of a store or of a file, whatever their labels."""

from pathlib import Path

from adiabat.data.frame_slice import parse_frames
from adiabat.data.label_keys import LABELS
from adiabat.data.readers import ReadOptions, read_records
from adiabat.data.store import DatasetStore
from adiabat.data.structure import Structure


def read_structures(path: str | Path, frames: str = ":") -> list[Structure]:
    """Read structures; labels in a file are not looked at.

    Args:
        path: a store, or a file that adiabat reads.
        frames: Python slice of them.

    Raises:
        FileFormatError, StoreError: it cannot be read.
    """
    path = Path(path)
    if (path / "data.mdb").is_file() or path.suffix == ".lmdb":
        with DatasetStore.open(path) as store:
            return [store[index].structure for index in range(len(store))[parse_frames(frames)]]
    options = ReadOptions(frames=frames, skip=frozenset(LABELS))
    return [record.structure for record in read_records(path, options=options)]
