"""What CP2K brings: the program, and the data files with its basis sets and pseudopotentials."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from ase.data import atomic_numbers, chemical_symbols

from adiabat.core.errors import BasisError, ConfigError, EngineError, nearest
from adiabat.physics.gaussian_basis import GaussianBasis, read_basis_text

_PROGRAMS: Final = ("cp2k.psmp", "cp2k.ssmp", "cp2k.popt", "cp2k.sopt", "cp2k")
_BASIS_FILES: Final = ("BASIS_MOLOPT", "BASIS_MOLOPT_UCL", "BASIS_MOLOPT_UZH", "BASIS_SET")
_POTENTIAL_FILES: Final = ("GTH_POTENTIALS", "POTENTIAL_UZH")
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
        if (folder / _POTENTIAL_FILES[0]).is_file():
            return folder
    raise EngineError(
        f"no file {_POTENTIAL_FILES[0]} in {' or '.join(map(str, tried))}",
        expected="CP2K's data files",
        suggestion="apt-get install cp2k-data, or set CP2K_DATA_DIR to their folder",
    )


def load_basis(
    folder: Path, name: str, potentials: dict[int, Potential], basis_file: str | None = None
) -> GaussianBasis:
    """A basis for some elements, with the electrons that their pseudopotentials leave.

    ``SZVP-MOLOPT-SR-GTH``, which CP2K ships for hardly any element, is composed of what it ships: the shells of
    SZV-MOLOPT-SR-GTH and the polarisation shells of DZVP-MOLOPT-SR-GTH, over the same exponents.

    Args:
        folder: CP2K's data files.
        name: as in the files.
        potentials: of each atomic number, see :func:`load_potentials`.
        basis_file: a file of the user's with the basis; CP2K's are then not looked at.

    Raises:
        BasisError: an element without this basis, or made for another number of electrons.
        FileFormatError: a damaged file.
    """
    files = [Path(basis_file)] if basis_file else [folder / file for file in _BASIS_FILES]
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
        folder: CP2K's data files.
        name: ``GTH-PBE``, or with the electrons that it is to leave, ``GTH-PBE-q13``.
        elements: atomic numbers.

    Raises:
        ConfigError: an element without one.
    """
    found: dict[int, Potential] = {}
    for z in sorted({int(element) for element in elements}):
        names: dict[str, str] = {}
        for file in _POTENTIAL_FILES:
            for known, entry in _potential_entries(str(folder / file)).get(z, {}).items():
                names.setdefault(known, entry)
        if name not in names:
            raise ConfigError(
                f"pseudopotential {name!r} for {chemical_symbols[z]}",
                expected=f"an entry of {' or '.join(_POTENTIAL_FILES)}",
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
