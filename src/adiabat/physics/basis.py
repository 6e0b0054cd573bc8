"""Gaussian basis sets: which shells an element has, and the exact overlap of any structure.

Since S(R) follows from the basis and the positions alone, it is computed and never learned.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols
from pyscf import gto
from pyscf.lib.exceptions import BasisNotFoundError

from adiabat.core.errors import BasisError, StructureError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis, reorder_matrix
from adiabat.core.units import BOHR
from adiabat.data.structure import Structure
from adiabat.physics.geometry import refuse_overlapping_atoms

L_MAX: Final = 3
"""Highest shell (f) for which the orbital conventions are proven on real calculations."""


def pyscf_molecule(structure: Structure, basis: str) -> gto.Mole:
    """PySCF's molecule for a structure, positions handed over in Bohr by our own factor.

    Raises:
        StructureError: periodic, atoms at one place, or charge and spin that no electron count allows.
        BasisError: the basis is unknown, lacks an element, needs an effective core potential, or reaches beyond f.
    """
    _check_molecule(structure)
    orbital_basis([structure], basis)
    return gto.M(
        atom=list(zip(structure.symbols, structure.positions / BOHR, strict=True)),
        unit="Bohr",
        basis=basis,
        charge=structure.charge,
        spin=structure.spin,
        cart=False,
        verbose=0,
    )


def _check_molecule(structure: Structure) -> None:
    if structure.pbc.any():
        raise StructureError(
            f"a structure periodic along {int(structure.pbc.sum())} directions",
            expected="a molecule: no periodic direction",
            suggestion="if the cell is only a box of vacuum, drop it (adiabat label --molecule)",
        )
    refuse_overlapping_atoms(structure)
    n_electrons, spin = structure.n_electrons, structure.spin
    if n_electrons < 1 or not 0 <= spin <= n_electrons or (n_electrons - spin) % 2:
        raise StructureError(
            f"{structure.formula} with {n_electrons} electrons (charge {structure.charge}), {spin} of them unpaired",
            expected="electrons of both spins in whole numbers: an odd count needs an odd number of unpaired ones",
            suggestion="set charge and spin (number of unpaired electrons) in the file, or with --charge and --spin",
        )


def orbital_basis(atoms: Iterable[Structure] | Iterable[int], basis: str) -> OrbitalBasis:
    """Shells of every element that occurs.

    Args:
        atoms: structures, or atomic numbers.
        basis: name that PySCF knows, for instance ``def2-svp``.

    Raises:
        BasisError: the basis is unknown, lacks an element, needs an effective core potential, or reaches beyond f.
    """
    elements: set[int] = set()
    for item in atoms:
        elements |= set(item.atomic_numbers.tolist()) if isinstance(item, Structure) else {int(item)}
    return OrbitalBasis(basis, {z: element_shells(z, basis) for z in sorted(elements)})


@lru_cache(maxsize=1024)
def element_shells(atomic_number: int, basis: str) -> tuple[int, ...]:
    """Angular momenta of one element's shells in PySCF's order, contractions expanded.

    Raises:
        BasisError: see :func:`orbital_basis`.
    """
    symbol = chemical_symbols[atomic_number]
    try:
        loaded = gto.basis.load(basis, symbol)
        potential = gto.basis.load_ecp(basis, symbol)
    except (BasisNotFoundError, KeyError) as error:
        raise BasisError(
            f"basis {basis!r} for {symbol}",
            expected="a basis that PySCF knows and that covers every element",
            suggestion="check the spelling (def2-svp, 6-31g*, cc-pvdz) and that the set reaches up to this element",
        ) from error
    if potential:
        raise BasisError(
            f"{symbol} in basis {basis!r}, which replaces its core by an effective potential",
            expected="all-electron elements (up to Kr in the def2 family)",
            suggestion="use an all-electron basis such as x2c-svpall or sarc-dkh2 for heavy elements",
        )
    atom = gto.M(atom=[(symbol, (0.0, 0.0, 0.0))], basis={symbol: loaded}, spin=atomic_number % 2, verbose=0)
    return molecule_shells(atom)


def molecule_shells(molecule: gto.Mole) -> tuple[int, ...]:
    """Angular momenta of all shells of a PySCF molecule, atom by atom, contractions expanded.

    Raises:
        BasisError: Cartesian d or f shells, or shells beyond f.
    """
    angular_momenta = [int(molecule.bas_angular(shell)) for shell in range(molecule.nbas)]
    if molecule.cart and max(angular_momenta) > 1:
        raise BasisError(
            f"Cartesian {'spdfgh'[max(angular_momenta)]} shells (PySCF's mol.cart is set)",
            expected="spherical shells, whose rotation is a Wigner D matrix",
            suggestion="recompute with mol.cart = False",
        )
    if max(angular_momenta) > L_MAX:
        raise BasisError(
            f"a basis with {'spdfghi'[max(angular_momenta)]} shells (l = {max(angular_momenta)})",
            expected=f"shells up to f (l = {L_MAX}), for which the orbital order is proven",
            suggestion="use a basis without g functions, such as def2-TZVP instead of def2-QZVP",
        )
    return tuple(l for shell, l in enumerate(angular_momenta) for _copy in range(int(molecule.bas_nctr(shell))))


def operator_from_pyscf(matrix: npt.NDArray[np.float64], structure: Structure, basis: OrbitalBasis) -> BlockOperator:
    """All-pairs operator in our orbital order from PySCF's dense matrix (n_orb, n_orb), in any unit."""
    ours = reorder_matrix(np.asarray(matrix), "pyscf", basis.shell_sequence(structure.atomic_numbers))
    return BlockOperator.from_dense(ours, basis.n_orbitals(structure.atomic_numbers))


def overlap(structure: Structure, basis: str) -> BlockOperator:
    """Exact overlap S of a molecule, all pairs.

    Raises:
        StructureError, BasisError: see :func:`pyscf_molecule`.
    """
    matrix = pyscf_molecule(structure, basis).intor_symmetric("int1e_ovlp")
    return operator_from_pyscf(matrix, structure, orbital_basis([structure], basis))
