"""A block of an operator in the frame of its bond, decomposed under turns about the bond.

In that frame the element ⟨l1 m1│O│l2 m2⟩ of a pair of shells couples angular momenta m1 and m2 about the bond to
M = │m1│ ± │m2│. The coefficients with M = 0 are the σ, π, δ, … integrals of Slater and Koster; those with M > 0
come as a (cos, sin) pair and tell how the surroundings break the bond's axial symmetry.

Source: [slater1954].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class BondBlockBasis:
    """Orthogonal change of basis between a block in the bond's frame and its coefficients.

    Coefficients stand in this order: M = 0 (even under reflection), M = 0 (odd, there only beyond local potentials),
    then for M = 1, 2, … all cosines and all sines.

    Attributes:
        matrix: (n_coefficients, n_orb · n_orb), orthogonal: block = coefficients @ matrix.
        n_even: number of even M = 0 coefficients.
        n_odd: number of odd M = 0 coefficients.
        n_pairs: number of (cos, sin) pairs of M = 1, 2, ….
    """

    matrix: Tensor
    n_even: int
    n_odd: int
    n_pairs: tuple[int, ...]


def bond_block_basis(shells: Sequence[int]) -> BondBlockBasis:
    """The basis of (n_orb, n_orb) blocks over the given shells, n_orb = Σ (2l + 1); float64."""
    orbitals = [(shell, m) for shell, l in enumerate(shells) for m in range(-l, l + 1)]
    place = {orbital: index for index, orbital in enumerate(orbitals)}
    n_orb = len(orbitals)
    even: list[Tensor] = []
    odd: list[Tensor] = []
    pairs: dict[int, list[tuple[Tensor, Tensor]]] = {m: [] for m in range(1, 2 * max(shells) + 1)}

    def element(a: int, m1: int, b: int, m2: int) -> Tensor:
        row = torch.zeros(n_orb, n_orb, dtype=torch.float64)
        row[place[a, m1], place[b, m2]] = 1
        return row.flatten()

    for a, l1 in enumerate(shells):
        for b, l2 in enumerate(shells):
            for p in range(l1 + 1):
                for q in range(l2 + 1):
                    if p == q == 0:
                        even.append(element(a, 0, b, 0))
                    elif p == 0 or q == 0:
                        pairs[p + q].append((element(a, p, b, q), element(a, -p, b, -q)))
                    else:
                        cc, ss = element(a, p, b, q), element(a, -p, b, -q)
                        sc, cs = element(a, -p, b, q), element(a, p, b, -q)
                        pairs[p + q].append(((cc - ss) / sqrt(2), (sc + cs) / sqrt(2)))
                        if p == q:
                            even.append((cc + ss) / sqrt(2))
                            odd.append((sc - cs) / sqrt(2))
                        else:
                            sign = 1 if p > q else -1
                            pairs[abs(p - q)].append(((cc + ss) / sqrt(2), sign * (sc - cs) / sqrt(2)))
    rows = even + odd + [part for m in pairs for side in (0, 1) for part in (pair[side] for pair in pairs[m])]
    return BondBlockBasis(torch.stack(rows), len(even), len(odd), tuple(len(pairs[m]) for m in pairs))
