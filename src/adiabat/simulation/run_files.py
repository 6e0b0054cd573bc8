"""The files of a molecular-dynamics run: append-only text, and a restart point that says how long each file was.

After kill −9 the text files may be longer than the restart point knows, or end in half a line. Resuming cuts
them back to the recorded length, so that nothing is written twice.
"""

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import FileFormatError, SchemaVersionError

RESTART_VERSION: Final = 1
"""Version of the restart file's layout."""


class AppendedFile:
    """A text file that only grows, except when it is cut back to a restart point.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: Path, length: int) -> None:
        """Open ``path`` and cut it to ``length`` bytes; 0 starts it anew.

        Raises:
            FileFormatError: the file is shorter than ``length``.
        """
        self.path = path
        self._file = path.open("ab")
        found = path.stat().st_size
        if found < length:
            self._file.close()
            raise FileFormatError(
                f"{path} with {found} bytes",
                expected=f"at least {length} bytes, which it had at the restart point",
                suggestion="restore the file, or start the run again in an empty directory",
            )
        self.cut(length)

    def write(self, text: str) -> None:
        """Append."""
        self._file.write(text.encode())
        self._file.flush()

    def cut(self, length: int) -> None:
        """Keep the first ``length`` bytes."""
        self._file.truncate(length)
        self._file.seek(length)

    def sync(self) -> int:
        """Force everything to disk; returns the length in bytes."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Close."""
        self._file.close()


@dataclass(frozen=True, eq=False)
class TrustedState:
    """Where a run goes back to when its gate closes: the last restart point that passed it.

    Attributes:
        step: its step.
        positions: (n_atoms, 3) [Å].
        lengths: bytes of each appended file at that step, by name.
    """

    step: int
    positions: npt.NDArray[np.float64]
    lengths: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class RestartPoint:
    """Everything that the next step depends on.

    Attributes:
        step: steps done.
        positions: (n_atoms, 3) [Å].
        momenta: (n_atoms, 3) [ASE's unit, √(u·eV)]; not velocities, whose conversion would round.
        random_state: state of the generator, as NumPy gives it.
        lengths: bytes of each appended file, by name.
        identity: what must be the same to go on: settings, structure and model.
        gated: whether the run stands here because its gate closed; it goes on with another model or gate.
        rewinds: how often its gate has sent it back.
        trusted: where that would send it now.
    """

    step: int
    positions: npt.NDArray[np.float64]
    momenta: npt.NDArray[np.float64]
    random_state: Mapping[str, Any]
    lengths: Mapping[str, int]
    identity: Mapping[str, Any]
    gated: bool = False
    rewinds: int = 0
    trusted: TrustedState | None = None

    def save(self, path: Path) -> None:
        """Write atomically."""
        header = {
            "version": RESTART_VERSION,
            "step": self.step,
            "random_state": self.random_state,
            "lengths": self.lengths,
            "identity": self.identity,
            "gated": self.gated,
            "rewinds": self.rewinds,
        }
        arrays: dict[str, Any] = {"positions": self.positions, "momenta": self.momenta}
        if self.trusted is not None:
            header["trusted"] = {"step": self.trusted.step, "lengths": self.trusted.lengths}
            arrays["trusted_positions"] = self.trusted.positions
        data = io.BytesIO()
        np.savez(data, header=np.array(json.dumps(header)), **arrays)
        write_atomically(path, data.getvalue())

    @classmethod
    def load(cls, path: Path) -> "RestartPoint":
        """Read a restart point.

        Raises:
            FileFormatError: there is none, or it is damaged.
            SchemaVersionError: it is of another version.
        """
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                header = json.loads(str(arrays["header"]))
                positions, momenta = arrays["positions"], arrays["momenta"]
                trusted = header.pop("trusted", None)
                if trusted is not None:
                    trusted = TrustedState(positions=arrays["trusted_positions"], **trusted)
        except FileNotFoundError:
            raise FileFormatError(
                f"no restart file at {path}",
                expected="a run that has written one",
                suggestion="check the directory given with -o, or start without --resume",
            ) from None
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise FileFormatError(
                f"{path}, which cannot be read: {error}",
                expected="a restart file of adiabat md",
                suggestion="start the run again in an empty directory",
            ) from error
        if header.get("version") != RESTART_VERSION:
            raise SchemaVersionError(
                f"{path} of version {header.get('version')}",
                expected=f"version {RESTART_VERSION}",
                suggestion="resume with the version of adiabat that started the run",
            )
        del header["version"]
        return cls(positions=positions, momenta=momenta, trusted=trusted, **header)
