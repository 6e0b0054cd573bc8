"""A crystal as electronic structure sees it: H(R), S(R), the cell, and how many electrons there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import ElectronicError
from adiabat.core.operators import BlockOperator, Spin
from adiabat.electronic.bloch import max_occupation
from adiabat.electronic.eigenproblem import HERMITICITY

_FLAT: Final = 1e-6
"""Length, area or volume [Å, Å², Å³] below which periodic cell vectors are linearly dependent."""


@dataclass(frozen=True)
class Crystal:
    """H(R), S(R), cell and electron count: all that bands, densities of states and gaps follow from.

    Attributes:
        hamiltonian: H [eV], of any spin layout; Hermitian, with both directions of every pair.
        overlap: S, without spin, over the pairs of H.
        cell: (3, 3) lattice vectors in rows [Å]; where it is not periodic, a row may be anything, zero included.
        periodic: (3,) along which lattice vectors the structure repeats.
        n_electrons: electrons of one cell that the orbitals describe (those outside pseudopotentials), both spins
            together.

    Raises:
        ElectronicError: two pair lists, an S with spin, an operator that is not Hermitian, a flat cell, blocks along a
            direction that is not periodic, or more electrons than the orbitals hold.
        LabelError: a pair (R, i, j) without its reverse (−R, j, i).
    """

    hamiltonian: BlockOperator
    overlap: BlockOperator
    cell: npt.NDArray[np.float64]
    periodic: npt.NDArray[np.bool_]
    n_electrons: float

    def __post_init__(self) -> None:
        """Refuse what no electronic structure follows from."""
        object.__setattr__(self, "cell", np.array(self.cell, dtype=np.float64).reshape(3, 3))
        object.__setattr__(self, "periodic", np.array(self.periodic, dtype=bool).reshape(3))
        object.__setattr__(self, "n_electrons", float(self.n_electrons))
        self._check_layout()
        _check_hermitian(self.hamiltonian, "Hamiltonian", " eV")
        _check_hermitian(self.overlap, "overlap", "")
        self._check_cell()
        self._check_electrons()

    @property
    def spin(self) -> Spin:
        """How H treats spin."""
        return self.hamiltonian.spin

    @property
    def n_orb(self) -> int:
        """Number of spatial orbitals in the cell."""
        return int(self.hamiltonian.n_orbitals.sum())

    @property
    def n_basis(self) -> int:
        """Size of H(k): the spatial orbitals, twice for spinors."""
        return self.n_orb * (2 if self.spin == "spinor" else 1)

    @property
    def n_channels(self) -> int:
        """Number of eigenproblems at each k: two for collinear spins, else one."""
        return 2 if self.spin == "collinear" else 1

    @property
    def max_occupation(self) -> int:
        """Electrons that one state holds."""
        return max_occupation(self.spin)

    @property
    def orbital_atoms(self) -> npt.NDArray[np.int64]:
        """(n_orb,) the atom of each spatial orbital."""
        n_orbitals = self.hamiltonian.n_orbitals
        return np.repeat(np.arange(len(n_orbitals)), n_orbitals)

    @property
    def n_periodic(self) -> int:
        """Number of directions in which it repeats."""
        return int(self.periodic.sum())

    @cached_property
    def measure(self) -> float:
        """Length [Å], area [Å²] or volume [Å³] of the cell in one, two or three periodic directions; 1 in none."""
        rows = self.cell[self.periodic]
        return float(np.sqrt(np.linalg.det(rows @ rows.T))) if len(rows) else 1.0

    @cached_property
    def time_reversal_error(self) -> float:
        """Largest element of H that differs from its time reverse, relative to the largest element.

        Without spin, and for each collinear spin, the reverse is H(R)*; for spinors it is σ_y H(R)* σ_y. Where it is
        zero, k and −k have the same energies.
        """
        values = self.hamiltonian.values
        if self.spin == "spinor":
            reverse = np.stack([values[3], -values[2], -values[1], values[0]]).conj()
        else:
            reverse = values.conj()
        scale = float(np.abs(values).max(initial=0.0))
        worst = float(np.abs(values - reverse).max(initial=0.0))
        return max(worst / scale if scale else 0.0, float(np.abs(np.imag(self.overlap.values)).max(initial=0.0)))

    @property
    def has_time_reversal(self) -> bool:
        """Whether k and −k have the same energies by time reversal, so that half of a mesh is enough."""
        return self.time_reversal_error <= HERMITICITY

    def _check_layout(self) -> None:
        h, s = self.hamiltonian, self.overlap
        if s.spin != "none":
            raise ElectronicError(
                f"an overlap of spin layout {s.spin!r}",
                expected="an overlap without spin: one block of spatial orbitals for each pair, shared by all spins",
                suggestion="keep the ↑↑ component, overlap.component(0)",
            )
        if not np.array_equal(h.n_orbitals, s.n_orbitals):
            raise ElectronicError(
                f"H with {h.n_orbitals.sum()} orbitals on {h.n_atoms} atoms and S with {s.n_orbitals.sum()} on "
                f"{s.n_atoms}",
                expected="H and S of one structure in one basis, spatial orbitals counted once whatever the spin",
                suggestion="a spinor H is four spatial components of each block, not a block of twice the size",
            )
        if not np.array_equal(h.pairs, s.pairs):
            raise ElectronicError(
                f"H over {len(h)} atom pairs and S over {len(s)}, in lists that differ",
                expected="one pair list for both",
                suggestion="put both on the union of the two lists with BlockOperator.on_pairs",
            )

    def _check_cell(self) -> None:
        beyond = np.flatnonzero(np.any(self.hamiltonian.pairs[:, :3] * ~self.periodic, axis=1))
        if len(beyond):
            raise ElectronicError(
                f"a block of the pair (R, i, j) = {self.hamiltonian.pairs[beyond[0]].tolist()}",
                expected=f"R = 0 along the directions that are not periodic (periodic: {self.periodic.tolist()})",
                suggestion="declare the direction periodic, or move the atoms into one image of the cell",
            )
        if self.n_periodic and not self.measure > _FLAT:
            raise ElectronicError(
                f"periodic cell vectors {self.cell[self.periodic].tolist()}, which span {self.measure:.3g} "
                f"Å^{self.n_periodic}",
                expected="linearly independent lattice vectors in Å, one in each row",
                suggestion="check the cell, and which directions are periodic",
            )

    def _check_electrons(self) -> None:
        capacity = 2 * self.n_orb
        if not 0 < self.n_electrons <= capacity:
            raise ElectronicError(
                f"{self.n_electrons:g} electrons in a cell with {self.n_orb} orbitals",
                expected=f"more than 0 and at most {capacity}, two in each orbital",
                suggestion="count the electrons outside the pseudopotentials only, of the cell that H describes",
            )


def crystal_from_matrices(
    images: Sequence[Sequence[int]],
    hamiltonians: Sequence[npt.ArrayLike],
    cell: npt.ArrayLike,
    n_electrons: float,
    *,
    overlaps: Sequence[npt.ArrayLike] | None = None,
    periodic: Sequence[bool] = (True, True, True),
    n_orbitals: Sequence[int] | None = None,
    spin: Spin = "none",
) -> Crystal:
    """Crystal from dense matrices H(R), the form of tight-binding models and Wannier functions.

    Args:
        images: R of each matrix; −R may be left out, its matrix is then the adjoint.
        hamiltonians: H(R) [eV]: (n_orb, n_orb), with the spin components in front if there are any.
        cell: (3, 3) lattice vectors in rows [Å].
        n_electrons: in one cell.
        overlaps: S(R) in the same order; orthonormal orbitals if not given.
        periodic: (3,).
        n_orbitals: of each atom; one orbital on each atom if not given.
        spin: layout of the matrices of H.

    Raises:
        ElectronicError: see :class:`Crystal`.
    """
    h = _with_partners(images, hamiltonians, spin)
    n_orb = next(iter(h.values())).shape[-1]
    s = (
        _with_partners(images, overlaps, "none")
        if overlaps is not None
        else {(0, 0, 0): np.eye(n_orb, dtype=np.complex128)}
    )
    counts = np.asarray(n_orbitals if n_orbitals is not None else [1] * n_orb, dtype=np.int64)
    return Crystal(
        _operator(h, list(h), counts, spin),
        _operator(s, list(h), counts, "none"),
        np.asarray(cell, dtype=np.float64),
        np.asarray(periodic, dtype=bool),
        n_electrons,
    )


_Image = tuple[int, int, int]


def _with_partners(
    images: Sequence[Sequence[int]], matrices: Sequence[npt.ArrayLike], spin: Spin
) -> dict[_Image, npt.NDArray[np.complex128]]:
    """H(R) by R; each −R that is not given is the adjoint of R."""
    given = {
        (int(image[0]), int(image[1]), int(image[2])): np.asarray(matrix, dtype=np.complex128)
        for image, matrix in zip(images, matrices, strict=True)
    }
    given.setdefault((0, 0, 0), np.zeros_like(next(iter(given.values()))))
    for (x, y, z), matrix in list(given.items()):
        adjoint = matrix.swapaxes(-1, -2).conj()
        given.setdefault((-x, -y, -z), adjoint[[0, 2, 1, 3]] if spin == "spinor" else adjoint)
    return given


def _operator(
    matrices: dict[_Image, npt.NDArray[np.complex128]],
    images: list[_Image],
    n_orbitals: npt.NDArray[np.int64],
    spin: Spin,
) -> BlockOperator:
    """All atom pairs of the images; real if every matrix is, except for spinors."""
    zero = np.zeros_like(next(iter(matrices.values())))
    is_real = spin != "spinor" and all(not np.any(matrix.imag) for matrix in matrices.values())
    starts = np.concatenate([[0], np.cumsum(n_orbitals)])
    atoms = range(len(n_orbitals))
    pairs, blocks = [], []
    for image in images:
        matrix = matrices.get(image, zero)
        for i in atoms:
            for j in atoms:
                block = matrix[..., starts[i] : starts[i + 1], starts[j] : starts[j + 1]]
                pairs.append((*image, i, j))
                blocks.append(block.real if is_real else block)
    return BlockOperator.from_blocks(np.array(pairs), blocks, n_orbitals, spin)


def _check_hermitian(operator: BlockOperator, name: str, unit: str) -> None:
    worst, index = operator.largest_asymmetry()
    scale = float(np.abs(operator.values).max(initial=0.0))
    # Written so that a value that is not a number is refused too.
    if not worst <= HERMITICITY * scale:
        pair = operator.pairs[index].tolist()
        raise ElectronicError(
            f"a {name} whose block of (R, i, j) = {pair} differs from the adjoint of its reverse by {worst:.3g}{unit}",
            expected=f"O(−R)_ji = O(R)_ij†, to {HERMITICITY:g} of the largest element, {scale:.3g}{unit}",
            suggestion="symmetrize it with BlockOperator.symmetrized() if the difference is noise; else check the "
            "orbital order and the sign of R",
        )
