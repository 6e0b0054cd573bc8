"""What a file of another code says about a crystal's electrons, in our conventions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import BasisError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.structure import Structure


@dataclass(frozen=True, eq=False)
class OwnEigenvalues:
    """Eigenvalues that the code itself printed: what H and S must give back.

    Attributes:
        k_frac: (n_k, 3) fractions of the reciprocal lattice.
        energies: (n_spins, n_k, n_bands) eV, the lowest bands, ascending; one spin unless H is collinear.
        source: where they stand.
    """

    k_frac: npt.NDArray[np.float64]
    energies: npt.NDArray[np.float64]
    source: str


@dataclass(frozen=True, eq=False)
class Crystal:
    """Structure, H and S of one calculation.

    Attributes:
        structure: nuclei and cell.
        basis: shells of each element, and valence electrons where the file tells them.
        hamiltonian: eV, our orbital order.
        overlap: no spin, the pairs of H.
        code: which code computed it; its name in the command line.
        code_version: as the file says, or empty.
        energy: total energy [eV], if the file has it.
        fermi_level: eV, if the file has it.
        n_electrons: electrons in the bands, if the file has it.
        eigenvalues: the code's own, if the files have them.
        notes: one sentence each on what was decided while reading.
    """

    structure: Structure
    basis: OrbitalBasis
    hamiltonian: BlockOperator
    overlap: BlockOperator
    code: str
    code_version: str = ""
    energy: float | None = None
    fermi_level: float | None = None
    n_electrons: float | None = None
    eigenvalues: OwnEigenvalues | None = None
    notes: tuple[str, ...] = ()


def basis_of_atoms(
    name: str, symbols: list[str], numbers: npt.NDArray[np.int64], shells: list[list[int]]
) -> OrbitalBasis:
    """Basis by element from the shells of each atom.

    Args:
        name: of the basis.
        symbols: of each atom, for the message.
        numbers: (n_atoms,) atomic numbers.
        shells: for each atom the l of its shells.

    Raises:
        BasisError: two atoms of one element with different shells, or an atom without any.
    """
    first: dict[int, int] = {}
    for atom, number in enumerate(numbers.tolist()):
        other = first.setdefault(number, atom)
        if shells[other] != shells[atom]:
            raise BasisError(
                f"{symbols[atom]} with shells {shells[other]} on atom {other} and {shells[atom]} on atom {atom}",
                expected="one basis for all atoms of an element",
                suggestion="run the calculation with one basis an element; ghost atoms cannot be read",
            )
        if not shells[atom]:
            raise BasisError(
                f"atom {atom} ({symbols[atom]}) without orbitals",
                expected="one shell or more on each atom",
                suggestion="leave the atom out, or give it orbitals",
            )
    return OrbitalBasis(name, {number: tuple(shells[atom]) for number, atom in sorted(first.items())})


def shell_names(basis: OrbitalBasis, number: int) -> str:
    """Shells as chemists write them: ``2s 2p 1d`` for (0, 0, 1, 1, 2)."""
    shells = basis.of(number)
    return " ".join(f"{shells.count(l)}{'spdf'[l]}" for l in sorted(set(shells)))


def with_valence(basis: OrbitalBasis, valence: Mapping[int, float]) -> OrbitalBasis:
    """The same basis with the electrons that each element brings, added to those it knows.

    Raises:
        BasisError: an element that the basis does not have.
    """
    strangers = sorted(set(valence) - set(basis.shells))
    if strangers:
        raise BasisError(
            f"valence electrons of atomic numbers {strangers}",
            expected=f"elements of the file: {sorted(basis.shells)}",
            suggestion="correct --valence",
        )
    merged: dict[int, float] = {**(basis.valence or {}), **valence}
    return OrbitalBasis(basis.name, basis.shells, merged or None)


def complex_or_real(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Double precision of the same kind."""
    return values.astype(np.complex128 if np.iscomplexobj(values) else np.float64)
