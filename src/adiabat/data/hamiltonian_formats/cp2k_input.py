"""The structure of a CP2K run, from its input file: the log prints the cell to three decimals only."""

import re
from pathlib import Path
from typing import Final

import ase.io
import numpy as np
from ase import Atoms
from ase.cell import Cell

from adiabat.core.errors import FileFormatError
from adiabat.core.units import BOHR

_UNITS: Final = {"angstrom": 1.0, "bohr": BOHR, "nm": 10.0}
_SUGGESTION: Final = "give the structure: --structure POSCAR, or any file of ASE with the cell"


def read_cp2k_input(path: Path) -> Atoms:
    """Atoms of an input or restart file with an explicit cell.

    Raises:
        FileFormatError: preprocessor directives, no cell, or coordinates that are not in the file or beside it.
    """
    lines = [re.split(r"[!#]", line)[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line]
    if any(line.startswith("@") or "${" in line for line in lines):
        raise _unreadable(path, "with preprocessor directives (@INCLUDE, @SET, ${…})")
    cell_lines = _section(lines, "CELL")
    if _value(cell_lines, "MULTIPLE_UNIT_CELL") not in (None, "1 1 1"):
        raise _unreadable(path, "with MULTIPLE_UNIT_CELL")
    cell = _cell(path, cell_lines)
    coordinates = _section(lines, "COORD")
    if not coordinates:
        return _from_topology(path, _section(lines, "TOPOLOGY"), cell)
    unit = _UNITS.get((_value(coordinates, "UNIT") or "angstrom").lower())
    scaled = _flag(_value(coordinates, "SCALED"))
    rows = [line.split() for line in coordinates if line.split()[0].upper() not in ("UNIT", "SCALED")]
    try:
        numbers = np.array([[float(x) for x in row[1:4]] for row in rows]).reshape(-1, 3)
    except ValueError as error:
        raise _unreadable(path, f"with coordinates that are no numbers ({error})") from error
    if unit is None:
        raise _unreadable(path, "with an unknown unit in &COORD")
    positions = numbers @ cell if scaled else numbers * unit
    symbols = [re.sub(r"[^A-Za-z].*$", "", row[0]).capitalize() for row in rows]
    try:
        return Atoms(symbols, positions=positions, cell=cell, pbc=True)
    except KeyError as error:
        raise _unreadable(path, f"with kinds that are no elements ({error})") from error


def _from_topology(path: Path, topology: list[str], cell: np.ndarray) -> Atoms:
    name = _value(topology, "COORD_FILE_NAME")
    if name is None or not (path.parent / name).is_file():
        raise _unreadable(path, "without &COORD, and without the file of COORD_FILE_NAME beside it")
    atoms = ase.io.read(path.parent / name)
    assert not isinstance(atoms, list)
    return Atoms(atoms.get_chemical_symbols(), positions=atoms.positions, cell=cell, pbc=True)


def _section(lines: list[str], name: str) -> list[str]:
    """Lines of the first section of a name, without those of sections in it."""
    start = next((k for k, line in enumerate(lines) if line.split()[0].upper() == f"&{name}"), None)
    if start is None:
        return []
    found: list[str] = []
    depth = 0
    for line in lines[start + 1 :]:
        word = line.split()[0].upper()
        if word.startswith("&END"):
            if depth == 0:
                return found
            depth -= 1
        elif word.startswith("&"):
            depth += 1
        elif depth == 0:
            found.append(line)
    return found


def _value(lines: list[str], key: str) -> str | None:
    for line in lines:
        word, _, rest = line.partition(" ")
        if word.upper() == key:
            return " ".join(rest.split())
    return None


def _flag(value: str | None) -> bool:
    return value is not None and value.strip(".").upper() in ("", "T", "TRUE", "Y", "YES", "ON")


def _cell(path: Path, lines: list[str]) -> np.ndarray:
    vectors = [_length(path, _value(lines, key)) for key in "ABC"]
    if all(vector is not None and len(vector) == 3 for vector in vectors):
        return np.array(vectors, dtype=np.float64)
    lengths = _length(path, _value(lines, "ABC"))
    if lengths is None or len(lengths) != 3:
        raise _unreadable(path, "without the cell in &CELL")
    angles = [float(word) for word in (_value(lines, "ALPHA_BETA_GAMMA") or "90 90 90").split()]
    return np.asarray(Cell.fromcellpar([*lengths, *angles]), dtype=np.float64)


def _length(path: Path, text: str | None) -> list[float] | None:
    if text is None:
        return None
    unit = 1.0
    match = re.match(r"\[(\w+)\]", text)
    if match:
        if match[1].lower() not in _UNITS:
            raise _unreadable(path, f"with an unknown unit [{match[1]}] in &CELL")
        unit, text = _UNITS[match[1].lower()], text[match.end() :]
    try:
        return [float(word) * unit for word in text.split()]
    except ValueError as error:
        raise _unreadable(path, f"with a cell that is no numbers ({error})") from error


def _unreadable(path: Path, what: str) -> FileFormatError:
    return FileFormatError(
        f"{path.name}, a CP2K input {what}", expected="&CELL and &COORD written out", suggestion=_SUGGESTION
    )
