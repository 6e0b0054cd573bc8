"""ABACUS' structure file STRU: cell, atoms, and the orbital file of each species, whose name tells its shells."""

import re
from pathlib import Path
from typing import Final

import numpy as np
from ase.data import atomic_numbers as number_of_symbol

from adiabat.core.errors import BasisError, FileFormatError
from adiabat.core.units import BOHR
from adiabat.data.structure import Structure

_SECTIONS: Final = (
    "ATOMIC_SPECIES", "NUMERICAL_ORBITAL", "NUMERICAL_DESCRIPTOR", "PAW_FILES", "ABFS_ORBITAL", "LATTICE_CONSTANT",
    "LATTICE_VECTORS", "LATTICE_PARAMETERS", "LATTICE_PARAMETER", "ATOMIC_POSITIONS",
)  # fmt: skip


def read_stru(path: Path) -> tuple[Structure, dict[int, str]]:
    """Structure, and the name of the orbital file of each atomic number.

    Raises:
        FileFormatError: a section that is missing or damaged, or a kind of lattice or coordinates that is not read.
        BasisError: two species of one element with different orbital files.
    """
    sections = _sections(path)
    try:
        constant = float(sections["LATTICE_CONSTANT"][0][0]) * BOHR
        cell = np.array(sections["LATTICE_VECTORS"], dtype=np.float64)[:3, :3] * constant
        labels = [row[0] for row in sections["ATOMIC_SPECIES"]]
        orbitals = [row[0] for row in sections["NUMERICAL_ORBITAL"]]
        kind, *rows = sections["ATOMIC_POSITIONS"]
        atoms = _atoms(rows)
    except (KeyError, IndexError, ValueError) as error:
        raise FileFormatError(
            f"{path.name} without a good {error}",
            expected="ATOMIC_SPECIES, NUMERICAL_ORBITAL, LATTICE_CONSTANT, LATTICE_VECTORS and ATOMIC_POSITIONS",
            suggestion="write the lattice vectors out (latname none) and take STRU from the calculation",
        ) from error
    numbers = {label: _number(label, path) for label in labels}
    files: dict[int, str] = {}
    for label, name in zip(labels, orbitals, strict=True):
        if files.setdefault(numbers[label], name) != name:
            raise BasisError(
                f"species {label} with orbitals {name} beside {files[numbers[label]]} in {path.name}",
                expected="one basis for all atoms of an element",
                suggestion="run the calculation with one orbital file an element",
            )
    coordinates = np.array([position for _, position in atoms], dtype=np.float64)
    positions = {
        "direct": lambda: coordinates @ cell,
        "cartesian": lambda: coordinates * constant,
        "cartesian_angstrom": lambda: coordinates,
        "cartesian_au": lambda: coordinates * BOHR,
    }
    if kind[0].lower() not in positions:
        raise FileFormatError(
            f"{path.name} with {kind[0]} coordinates",
            expected=f"one of {', '.join(positions)}",
            suggestion="convert STRU, or give the structure: --structure POSCAR",
        )
    structure = Structure(
        np.array([numbers[label] for label, _ in atoms], dtype=np.int64),
        positions[kind[0].lower()](),
        cell,
        np.ones(3, dtype=bool),
    )
    return structure, files


def shells_of_orbital_file(name: str, path: Path) -> list[int]:
    """Shells that a name such as ``Si_gga_8au_100Ry_2s2p1d.orb`` tells, l ascending.

    Raises:
        BasisError: a name that does not end in shells.
    """
    match = re.search(r"((?:\d+[spdfg])+)(?:\.orb)?$", Path(name).name)
    if match is None:
        raise BasisError(
            f"orbital file {name} of {path.name}",
            expected="a name that ends in its shells, such as _2s2p1d.orb",
            suggestion="name the orbital file in STRU as ABACUS' libraries do",
        )
    counts = {"spdfg".index(l): int(n) for n, l in re.findall(r"(\d+)([spdfg])", match[1])}
    return [l for l in sorted(counts) for _ in range(counts[l])]


def _sections(path: Path) -> dict[str, list[list[str]]]:
    sections: dict[str, list[list[str]]] = {}
    current: list[list[str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        words = re.split(r"//|#", line)[0].split()
        if not words:
            continue
        if words[0] in _SECTIONS:
            current = sections.setdefault(words[0], [])
        else:
            current.append(words)
    return sections


def _atoms(rows: list[list[str]]) -> list[tuple[str, list[float]]]:
    """Label and coordinates of each atom: blocks of label, magnetism, count, and a line an atom."""
    atoms: list[tuple[str, list[float]]] = []
    at = 0
    while at < len(rows):
        label, count = rows[at][0], int(rows[at + 2][0])
        if at + 3 + count > len(rows):
            raise ValueError(f"list of {count} atoms of {label}")
        atoms += [(label, [float(x) for x in row[:3]]) for row in rows[at + 3 : at + 3 + count]]
        at += 3 + count
    return atoms


def _number(label: str, path: Path) -> int:
    symbol = re.sub(r"[^A-Za-z].*$", "", label)
    if symbol not in number_of_symbol:
        raise FileFormatError(
            f"species {label} in {path.name}",
            expected="a label that begins with an element's symbol",
            suggestion="rename the species in STRU",
        )
    return number_of_symbol[symbol]
