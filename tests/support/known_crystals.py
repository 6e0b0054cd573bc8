"""Crystals whose electronic structure is known in closed form, and changes of basis that must not change it."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from adiabat.core.operators import BlockOperator
from adiabat.electronic.crystal import Crystal, crystal_from_matrices
from adiabat.electronic.position import PositionOperator

Image = tuple[int, int, int]
Matrices = Mapping[Image, npt.NDArray[np.complex128]]

BOND = 1.42
"""Å between neighbors of graphene."""

GRAPHENE_CELL = BOND * np.array([[1.5, np.sqrt(3) / 2, 0], [1.5, -np.sqrt(3) / 2, 0], [0, 0, 0]])
GRAPHENE_PLACES = np.array([[0.0, 0, 0], [BOND, 0, 0]])
K_POINT = np.array([[1 / 3, -1 / 3, 0.0]])
PLANE = (True, True, False)


def chain(hopping: float = -1.0, overlap: float = 0.0, onsite: float = 0.0, n_electrons: float = 1.0) -> Crystal:
    """One s orbital in a cell of 2 Å: ε(k) = (ε₀ + 2t cos ka) / (1 + 2s cos ka)."""
    return crystal_from_matrices(
        [(0, 0, 0), (1, 0, 0)],
        [[[onsite]], [[hopping]]],
        np.diag([2.0, 0, 0]),
        n_electrons,
        overlaps=[[[1.0]], [[overlap]]],
        periodic=(True, False, False),
    )


def cubic(hopping: float = -1.0, n_electrons: float = 1.0, edge: float = 3.0) -> Crystal:
    """One s orbital in a cube: ε = 2t Σ cos k_a a."""
    images = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    return crystal_from_matrices(images, [[[0.0]], *[[[hopping]]] * 3], edge * np.eye(3), n_electrons)


def graphene(hopping: float = -2.7, mass: float = 0.0, overlap: float = 0.0, next_hopping: complex = 0.0) -> Crystal:
    """Honeycomb of one orbital an atom, ±mass on the two, and Haldane's complex hopping to second neighbors."""
    matrices = graphene_matrices(hopping, mass, next_hopping)
    overlaps = {**graphene_matrices(overlap, 0.0, 0.0), (0, 0, 0): np.array([[1, overlap], [overlap, 1]])}
    images = list(matrices)
    return crystal_from_matrices(
        images,
        [matrices[image] for image in images],
        GRAPHENE_CELL,
        2.0,
        overlaps=[overlaps[image] for image in images],
        periodic=PLANE,
    )


def graphene_matrices(hopping: float, mass: float, next_hopping: complex) -> dict[Image, npt.NDArray[np.complex128]]:
    """H(R) of :func:`graphene`, both directions."""
    home = np.array([[mass, hopping], [hopping, -mass]], dtype=complex)
    matrices: dict[Image, npt.NDArray[np.complex128]] = {(0, 0, 0): home}
    # A at the origin and B at (bond, 0): B of the cells −a1 and −a2 are the other neighbors of A.
    for image in [(-1, 0, 0), (0, -1, 0)]:
        matrices[image] = np.array([[0, hopping], [0, 0]], dtype=complex)
        reverse = (-image[0], -image[1], 0)
        matrices[reverse] = matrices[image].T.copy()
    # Three second neighbors reached by turning the same way; on the other sublattice the turn is the opposite one.
    for image in [(1, 0, 0), (0, -1, 0), (-1, 1, 0)]:
        matrix = matrices.setdefault(image, np.zeros((2, 2), dtype=complex))
        matrix += np.diag([next_hopping, np.conj(next_hopping)])
        reverse = (-image[0], -image[1], 0)
        matrices.setdefault(reverse, np.zeros((2, 2), dtype=complex))
        matrices[reverse] += np.diag([np.conj(next_hopping), next_hopping])
    return matrices


def random_matrices(n_orb: int, seed: int, dimension: int = 2) -> dict[Image, npt.NDArray[np.complex128]]:
    """Hermitian H(R) to first neighbors, complex, with bands a few eV apart."""
    rng = np.random.default_rng(seed)
    home = np.diag(3.0 * np.arange(n_orb)).astype(complex) + 0.3 * _complex(rng, n_orb)
    matrices: dict[Image, npt.NDArray[np.complex128]] = {(0, 0, 0): (home + home.conj().T) / 2}
    for axis in range(dimension):
        image = tuple(int(axis == a) for a in range(3))
        hop = 0.3 * _complex(rng, n_orb)
        matrices[(image[0], image[1], image[2])] = hop
        matrices[(-image[0], -image[1], -image[2])] = hop.conj().T
    return matrices


