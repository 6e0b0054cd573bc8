"""The orbital order of a file, proven by the file itself: an overlap is unchanged by rotation about its bond.

The overlap of two atoms' orbitals knows one direction only, that of the bond v. With the generators L_v of rotations
about v, in our real harmonics, each two-centre block therefore obeys

    L_v S_ij − S_ij L_v = 0

A wrong order of m, a wrong sign within a shell or a wrong order of shells breaks it. Only the sign of a whole shell
stays open, which is a choice that bands do not see. Source: [slater1954].
"""

from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.linalg import block_diag

from adiabat.core.errors import BasisError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.hamiltonian_formats.images import block_norms
from adiabat.data.structure import Structure

Array = npt.NDArray[np.float64]

_TOLERANCE: Final = 1e-3
"""Share of the largest element; grids and print leave 1e-6, a wrong order or sign 1."""

_MAX_PAIRS: Final = 60


def check_axial_symmetry(overlap: BlockOperator, structure: Structure, basis: OrbitalBasis, place: str) -> str:
    """Check the bonds with the largest overlaps; returns a sentence with the number.

    Args:
        overlap: S in our order.
        structure: where its atoms are.
        basis: its shells.
        place: file, for the message.

    Raises:
        BasisError: S is not symmetric about the bonds in our order of orbitals.
    """
    error, n_bonds, pair = axial_asymmetry(overlap, structure, basis)
    if n_bonds == 0:
        return "orbital order: no two atoms overlap, so S cannot prove it"
    if error > _TOLERANCE:
        raise BasisError(
            f"{place}: an overlap between atoms {pair[3]} and {pair[4]} (cell {pair[:3]}) that changes by {error:.0%} "
            "of its largest element when the orbitals turn about the bond",
            expected="atomic orbitals in the order and signs of the format's code, of which S is symmetric about bonds",
            suggestion="name the right --format; give the structure of this calculation; check the order of the shells",
        )
    return f"orbital order: S is symmetric about {n_bonds} bonds to {error:.1e} of its largest element"


def axial_asymmetry(
    overlap: BlockOperator, structure: Structure, basis: OrbitalBasis
) -> tuple[float, int, tuple[int, ...]]:
    """Largest |L_v S − S L_v| over the bonds, as a share of the block's largest element; how many bonds; the worst."""
    norms = block_norms(overlap)
    i, j = overlap.pairs[:, 3], overlap.pairs[:, 4]
    vectors = structure.positions[j] + overlap.pairs[:, :3] @ structure.cell - structure.positions[i]
    lengths = np.linalg.norm(vectors, axis=1)
    generators = {int(z): _about_axes(basis.of(z)) for z in np.unique(structure.atomic_numbers)}
    bonds = np.flatnonzero((lengths > 1e-3) & (norms > 1e-3))
    bonds = bonds[np.argsort(-norms[bonds], kind="stable")[:_MAX_PAIRS]]
    worst, at = 0.0, (0, 0, 0, 0, 0)
    for row in bonds:
        direction = vectors[row] / lengths[row]
        block: npt.NDArray[Any] = overlap.block(int(row))
        left, right = (
            np.tensordot(direction, generators[int(structure.atomic_numbers[atom])], axes=1)
            for atom in (i[row], j[row])
        )
        error = float(np.abs(left @ block - block @ right).max() / np.abs(block).max())
        if error > worst:
            worst, at = error, tuple(overlap.pairs[row].tolist())
    return worst, len(bonds), at


def _about_axes(shells: tuple[int, ...]) -> Array:
    """Generators for all orbitals of an atom, (3, n_orb, n_orb)."""
    axes = [np.asarray(block_diag(*(_generators(l)[axis] for l in shells)), dtype=np.float64) for axis in range(3)]
    return np.stack(axes)


@cache
def _generators(l: int) -> Array:
    """(3, 2l + 1, 2l + 1) real antisymmetric generators of rotations about x, y, z, for our real harmonics."""
    m = np.arange(-l, l + 1)
    raising = np.diag(np.sqrt(l * (l + 1.0) - m[:-1] * (m[:-1] + 1)), -1)
    about = np.stack([(raising + raising.T) / 2, (raising - raising.T) / 2j, np.diag(m).astype(np.complex128)])
    real = np.zeros((2 * l + 1, 2 * l + 1), dtype=np.complex128)
    real[l, l] = 1
    for k in range(1, l + 1):
        sign = (-1) ** k
        real[l + k, [l + k, l - k]] = sign / np.sqrt(2), 1 / np.sqrt(2)
        real[l - k, [l + k, l - k]] = -1j * sign / np.sqrt(2), 1j / np.sqrt(2)
    return np.real(-1j * (real.conj() @ about @ real.T))
