"""Which stages of a long run are done, and how long each took, across interruptions."""

import json
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adiabat.core.atomic_file import write_atomically
from adiabat.core.errors import ConfigError, FileFormatError


class StageBook:
    """The book of one run directory: its settings, and time and state of each stage.

    Args:
        directory: made if it is not there.
        settings: what the run is asked for.

    Raises:
        ConfigError: the directory holds a run that was asked for something else.
        FileFormatError: the directory's book cannot be read.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "stages.json"
        self._book: dict[str, Any] = {"settings": dict(settings), "stages": {}}
        if self._path.exists():
            found = self._read()
            changed = sorted(key for key, value in settings.items() if found["settings"].get(key) != value)
            if changed:
                raise ConfigError(
                    f"{changed[0]} = {settings[changed[0]]!r} for {directory}, which was begun with "
                    f"{found['settings'].get(changed[0])!r}",
                    expected="the settings that the run in this directory was begun with",
                    suggestion="choose another directory with -o, or restore the setting",
                )
            self._book = found
        self._write()

    def is_done(self, stage: str) -> bool:
        """Whether a stage is complete."""
        return bool(self._book["stages"].get(stage, {}).get("done"))

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time by stage, all parts of an interrupted stage together."""
        return {stage: float(entry["seconds"]) for stage, entry in self._book["stages"].items()}

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Count the time inside, also when it ends early; mark the stage done if it ends well."""
        begun = time.monotonic()
        entry = self._book["stages"].setdefault(name, {"seconds": 0.0, "done": False})
        try:
            yield
            entry["done"] = True
        finally:
            entry["seconds"] += time.monotonic() - begun
            self._write()

    def _read(self) -> dict[str, Any]:
        try:
            book = json.loads(self._path.read_text(encoding="utf-8"))
            return {"settings": dict(book["settings"]), "stages": dict(book["stages"])}
        except (ValueError, KeyError, TypeError) as error:
            raise FileFormatError(
                f"{self._path}, which cannot be read: {error}",
                expected="the book of a run that adiabat wrote",
                suggestion="delete the directory, or choose another one with -o",
            ) from error

    def _write(self) -> None:
        write_atomically(self._path, (json.dumps(self._book, indent=2) + "\n").encode())