def random_change(n_orb: int, seed: int) -> dict[Image, npt.NDArray[np.complex128]]:
    """L(R): new orbitals with tails in the neighboring cells, and far from orthogonal."""
    rng = np.random.default_rng(seed)
    change = {(0, 0, 0): np.eye(n_orb) + 0.15 * _complex(rng, n_orb)}
    for image in [(1, 0, 0), (0, -1, 0)]:
        change[image] = 0.1 * _complex(rng, n_orb)
    return change


def convolve(left: Matrices, right: Matrices) -> dict[Image, npt.NDArray[np.complex128]]:
    """Σ_R' A(R′) B(R − R′), the product in k."""
    total: dict[Image, npt.NDArray[np.complex128]] = {}
    for a, left_matrix in left.items():
        for b, right_matrix in right.items():
            image = (a[0] + b[0], a[1] + b[1], a[2] + b[2])
            total[image] = total.get(image, 0) + left_matrix @ right_matrix
    return total


def adjoint(matrices: Matrices) -> dict[Image, npt.NDArray[np.complex128]]:
    """A(−R)†."""
    return {(-x, -y, -z): matrix.conj().T for (x, y, z), matrix in matrices.items()}


def changed_basis(
    hamiltonian: Matrices, centres: npt.NDArray[np.float64], change: Matrices, cell: npt.NDArray[np.float64]
) -> tuple[Crystal, PositionOperator]:
    """L H L†, S = L L† and r of the new orbitals, for orthonormal old ones with r diagonal."""
    back = adjoint(change)
    h = convolve(convolve(change, hamiltonian), back)
    s = convolve(change, back)
    crystal = as_crystal(h, s, cell)
    parts = []
    for axis in range(3):
        # ⟨0μ′|r|Rν′⟩ = Σ L(R1) (r + R1) L(R2)†, the old orbitals being in the cells R1 and R + R2.
        moved = {
            image: matrix @ np.diag(centres[:, axis]) + (np.array(image) @ cell)[axis] * matrix
            for image, matrix in change.items()
        }
        parts.append(as_operator(convolve(moved, back), crystal.overlap.pairs, len(centres)))
    return crystal, PositionOperator.from_matrix_elements(crystal, parts)


def as_crystal(hamiltonian: Matrices, overlap: Matrices, cell: npt.NDArray[np.float64]) -> Crystal:
    """A plane of two electrons."""
    images, n_orb = list(hamiltonian), len(next(iter(hamiltonian.values())))
    zero = np.zeros((n_orb, n_orb))
    return crystal_from_matrices(
        images,
        [hamiltonian[image] for image in images],
        cell,
        2.0,
        overlaps=[overlap.get(image, zero) for image in images],
        periodic=PLANE,
    )


def as_operator(matrices: Matrices, pairs: npt.NDArray[np.int64], n_orb: int) -> BlockOperator:
    """One orbital an atom, on given pairs."""
    zero = np.zeros((n_orb, n_orb))
    blocks = [matrices.get((x, y, z), zero)[i : i + 1, j : j + 1] for x, y, z, i, j in pairs.tolist()]
    return BlockOperator.from_blocks(pairs, blocks, np.ones(n_orb, dtype=np.int64))


def spin_orbit_crystal(seed: int = 1, exchange: float = 0.0, n_orb: int = 2) -> Crystal:
    """Spinors with random hopping and spin–orbit coupling that respect time reversal unless there is an exchange.

    Time reversal ties ↓↓ to ↑↑* and ↓↑ to −↑↓*.
    """
    rng = np.random.default_rng(seed)
    images = [(0, 0, 0), (1, 0, 0), (0, 1, 0)]
    blocks = []
    for image in images:
        uu, ud = _complex(rng, n_orb), 0.5 * _complex(rng, n_orb)
        if image == (0, 0, 0):
            uu, ud = (uu + uu.conj().T) / 2, (ud - ud.T) / 2
        block = np.stack([uu, ud, -ud.conj(), uu.conj()])
        if image == (0, 0, 0):
            block[0] += exchange * np.eye(n_orb)
            block[3] -= exchange * np.eye(n_orb)
        blocks.append(block)
    overlaps = [np.eye(n_orb), 0.1 * np.eye(n_orb), 0.05 * np.eye(n_orb)]
    return crystal_from_matrices(images, blocks, 2.5 * np.eye(3), 2.0, overlaps=overlaps, periodic=PLANE, spin="spinor")


def _complex(rng: np.random.Generator, n: int) -> npt.NDArray[np.complex128]:
    return rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
