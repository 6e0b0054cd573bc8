"""A full disk, wherever it is met."""

import errno
from typing import Final

from adiabat.core.errors import StoreError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: OSError) -> bool:
    """Whether the system says that there is no room."""
    return error.errno in _FULL


def disk_full(place: str, words: str) -> StoreError:
    """The error that says so."""
    return StoreError(
        f"no room on the disk for {place} ({words})",
        expected="room for labels, models and the campaign's database",
        suggestion="make room and run the campaign again: all that was finished is kept",
    )
