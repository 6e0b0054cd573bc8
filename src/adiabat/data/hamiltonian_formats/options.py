"""What a user may have to add to the files of another code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import ase.io
from ase.data import atomic_numbers as number_of_symbol

from adiabat.core.errors import ConfigError, FileFormatError, nearest
from adiabat.data.structure import Structure


@dataclass(frozen=True)
class HamiltonianOptions:
    """Facts that some formats lack.

    Attributes:
        structure: a file with the structure, in any format of ASE; read in place of what the folder has.
        valence: electrons that each atomic number brings.
    """

    structure: Path | None = None
    valence: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))


def parse_valence(text: str) -> dict[int, float]:
    """Electrons by atomic number from ``B=3,N=5``.

    Raises:
        ConfigError: another form, or an unknown element.
    """
    valence: dict[int, float] = {}
    for part in filter(None, (word.strip() for word in text.split(","))):
        symbol, _, count = part.partition("=")
        if symbol not in number_of_symbol:
            raise ConfigError(
                f"--valence {part}",
                expected="symbol=electrons, as in B=3,N=5",
                suggestion=nearest(symbol, [name for name in number_of_symbol if name != "X"]),
            )
        try:
            valence[number_of_symbol[symbol]] = float(count)
        except ValueError:
            raise ConfigError(
                f"--valence {part}", expected="symbol=electrons, as in B=3,N=5", suggestion=f"--valence {symbol}=4"
            ) from None
    return valence


def read_structure(path: Path) -> Structure:
    """A structure that a user names, with its cell.

    Raises:
        FileFormatError: a file that ASE cannot read, or one without a cell.
    """
    try:
        atoms = ase.io.read(path)
    # ASE's readers share no error class: these are what a damaged file makes them raise.
    except (ase.io.ParseError, OSError, ValueError, KeyError, IndexError, StopIteration, AttributeError, TypeError,
            AssertionError, EOFError, RuntimeError) as error:  # fmt: skip
        raise FileFormatError(
            f"{path.name}, which ASE cannot read ({type(error).__name__}: {error})",
            expected="a structure with a cell: POSCAR, CIF, extended XYZ",
            suggestion="check the file given with --structure",
        ) from error
    assert not isinstance(atoms, list)
    if not atoms.cell.rank == 3:
        raise FileFormatError(
            f"{path.name} with a cell of rank {atoms.cell.rank}",
            expected="three lattice vectors",
            suggestion="give a structure with its cell, such as a POSCAR",
        )
    atoms.pbc = True
    return Structure.from_ase(atoms)
