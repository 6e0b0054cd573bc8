"""Orbitals and electrons of GFN1-xTB as CP2K has them, read from its parameter file."""

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

from ase.data import atomic_numbers, chemical_symbols

from adiabat.core.errors import EngineError
from adiabat.core.orbitals import OrbitalBasis

_FILE: Final = "xTB_parameters"
_NOBLE: Final = (0, 2, 10, 18, 36, 54)
_LETTERS: Final = "spdf"


def xtb_orbital_basis(folder: Path, elements: Iterable[int]) -> OrbitalBasis:
    """Shells and valence electrons of some elements in GFN1-xTB.

    Args:
        folder: CP2K's data files.
        elements: atomic numbers.

    Raises:
        EngineError: no parameter file, or an element that it does not have.
    """
    levels = _levels(str(folder / _FILE))
    chosen = sorted({int(z) for z in elements})
    missing = [chemical_symbols[z] for z in chosen if z not in levels]
    if missing:
        raise EngineError(
            f"{', '.join(missing)}, for which {_FILE} of CP2K has no parameters",
            expected="elements up to radon",
            suggestion="check CP2K_DATA_DIR, or use another engine",
        )
    return OrbitalBasis("GFN1-xTB", {z: levels[z] for z in chosen}, {z: float(n_valence(z)) for z in chosen})


@lru_cache(maxsize=4)
def _levels(path: str) -> dict[int, tuple[int, ...]]:
    """Angular momenta of each element's shells, in the order of the file."""
    file = Path(path)
    levels: dict[int, tuple[int, ...]] = {}
    z = 0
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        words = line.split("#")[0].split()
        if words and words[0] in atomic_numbers:
            z = atomic_numbers[words[0]]
            levels[z] = ()
        level = next((word for word in words if re.fullmatch(r"\d[spdf]", word)), None)
        if z and level:
            levels[z] += (_LETTERS.index(level[1]),)
    return levels


def n_valence(atomic_number: int) -> int:
    """Electrons outside the core of GFN1-xTB: filled d shells and all f shells belong to it."""
    core = max(closed for closed in _NOBLE if closed < atomic_number)
    count = atomic_number - core
    if core == _NOBLE[-1] and atomic_number > 57:
        count = max(3, count - 14)
    return count - 10 if count >= 12 else count
