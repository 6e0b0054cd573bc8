"""The right to drive one campaign, held by one process at a time."""

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from adiabat.core.errors import StoreError

_ATTEMPTS: Final = 5


class DriverLock:
    """A lock that dies with its process, so one left by a kill is simply taken over. Use as a context manager.

    Args:
        directory: the campaign's.

    Raises:
        StoreError: another process drives it; it is named.
    """

    def __init__(self, directory: Path) -> None:
        self._file = (directory / "driver.lock").open("a+", encoding="utf-8")
        for attempt in range(_ATTEMPTS):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if attempt + 1 < _ATTEMPTS:
                    time.sleep(0.05)  # an onlooker holds it for an instant
                    continue
                self._file.seek(0)
                holder = self._file.read().strip()
                self._file.close()
                raise _refusal(directory, holder) from error
        self._file.seek(0)
        self.found_stale = bool(self._file.read().strip())
        """Whether the one before ended without giving it back."""
        self._write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}))

    def __enter__(self) -> "DriverLock":
        """Use as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        self._write("")
        self._file.close()

    def _write(self, text: str) -> None:
        self._file.truncate(0)
        self._file.write(text)
        self._file.flush()


def is_driven(directory: Path) -> bool:
    """Whether some process on this machine drives the campaign."""
    path = directory / "driver.lock"
    if not path.exists():
        return False
    with path.open("r", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _refusal(directory: Path, holder: str) -> StoreError:
    try:
        found = json.loads(holder)
        who = f"process {found['pid']} on {found['host']} since {time.ctime(found['since'])}"
    except (ValueError, KeyError, TypeError):  # it is just being written
        who = "another process"
    return StoreError(
        f"{directory}, which is driven by {who}",
        expected="one `adiabat campaign run` at a time",
        suggestion="watch it with `adiabat campaign status`, or stop that process first",
    )
