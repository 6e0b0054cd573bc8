"""A block of an operator in the frame of its bond, decomposed under turns about the bond.

In that frame the element ⟨l1 m1│O│l2 m2⟩ of a pair of shells couples angular momenta m1 and m2 about the bond to
M = │m1│ ± │m2│. The coefficients with M = 0 are the σ, π, δ, … integrals of Slater and Koster; those with M > 0
come as a (cos, sin) pair and tell how the surroundings break the bond's axial symmetry. Spin–orbit coupling adds three
blocks that turn, with the spin, as an axial vector: they are one more factor of the product.

Source: [slater1954].
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from adiabat.core.operators import Spin


@dataclass(frozen=True, eq=False)
class BondBlockBasis:
    """Orthogonal change of basis between a block in the bond's frame and its coefficients.

    Coefficients stand in this order: M = 0 (even under reflection), M = 0 (odd, there only beyond local potentials),
    then for M = 1, 2, … all cosines and all sines.

    Attributes:
        matrix: (n_coefficients, n_components · n_orb · n_orb), orthogonal: block = coefficients @ matrix.
        n_even: number of even M = 0 coefficients.
        n_odd: number of odd M = 0 coefficients.
        n_pairs: number of (cos, sin) pairs of M = 1, 2, ….
    """

    matrix: Tensor
    n_even: int
    n_odd: int
    n_pairs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _AxialIrrep:
    """A function about the bond: one row that is even or odd under reflection (M = 0), or a cosine and a sine."""

    m: int
    rows: tuple[Tensor, ...]
    odd: bool = False


def bond_block_basis(shells: Sequence[int], spin: Spin = "none") -> BondBlockBasis:
    """The basis of (n_orb, n_orb) blocks over the given shells, n_orb = Σ (2l + 1); float64.

    With collinear spin there are two blocks, ↑ and ↓. With spinors there are four real ones: the scalar H₀, and
    A = (A_y, A_z, A_x) of H = H₀ + i Σ A σ, an axial vector.
    """
    orbital_count = [2 * l + 1 for l in shells]
    starts = [sum(orbital_count[:k]) for k in range(len(shells))]
    n_orb = sum(orbital_count)
    n_components = {"none": 1, "collinear": 2, "spinor": 4}[spin]
    scalar_components = 2 if spin == "collinear" else 1
    even: list[Tensor] = []
    odd: list[Tensor] = []
    pairs: dict[int, list[tuple[Tensor, ...]]] = {
        m: [] for m in range(1, 2 * max(shells) + 1 + (1 if spin == "spinor" else 0))
    }

    def add(irreps: Iterator[_AxialIrrep], a: int, b: int, first_component: int, n_own: int) -> None:
        for irrep in irreps:
            placed: list[Tensor] = []
            for row in irrep.rows:
                full = torch.zeros(n_components, n_orb, n_orb, dtype=torch.float64)
                part = row.view(orbital_count[a], orbital_count[b], n_own).permute(2, 0, 1)
                rows = slice(starts[a], starts[a] + orbital_count[a])
                columns = slice(starts[b], starts[b] + orbital_count[b])
                full[first_component : first_component + n_own, rows, columns] = part
                placed.append(full.flatten())
            if irrep.m:
                pairs[irrep.m].append(tuple(placed))
            else:
                (odd if irrep.odd else even).append(placed[0])

    for component in range(scalar_components):
        for a, l1 in enumerate(shells):
            for b, l2 in enumerate(shells):
                add(_products(_shell(l1), _shell(l2)), a, b, component, 1)
    if spin == "spinor":
        for a, l1 in enumerate(shells):
            for b, l2 in enumerate(shells):
                add(_products(list(_products(_shell(l1), _shell(l2))), _axial_vector()), a, b, 1, 3)
    rows = even + odd + [part for m in pairs for side in (0, 1) for part in (pair[side] for pair in pairs[m])]
    return BondBlockBasis(torch.stack(rows), len(even), len(odd), tuple(len(pairs[m]) for m in pairs))


def _shell(l: int) -> list[_AxialIrrep]:
    """The harmonics of one shell about the bond."""
    unit = torch.eye(2 * l + 1, dtype=torch.float64)
    return [_AxialIrrep(0, (unit[l],)), *(_AxialIrrep(m, (unit[l + m], unit[l - m])) for m in range(1, l + 1))]


def _axial_vector() -> list[_AxialIrrep]:
    """An axial vector (a_y, a_z, a_x): a mirror that holds the bond changes the sign of a_z and of what lies in it."""
    y, z, x = torch.eye(3, dtype=torch.float64)
    return [_AxialIrrep(0, (z,), odd=True), _AxialIrrep(1, (y, -x))]


def _products(left: Sequence[_AxialIrrep], right: Sequence[_AxialIrrep]) -> Iterator[_AxialIrrep]:
    """All irreps of the product space, whose rows are Kronecker products."""
    for u in left:
        for v in right:
            if u.m == v.m == 0:
                yield _AxialIrrep(0, (torch.kron(u.rows[0], v.rows[0]),), odd=u.odd != v.odd)
            elif u.m == 0 or v.m == 0:
                c, s = (torch.kron(u.rows[k % len(u.rows)], v.rows[k % len(v.rows)]) for k in (0, 1))
                yield _AxialIrrep(max(u.m, v.m), (-s, c) if u.odd or v.odd else (c, s))
            else:
                cc, ss = torch.kron(u.rows[0], v.rows[0]), torch.kron(u.rows[1], v.rows[1])
                sc, cs = torch.kron(u.rows[1], v.rows[0]), torch.kron(u.rows[0], v.rows[1])
                yield _AxialIrrep(u.m + v.m, ((cc - ss) / sqrt(2), (sc + cs) / sqrt(2)))
                if u.m == v.m:
                    yield _AxialIrrep(0, ((cc + ss) / sqrt(2),))
                    yield _AxialIrrep(0, ((sc - cs) / sqrt(2),), odd=True)
                else:
                    sign = 1 if u.m > v.m else -1
                    yield _AxialIrrep(abs(u.m - v.m), ((cc + ss) / sqrt(2), sign * (sc - cs) / sqrt(2)))
