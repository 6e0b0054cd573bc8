"""The program CP2K, and the folder of its data files."""

import os
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Final

from adiabat.core.errors import EngineError
from adiabat.engines.gth_data import POTENTIAL_FILES

_PROGRAMS: Final = ("cp2k.psmp", "cp2k.ssmp", "cp2k.popt", "cp2k.sopt", "cp2k")


def find_program(program: str | None = None) -> str:
    """Path of CP2K: the one that is named, that of ``$ADIABAT_CP2K``, or the first on the path.

    Raises:
        EngineError: there is none.
    """
    named = program or os.environ.get("ADIABAT_CP2K")
    for name in (named,) if named else _PROGRAMS:
        found = shutil.which(name)
        if found:
            return found
    raise EngineError(
        f"no CP2K: {named or 'none of ' + ', '.join(_PROGRAMS)} is not on the path",
        expected="an installed CP2K, version 2023.1 or later",
        suggestion="apt-get install cp2k (Debian, Ubuntu), conda install -c conda-forge cp2k, or set ADIABAT_CP2K; "
        "`--engine pyscf-crystal` needs pip alone",
    )


@lru_cache(maxsize=8)
def program_version(program: str) -> str:
    """Version that a CP2K tells, ``2023.1``.

    Raises:
        EngineError: it tells none.
    """
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _no_cp2k(program, str(error)) from error
    found = re.search(r"CP2K version (\S+)", answer)
    if not found:
        raise _no_cp2k(program, answer[:200])
    return found[1]


def _no_cp2k(program: str, answer: str) -> EngineError:
    return EngineError(
        f"{program} --version, which answers {answer!r}",
        expected="'CP2K version …'",
        suggestion="check ADIABAT_CP2K, or install it anew: apt-get install cp2k",
    )


def data_folder(program: str) -> Path:
    """Folder of CP2K's data files: ``$CP2K_DATA_DIR``, or beside the program as packages put it.

    Raises:
        EngineError: there is none.
    """
    named = os.environ.get("CP2K_DATA_DIR")
    prefix = Path(program).resolve().parents[1]
    tried = [Path(named)] if named else [prefix / "share" / "cp2k" / "data", prefix / "share" / "cp2k"]
    for folder in tried:
        if (folder / POTENTIAL_FILES[0]).is_file():
            return folder
    raise EngineError(
        f"no file {POTENTIAL_FILES[0]} in {' or '.join(map(str, tried))}",
        expected="CP2K's data files",
        suggestion="apt-get install cp2k-data, or set CP2K_DATA_DIR to their folder",
    )
