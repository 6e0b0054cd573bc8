"""Groups of orbitals by element, atom, shell or shape, for projected densities and fat bands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import BasisError, ConfigError, nearest
from adiabat.simulation.crystal_electrons import CrystalElectrons

Projection = Literal["element", "atom", "l", "shell", "orbital"]
"""What shares of a state are added up over. A shell is all orbitals of one l on one element."""

LETTERS: Final = "spdf"
SHAPES: Final[tuple[tuple[str, ...], ...]] = (
    ("s",),
    ("py", "pz", "px"),
    ("dxy", "dyz", "dz2", "dxz", "dx2-y2"),
    ("fy(3x2-y2)", "fxyz", "fyz2", "fz3", "fxz2", "fz(x2-y2)", "fx(x2-3y2)"),
)
"""Names of the real orbitals of each l, m running −l … l."""


@dataclass(frozen=True, eq=False)
class OrbitalGroup:
    """Some of the orbitals of a crystal.

    Attributes:
        name: for legends: ``B p``.
        members: (n_orb,) which orbitals belong to it.
    """

    name: str
    members: npt.NDArray[np.bool_]


def projection_groups(electrons: CrystalElectrons, kind: str) -> list[OrbitalGroup]:
    """All groups of one kind; each orbital is in exactly one.

    Args:
        electrons: gives atoms and shells.
        kind: ``element``, ``atom``, ``l``, ``shell`` or ``orbital``.

    Raises:
        ConfigError: an unknown kind.
        BasisError: the shells of the basis are not known, and the kind needs them.
    """
    kinds = get_args(Projection)
    if kind not in kinds:
        raise ConfigError(f"--project {kind}", expected=", ".join(kinds), suggestion=nearest(kind, kinds))
    atoms = electrons.crystal.orbital_atoms
    symbols = np.array(electrons.structure.symbols)[atoms]
    if kind == "element":
        names = symbols
    elif kind == "atom":
        names = np.array([f"{symbol}{atom}" for symbol, atom in zip(symbols, atoms, strict=True)])
    else:
        ls, shapes = _shells(electrons)
        letters = np.array([LETTERS[l] for l in ls])
        parts = {"l": letters, "shell": letters, "orbital": shapes}[kind]
        names = parts if kind == "l" else np.array([f"{a} {b}" for a, b in zip(symbols, parts, strict=True)])
    _, first = np.unique(names, return_index=True)
    return [OrbitalGroup(str(names[k]), names == names[k]) for k in np.sort(first)]


def selected_groups(electrons: CrystalElectrons, selections: Sequence[str]) -> list[OrbitalGroup]:
    """Groups that a user names, which may overlap: ``B:p``, ``N``, ``:d``, ``3:pz``.

    Args:
        electrons: gives atoms and shells.
        selections: before the colon an element or the number of an atom from 0, after it a shell letter or a real
            orbital; either may be left out.

    Raises:
        ConfigError: an element, atom or orbital that is not there.
        BasisError: the shells of the basis are not known.
    """
    return [_selected(electrons, text.strip()) for text in selections]


def _selected(electrons: CrystalElectrons, text: str) -> OrbitalGroup:
    who, _, what = text.partition(":")
    atoms = electrons.crystal.orbital_atoms
    structure = electrons.structure
    members = np.ones(len(atoms), dtype=bool)
    name = who
    if who.isdigit():
        members &= atoms == int(who)
        name = f"{structure.symbols[int(who)]}{who}" if int(who) < structure.n_atoms else who
    elif who:
        members &= np.array(structure.symbols)[atoms] == who
    if not text or text == ":" or not members.any():
        raise ConfigError(
            f"the orbitals {text!r}",
            expected=f"an element of {', '.join(sorted(set(structure.symbols)))} or an atom from 0 to "
            f"{structure.n_atoms - 1}, then optionally a colon and a shell or orbital",
            suggestion="for instance 'B:p', 'N', ':d' or '0:pz'",
        )
    if what:
        ls, shapes = _shells(electrons)
        letters = np.array([LETTERS[l] for l in ls])
        members = members & ((letters == what) | (shapes == what))
        if not members.any():
            known = sorted({*letters.tolist(), *shapes.tolist()})
            raise ConfigError(
                f"the orbitals {text!r}", expected=f"one of {', '.join(known)}", suggestion=nearest(what, known)
            )
    return OrbitalGroup(f"{name} {what}".strip(), members)


def _shells(electrons: CrystalElectrons) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.str_]]:
    """(n_orb,) angular momentum and (n_orb,) name of each orbital."""
    basis = electrons.basis
    if basis is None:
        raise BasisError(
            "a Hamiltonian in a basis whose shells are not named",
            expected="the angular momentum of each orbital",
            suggestion="project on elements or atoms, or import the file with its basis",
        )
    sequence = basis.shell_sequence(electrons.structure.atomic_numbers)
    ls = np.array([l for l in sequence for _ in range(2 * l + 1)], dtype=np.int64)
    shapes = np.array([shape for l in sequence for shape in SHAPES[l]])
    return ls, shapes
