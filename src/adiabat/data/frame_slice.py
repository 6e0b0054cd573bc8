"""Which frames of a file or store: ``:100``, ``::10``, ``-1``."""

import re
from typing import Final

from adiabat.core.errors import ConfigError

_SLICE: Final = re.compile(r"\s*(-?\d+)?\s*:\s*(-?\d+)?\s*(?::\s*(-?\d+)?\s*)?")


def parse_frames(text: str) -> slice:
    """A Python slice, or an index as the slice of one frame.

    Raises:
        ConfigError: the text is neither.
    """
    if re.fullmatch(r"\s*-?\d+\s*", text):
        return slice(int(text), int(text) + 1 or None)
    match = _SLICE.fullmatch(text)
    if match is None or int(match.group(3) or 1) == 0:
        raise ConfigError(
            f"frames {text!r}",
            expected="a Python slice, start:stop or start:stop:step, or an index",
            suggestion="for instance :100, ::10, 0:400, 5 or -1",
        )
    return slice(*(int(part) if part else None for part in match.groups()))
