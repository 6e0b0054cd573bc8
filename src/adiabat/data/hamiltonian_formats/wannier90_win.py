"""Wannier90's input ``seedname.win``: cell, atoms, and which function is which orbital of which atom."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers as number_of_symbol

from adiabat.core.errors import FileFormatError
from adiabat.core.units import BOHR
from adiabat.data.structure import Structure

_ANGULAR: Final = {"s": 0, "p": 1, "d": 2, "f": 3, "l=0": 0, "l=1": 1, "l=2": 2, "l=3": 3}
_ON_ATOM: Final = 1e-2
"""Å; how near a site of a projection lies to the atom that it names."""


@dataclass(frozen=True)
class WannierInput:
    """What ``seedname.win`` says.

    Attributes:
        structure: cell and atoms, or None if they are not in it.
        projections: lines of the projections block.
        spinors: whether functions are spinors.
        fermi_level: eV, or None.
        mesh: k-points along each reciprocal lattice vector, or None.
    """

    structure: Structure | None
    projections: list[str]
    spinors: bool
    fermi_level: float | None
    mesh: tuple[int, ...] | None


def read_win(path: Path) -> WannierInput:
    """Read an input file.

    Raises:
        FileFormatError: damaged cell or atoms.
    """
    blocks, keywords = _parse(path.read_text(encoding="utf-8"))
    fermi, mesh = keywords.get("fermi_energy"), keywords.get("mp_grid")
    try:
        structure = _structure(blocks)
        return WannierInput(
            structure,
            blocks.get("projections", []),
            keywords.get("spinors", "f").strip(".").lower().startswith("t"),
            float(fermi.lower().replace("d", "e")) if fermi else None,
            tuple(int(n) for n in mesh.replace(",", " ").split()) if mesh else None,
        )
    except (ValueError, IndexError, KeyError) as error:
        raise FileFormatError(
            f"{path.name} with a cell or atoms that cannot be read ({error})",
            expected="unit_cell_cart and atoms_frac or atoms_cart",
            suggestion="take the input of this run, or give the structure: --structure POSCAR",
        ) from error


def assign_orbitals(projections: list[str], structure: Structure, place: str) -> list[tuple[int, int]]:
    """Atom and l of each shell in the order of Wannier90's functions; spin is not counted.

    Wannier90 goes through the lines, in each through the atoms of its species, and at each atom through l upwards.

    Raises:
        FileFormatError: projections that are no whole s, p, d or f shells on atoms.
    """
    shells: list[tuple[int, int]] = []
    for line in projections:
        if line.lower() in ("ang", "angstrom", "bohr"):
            continue
        site, *rest = (part.strip() for part in line.split(":"))
        angular = [_ANGULAR.get(word.strip().lower()) for word in rest[0].split(";")] if len(rest) == 1 else [None]
        atoms = _atoms_of_site(site, structure)
        if not atoms or any(l is None for l in angular):
            raise FileFormatError(
                f"{place}: the projection {line!r}",
                expected="whole shells on atoms with the default axes, such as 'Si:s;p' or 'f=0.25,0.25,0.25:d'",
                suggestion="hybrids (sp3), single orbitals, random or bond-centred functions are no shells of an atom: "
                "run Wannier90 with s, p, d, f projections on atoms and num_iter = 0",
            )
        shells += [(atom, l) for atom in atoms for l in sorted(l for l in angular if l is not None)]
    return shells


def _atoms_of_site(site: str, structure: Structure) -> list[int]:
    """Atoms that a species, or a position ``f=…`` or ``c=…`` (in Å) names."""
    match = re.fullmatch(r"([fc]) *= *([^,]+),([^,]+),([^,]+)", site)
    if match is None:
        return [atom for atom, symbol in enumerate(structure.symbols) if symbol == site.capitalize()]
    point: npt.NDArray[np.float64] = np.array([float(x) for x in match.groups()[1:]])
    fractional = point if match[1] == "f" else point @ np.linalg.inv(structure.cell)
    difference = structure.positions @ np.linalg.inv(structure.cell) - fractional
    distance = np.linalg.norm((difference - np.round(difference)) @ structure.cell, axis=1)
    return np.flatnonzero(distance < _ON_ATOM).tolist()


def _parse(text: str) -> tuple[dict[str, list[str]], dict[str, str]]:
    blocks: dict[str, list[str]] = {}
    keywords: dict[str, str] = {}
    current: list[str] | None = None
    for raw in text.splitlines():
        line = re.split(r"[!#]", raw)[0].strip()
        words = line.lower().split()
        if not words:
            continue
        if words[0] == "begin":
            current = blocks.setdefault(words[1], [])
        elif words[0] == "end":
            current = None
        elif current is not None:
            current.append(line)
        else:
            key, *value = re.split(r"\s*[=:]\s*|\s+", line, maxsplit=1)
            keywords[key.lower()] = value[0] if value else ""
    return blocks, keywords


def _structure(blocks: dict[str, list[str]]) -> Structure | None:
    if "unit_cell_cart" not in blocks or not {"atoms_frac", "atoms_cart"} & set(blocks):
        return None
    cell, _ = _numbers(blocks["unit_cell_cart"], 0)
    if "atoms_frac" in blocks:
        fractional, symbols = _numbers(blocks["atoms_frac"], 1)
        positions = fractional @ cell
    else:
        positions, symbols = _numbers(blocks["atoms_cart"], 1)
    numbers = [number_of_symbol[re.sub(r"[^A-Za-z].*$", "", symbol).capitalize()] for symbol in symbols]
    return Structure(np.array(numbers, dtype=np.int64), positions, cell, np.ones(3, dtype=bool))


def _numbers(lines: list[str], skip: int) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Three numbers a line [Å], after ``skip`` words."""
    unit = 1.0
    if lines[0].lower() in ("bohr", "ang", "angstrom"):
        unit, lines = (BOHR if lines[0].lower() == "bohr" else 1.0), lines[1:]
    rows = [line.split() for line in lines]
    values = [[float(word.lower().replace("d", "e")) for word in row[skip : skip + 3]] for row in rows]
    return np.array(values).reshape(-1, 3) * unit, [row[0] for row in rows]
