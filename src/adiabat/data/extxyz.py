"""Extended XYZ, frame by frame, with errors that name the line. Source: [extxyz_specification]."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from ase import Atoms
from ase.io.extxyz import XYZError, read_xyz

from adiabat.core.errors import FileFormatError

_SIX_NUMBERS: Final = re.compile(
    r"""(^|\s)((?:stress|virial)\s*=\s*(["'{\[])\s*(?:[^\s"'}\]]+[\s,]+){5}[^\s"'}\]]+\s*["'}\]])"""
)
"""A stress of six components, which ASE refuses: it takes nine under these names."""

_ASIDE: Final = "six_"
"""Prefix under which such a stress passes through ASE's parser."""


@dataclass(frozen=True)
class XyzFrame:
    """One frame.

    Attributes:
        atoms: as ASE reads it.
        line: number of its first line in the file, from 1.
        declares_pbc: whether the comment line says anything about periodicity; ASE takes a bare ``Lattice`` for
            periodic in all directions.
    """

    atoms: Atoms
    line: int
    declares_pbc: bool


def read_frames(path: Path) -> Iterator[XyzFrame]:
    """Read every frame.

    Raises:
        FileFormatError: a truncated or damaged frame, with its number and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise FileFormatError(
            f"{path.name} with bytes that are not text ({error})",
            expected="extended XYZ, which is UTF-8 text",
            suggestion="name the format with --format if this is another kind of file",
        ) from error
    start, index = 0, 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
            continue
        end = _frame_end(path, lines, start, index)
        yield _parse(path, lines[start:end], start, index)
        start, index = end, index + 1


def _frame_end(path: Path, lines: list[str], start: int, index: int) -> int:
    """One past the frame's last line, after checking that all of it is there."""
    try:
        n_atoms = int(lines[start])
    except ValueError:
        raise _damaged(path, start, index, f"{lines[start][:60]!r}", "the number of atoms of a frame") from None
    end = start + 2 + n_atoms
    if n_atoms < 1:
        raise _damaged(path, start, index, f"{n_atoms} atoms", "a frame of one atom or more")
    if end > len(lines):
        raise _damaged(
            path,
            len(lines) - 1,
            index,
            f"the end of the file after {max(0, len(lines) - start - 2)} of {n_atoms} atoms",
            f"{n_atoms} atom lines",
        )
    widths = [len(line.split()) for line in lines[start + 2 : end]]
    common = max(widths, key=widths.count, default=0)
    for number, width in enumerate(widths, start=start + 2):
        if width != common:
            raise _damaged(path, number, index, f"{lines[number][:60]!r}", f"{common} columns, as in the other lines")
    return end


def _parse(path: Path, lines: list[str], start: int, index: int) -> XyzFrame:
    comment = _SIX_NUMBERS.sub(rf"\g<1>{_ASIDE}\g<2>", lines[1])
    try:
        atoms = next(
            iter(read_xyz(io.StringIO("\n".join([lines[0], comment, *lines[2:]]) + "\n"), index=cast(Any, slice(0, 1))))
        )
    except KeyError as error:  # how ASE answers a symbol that it does not know
        got = f"{error.args[0]!r}, which is no chemical symbol,"
        raise _damaged(path, start, index, got, "elements of the periodic table") from error
    except (XYZError, ValueError, IndexError, TypeError) as error:
        raise _damaged(path, start, index, f"a frame that cannot be parsed ({error})", "extended XYZ") from error
    assert isinstance(atoms, Atoms)
    for key in [key for key in atoms.info if key.startswith(_ASIDE)]:
        atoms.info[key.removeprefix(_ASIDE)] = atoms.info.pop(key)
    return XyzFrame(atoms, start + 1, re.search(r"\bpbc\s*=", lines[1], re.IGNORECASE) is not None)


def _damaged(path: Path, line: int, index: int, got: str, expected: str) -> FileFormatError:
    return FileFormatError(
        f"{got} in line {line + 1} of {path.name} (frame {index})",
        expected=expected,
        suggestion=f"repair the file, or read the {index} frames before it with --frames :{index}"
        if index
        else "check that the file is extended XYZ and complete",
    )
