"""Labelled structures named on the command line: a store or any file, and which frames of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from adiabat.core.errors import FileFormatError
from adiabat.data.frame_slice import parse_frames

if TYPE_CHECKING:
    from adiabat.data.record import Record


def split_source(text: str) -> tuple[Path, str]:
    """Take ``store.lmdb:450:500`` apart: a path that exists, and a Python slice; all frames if there is none.

    Raises:
        FileFormatError: no beginning of the text is a path that exists.
    """
    if Path(text).exists():
        return Path(text), ":"
    places = [place for place, letter in enumerate(text) if letter == ":"]
    for place in reversed(places):
        if Path(text[:place]).exists():
            return Path(text[:place]), text[place + 1 :]
    raise FileFormatError(
        f"no file {text.split(':')[0]}",
        expected="a store or a file of structures, with a Python slice if not all frames are meant: data.lmdb:450:500",
        suggestion="check the path",
    )


def read_source(text: str) -> "tuple[list[Record], dict[str, Any]]":
    """Records, and which they are as plain JSON: file, frames and, of a store, its content hash.

    Raises:
        ConfigError: no slice.
        FileFormatError: no such file, or no frame within the slice.
    """
    path, frames = split_source(text)
    records, described = read_frames(path, frames)
    if not records:
        raise FileFormatError(
            f"{path} without a frame in {frames}", expected="at least one frame", suggestion="choose other frames"
        )
    return records, described


def read_frames(path: Path, frames: str) -> "tuple[list[Record], dict[str, Any]]":
    """As :func:`read_source`, path and slice apart."""
    from adiabat.data.readers import ReadOptions, read_records
    from adiabat.data.store import DatasetStore

    chosen = parse_frames(frames)
    if not path.is_dir():
        return read_records(path, options=ReadOptions(frames=frames)), {"file": str(path), "frames": frames}
    with DatasetStore.open(path) as store:
        indices = range(len(store))[chosen]
        described = {"file": str(path), "frames": frames, "content_hash": store.content_hash}
        return [store[index] for index in indices], described
