"""Replace a file all at once, so that a crash at any moment leaves the old content or the new, whole."""

import os
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a draft beside the file, flush it to the disk, and rename it into place."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)  # there only if the disk was full or the path cannot be replaced
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the rename itself
    finally:
        os.close(directory)
