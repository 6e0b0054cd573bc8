"""GTH pseudopotentials and Gaussian bases from data files in CP2K's format, which CP2K and PySCF both ship."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from ase.data import atomic_numbers, chemical_symbols

from adiabat.core.errors import BasisError, ConfigError, nearest
from adiabat.physics.gaussian_basis import GaussianBasis, read_basis_text

BASIS_FILES: Final = ("BASIS_MOLOPT", "BASIS_MOLOPT_UCL", "BASIS_MOLOPT_UZH", "BASIS_SET", "GTH_BASIS_SETS")
POTENTIAL_FILES: Final = ("GTH_POTENTIALS", "POTENTIAL_UZH")
_COMPOSED: Final = re.compile(r"^SZVP-(?P<family>MOLOPT-SR-GTH|MOLOPT-GTH)(?P<q>-q\d+)?$")
_VALENCE: Final = re.compile(r"-q(\d+)$")


@dataclass(frozen=True)
class Potential:
    """A pseudopotential.

    Attributes:
        name: with its number of electrons, ``GTH-PBE-q3``.
        text: its entry.
        n_electrons: electrons that it leaves.
    """

    name: str
    text: str
    n_electrons: int


def load_basis(
    folder: Path, name: str, potentials: dict[int, Potential], basis_file: str | None = None
) -> GaussianBasis:
    """A basis for some elements, with the electrons that their pseudopotentials leave.

    ``SZVP-MOLOPT-SR-GTH``, which CP2K ships for hardly any element, is composed of what it ships: the shells of
    SZV-MOLOPT-SR-GTH and the polarisation shells of DZVP-MOLOPT-SR-GTH, over the same exponents.

    Args:
        folder: of the data files.
        name: as in the files.
        potentials: of each atomic number, see :func:`load_potentials`.
        basis_file: a file of the user's with the basis; those of the folder are then not looked at.

    Raises:
        BasisError: an element without this basis, or made for another number of electrons.
        FileFormatError: a damaged file.
    """
    files = [Path(basis_file)] if basis_file else [folder / file for file in BASIS_FILES]
    text: dict[int, str] = {}
    for z, potential in potentials.items():
        names: dict[str, str] = {}
        for file in files:
            for known, entry in _basis_entries(str(file)).get(z, {}).items():
                names.setdefault(known, entry)
        text[z] = _pick(z, name, names, potential.n_electrons, [file.name for file in files])
    return GaussianBasis(name, text, {z: float(potential.n_electrons) for z, potential in potentials.items()})


def _pick(z: int, name: str, names: dict[str, str], n_electrons: int, files: list[str]) -> str:
    """The entry that is meant for this pseudopotential, under one header whatever aliases the file gives it."""
    named = _VALENCE.search(name)
    exact = name if named else f"{name}-q{n_electrons}"
    found = None
    if exact in names:
        found = names[exact] if named is None or int(named[1]) == n_electrons else None
    elif name in names and _electrons_of(names[name], names) in (n_electrons, None):
        found = names[name]
    else:
        found = _composed(name, names, n_electrons)
    if found is None:
        raise BasisError(
            f"basis {name!r} for {chemical_symbols[z]} with {n_electrons} valence electrons",
            expected=f"an entry of {', '.join(files)}",
            suggestion=nearest(name, names) if names else "another basis, or a file of your own with --basis-file",
        )
    return "\n".join([f"{chemical_symbols[z]} {name}", *found.splitlines()[1:]])


def _electrons_of(entry: str, names: dict[str, str]) -> int | None:
    """Electrons named by an alias of the same entry."""
    body = entry.split("\n", 1)[1]
    counts = {int(match[1]) for name, text in names.items() if (match := _VALENCE.search(name)) and body in text}
    return counts.pop() if len(counts) == 1 else None


def _composed(name: str, names: dict[str, str], n_electrons: int) -> str | None:
    """SZV's shells, and those of the angular momenta that only DZVP has."""
    match = _COMPOSED.match(name)
    if match is None:
        return None
    small, large = (
        names.get(f"{zeta}-{match['family']}-q{n_electrons}", names.get(f"{zeta}-{match['family']}"))
        for zeta in ("SZV", "DZVP")
    )
    if small is None or large is None:
        return None
    head_s, rows_s = _one_set(small)
    head_l, rows_l = _one_set(large)
    if [row[0] for row in rows_s] != [row[0] for row in rows_l] or head_s[1] != head_l[1]:
        return None
    counts_s, counts_l = [int(n) for n in head_s[4:]], [int(n) for n in head_l[4:]]
    extra = counts_l[len(counts_s) :]
    first = 1 + sum(counts_l[: len(counts_s)])
    head = [*head_s[:2], head_l[2], head_s[3], *head_s[4:], *map(str, extra)]
    rows = [[*short, *long[first:]] for short, long in zip(rows_s, rows_l, strict=True)]
    return "\n".join([small.splitlines()[0], "1", " ".join(head), *(" ".join(row) for row in rows)])


def _one_set(entry: str) -> tuple[list[str], list[list[str]]]:
    lines = [line.split() for line in entry.splitlines()]
    assert lines[1] == ["1"], f"MOLOPT bases are of one set, unlike {lines[0]}"
    return lines[2], lines[3:]


def load_potentials(folder: Path, name: str, elements: Iterable[int]) -> dict[int, Potential]:
    """Pseudopotentials of some elements.

    Args:
        folder: of the data files.
        name: ``GTH-PBE``, or with the electrons that it is to leave, ``GTH-PBE-q13``.
        elements: atomic numbers.

    Raises:
        ConfigError: an element without one.
    """
    found: dict[int, Potential] = {}
    for z in sorted({int(element) for element in elements}):
        names: dict[str, str] = {}
        for file in POTENTIAL_FILES:
            for known, entry in _potential_entries(str(folder / file)).get(z, {}).items():
                names.setdefault(known, entry)
        if name not in names:
            raise ConfigError(
                f"pseudopotential {name!r} for {chemical_symbols[z]}",
                expected=f"an entry of {' or '.join(POTENTIAL_FILES)}",
                suggestion=nearest(name, names) if names else "use another engine for this element",
            )
        lines = names[name].splitlines()
        n_electrons = sum(int(n) for n in lines[1].split())
        full = f"{_VALENCE.sub('', name)}-q{n_electrons}"
        text = "\n".join([f"{chemical_symbols[z]} {full}", *lines[1:]])
        found[z] = Potential(full, text, n_electrons)
    return found


@lru_cache(maxsize=8)
def _basis_entries(path: str) -> dict[int, dict[str, str]]:
    file = Path(path)
    return read_basis_text(_read(file)) if file.is_file() else {}


@lru_cache(maxsize=8)
def _potential_entries(path: str) -> dict[int, dict[str, str]]:
    """Entries by atomic number and name; of entries of one name the first counts, as for CP2K."""
    entries: dict[int, dict[str, str]] = {}
    file = Path(path)
    current: list[str] = []
    names: list[str] = []
    z = 0

    def finish() -> None:
        for known in names:
            entries.setdefault(z, {}).setdefault(known, "\n".join(current))

    for raw in _read(file).splitlines() if file.is_file() else ():
        words = raw.split("#")[0].split()
        if not words:
            continue
        if words[0] in atomic_numbers:
            finish()
            z, names, current = atomic_numbers[words[0]], words[1:], [" ".join(words)]
        else:
            current.append(" ".join(words))
    finish()
    return entries


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")
