"""Real Clebsch–Gordan coefficients, and the change of basis from a pair of shells to irreps.

The coefficients are those of Racah's closed sum for complex harmonics, carried in exact rational arithmetic, turned
to the real harmonics of this package. Even l1 + l2 + l3 comes out real, odd comes out imaginary and is divided by i.
"""

from fractions import Fraction
from functools import cache
from math import factorial, sqrt

import numpy as np
import torch
from jaxtyping import Complex128, Float64
from torch import Tensor


def clebsch_gordan(l1: int, l2: int, l3: int) -> Float64[Tensor, "m1 m2 m3"]:
    """Coefficients that couple l1 and l2 to l3: w[m3] = Σ C[m1, m2, m3] u[m1] v[m2] rotates as l3.

    They are orthonormal, Σ_{m1 m2} C[m1, m2, m3] C[m1, m2, m3'] = δ. Under inversion w has parity
    (−1)^(l1 + l2), which is natural for l3 only if l1 + l2 + l3 is even.

    Args:
        l1: first angular momentum.
        l2: second angular momentum.
        l3: coupled angular momentum, |l1 − l2| ≤ l3 ≤ l1 + l2.

    Returns:
        float64 tensor (2 l1 + 1, 2 l2 + 1, 2 l3 + 1), the caller's own copy.

    Raises:
        ValueError: the three do not form a triangle.

    Source: [edmonds1957] eq. 3.6.10.
    """
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"l3 = {l3} is not among |l1 - l2| ... l1 + l2 = {abs(l1 - l2)} ... {l1 + l2}")
    return _real_coefficients(l1, l2, l3).clone()


def shell_pair_to_irreps(l1: int, l2: int) -> tuple[Float64[Tensor, "pair irreps"], list[int]]:
    """Orthogonal change of basis from the products of two shells to the irreps L = |l1 − l2| … l1 + l2.

    A block h of shape (2 l1 + 1, 2 l2 + 1) has the irreps ``h.flatten() @ basis``, and ``basis @ irreps``
    gives the block back. Because the basis is orthogonal, Σ h² = Σ irreps².

    Args:
        l1: angular momentum of the rows.
        l2: angular momentum of the columns.

    Returns:
        basis of shape ((2 l1 + 1)(2 l2 + 1), Σ_L (2 L + 1)), float64, and the list of L in order.
    """
    ls = list(range(abs(l1 - l2), l1 + l2 + 1))
    return torch.cat([clebsch_gordan(l1, l2, l).flatten(0, 1) for l in ls], dim=1), ls


@cache
def _real_coefficients(l1: int, l2: int, l3: int) -> Float64[Tensor, "m1 m2 m3"]:
    complex_cg = torch.zeros(2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1, dtype=torch.complex128)
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            complex_cg[l1 + m1, l2 + m2, l3 + m1 + m2] = _racah(l1, m1, l2, m2, l3)
    turned = torch.einsum(
        "am,bn,cp,mnp->abc", _real_from_complex(l1), _real_from_complex(l2), _real_from_complex(l3).conj(), complex_cg
    )
    return (turned.imag if (l1 + l2 + l3) % 2 else turned.real).contiguous()


def _real_from_complex(l: int) -> Complex128[Tensor, "m mu"]:
    """Unitary U with Y_real = U Y_complex; the Condon–Shortley phase of the complex ones is undone."""
    unitary = np.zeros((2 * l + 1, 2 * l + 1), dtype=np.complex128)
    unitary[l, l] = 1
    for m in range(1, l + 1):
        unitary[l + m, l + m] = (-1) ** m / sqrt(2)
        unitary[l + m, l - m] = 1 / sqrt(2)
        unitary[l - m, l + m] = -1j * (-1) ** m / sqrt(2)
        unitary[l - m, l - m] = 1j / sqrt(2)
    return torch.from_numpy(unitary)


def _racah(l1: int, m1: int, l2: int, m2: int, l3: int) -> float:
    """⟨l1 m1 l2 m2 | l3 m1+m2⟩ for complex harmonics; rounded only in the last square root and product."""
    m3 = m1 + m2
    squared = Fraction(
        (2 * l3 + 1) * factorial(l3 + l1 - l2) * factorial(l3 - l1 + l2) * factorial(l1 + l2 - l3),
        factorial(l1 + l2 + l3 + 1),
    ) * (
        factorial(l3 + m3) * factorial(l3 - m3)
        * factorial(l1 - m1) * factorial(l1 + m1)
        * factorial(l2 - m2) * factorial(l2 + m2)
    )  # fmt: skip
    total = Fraction(0)
    for k in range(max(0, l2 - l3 - m1, l1 - l3 + m2), min(l1 + l2 - l3, l1 - m1, l2 + m2) + 1):
        total += Fraction(
            (-1) ** k,
            factorial(k) * factorial(l1 + l2 - l3 - k) * factorial(l1 - m1 - k) * factorial(l2 + m2 - k)
            * factorial(l3 - l2 + m1 + k) * factorial(l3 - l1 - m2 + k),
        )  # fmt: skip
    return float(total) * sqrt(squared)
