"""Overlap and dipole integrals of contracted Gaussians in closed form, for many pairs of atoms at once.

A shell is Σ_a c_a N_a r^l Y_lm exp(−a r²). The product of two Gaussians is a Gaussian, and the integral over it
separates into x, y and z; each of the three follows from a recurrence in the powers of the two sides.

Source: [obara1986].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gamma, pi, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.core.units import BOHR

Array = npt.NDArray[np.float64]

_CHUNK: Final = 2**12
"""Pairs of atoms that are held at a time."""

_NEGLIGIBLE: Final = 60.0
"""Exponent of a product of Gaussians beyond which it is dropped: e⁻⁶⁰ = 1e-26."""

_Monomial = tuple[int, int, int]

_HARMONICS: Final[tuple[tuple[dict[_Monomial, float], ...], ...]] = (
    ({(0, 0, 0): sqrt(1 / (4 * pi))},),
    tuple({axis: sqrt(3 / (4 * pi))} for axis in ((0, 1, 0), (0, 0, 1), (1, 0, 0))),
    (
        {(1, 1, 0): sqrt(15 / (4 * pi))},
        {(0, 1, 1): sqrt(15 / (4 * pi))},
        {(0, 0, 2): sqrt(5 / (4 * pi)), (2, 0, 0): -sqrt(5 / (16 * pi)), (0, 2, 0): -sqrt(5 / (16 * pi))},
        {(1, 0, 1): sqrt(15 / (4 * pi))},
        {(2, 0, 0): sqrt(15 / (16 * pi)), (0, 2, 0): -sqrt(15 / (16 * pi))},
    ),
    (
        {(2, 1, 0): 3 * sqrt(35 / (32 * pi)), (0, 3, 0): -sqrt(35 / (32 * pi))},
        {(1, 1, 1): sqrt(105 / (4 * pi))},
        {(0, 1, 2): 4 * sqrt(21 / (32 * pi)), (2, 1, 0): -sqrt(21 / (32 * pi)), (0, 3, 0): -sqrt(21 / (32 * pi))},
        {(0, 0, 3): 2 * sqrt(7 / (16 * pi)), (2, 0, 1): -3 * sqrt(7 / (16 * pi)), (0, 2, 1): -3 * sqrt(7 / (16 * pi))},
        {(1, 0, 2): 4 * sqrt(21 / (32 * pi)), (3, 0, 0): -sqrt(21 / (32 * pi)), (1, 2, 0): -sqrt(21 / (32 * pi))},
        {(2, 0, 1): sqrt(105 / (16 * pi)), (0, 2, 1): -sqrt(105 / (16 * pi))},
        {(3, 0, 0): sqrt(35 / (32 * pi)), (1, 2, 0): -3 * sqrt(35 / (32 * pi))},
    ),
)
"""r^l Y_lm in our order of m, as sums of monomials x^i y^j z^k, for l = 0 … 3."""


@dataclass(frozen=True, eq=False)
class GaussianSet:
    """Shells of one atom that share their exponents.

    Attributes:
        exponents: (n_primitives,) a [1/Bohr²].
        angular_momenta: l of each shell, ascending.
        coefficients: (n_shells, n_primitives) c of each shell, of normalised primitives.
    """

    exponents: Array
    angular_momenta: tuple[int, ...]
    coefficients: Array

    @property
    def n_orbitals(self) -> int:
        """Number of orbitals."""
        return sum(2 * l + 1 for l in self.angular_momenta)

    @cached_property
    def amplitudes(self) -> Array:
        """(n_shells, n_primitives) c·N of primitives that are not normalised; each shell has norm one."""
        rows: list[Array] = []
        for l, coefficients in zip(self.angular_momenta, self.coefficients, strict=True):
            row = coefficients / np.sqrt(_radial_norm(2 * self.exponents, l))
            total = _radial_norm(self.exponents[:, None] + self.exponents, l)
            rows.append(row / np.sqrt(row @ total @ row))
        return np.stack(rows)


def _radial_norm(exponent_sum: Array, l: int) -> Array:
    """∫ r^(2l+2) exp(−p r²) dr."""
    return gamma(l + 1.5) / (2 * exponent_sum ** (l + 1.5))


def overlap_blocks(first: Sequence[GaussianSet], second: Sequence[GaussianSet], vectors: Array) -> Array:
    """Overlap of all orbitals of one atom with all orbitals of another.

    Args:
        first: sets of the atom at the origin.
        second: sets of the atom at each of the vectors.
        vectors: (n_pairs, 3) in Å.

    Returns: (n_pairs, n_orb_first, n_orb_second), exact to rounding.
    """
    return _blocks(first, second, vectors, (0, 0, 0))


def dipole_blocks(first: Sequence[GaussianSet], second: Sequence[GaussianSet], vectors: Array) -> Array:
    """Integrals of the position, counted from the first atom, between all orbitals of two atoms.

    Args:
        first: sets of the atom at the origin.
        second: sets of the atom at each of the vectors.
        vectors: (n_pairs, 3) in Å.

    Returns: (3, n_pairs, n_orb_first, n_orb_second) along x, y, z [Å], exact to rounding.
    """
    return np.stack([_blocks(first, second, vectors, raised) for raised in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]) * BOHR


def _blocks(first: Sequence[GaussianSet], second: Sequence[GaussianSet], vectors: Array, raised: _Monomial) -> Array:
    """Integrals of orbital · x^i y^j z^k · orbital, the powers being those of ``raised`` [Bohr]."""
    rows, columns = (np.cumsum([0, *(part.n_orbitals for part in sets)]) for sets in (first, second))
    blocks = np.empty((len(vectors), rows[-1], columns[-1]))
    # Pairs of like distance share a chunk, so that what is negligible for one is so for all.
    order = np.argsort(np.linalg.norm(vectors, axis=1), kind="stable")
    for start in range(0, len(order), _CHUNK):
        chosen = order[start : start + _CHUNK]
        for a, left in enumerate(first):
            for b, right in enumerate(second):
                block = _set_overlap(left, right, vectors[chosen] / BOHR, raised)
                blocks[chosen, rows[a] : rows[a + 1], columns[b] : columns[b + 1]] = block
    return blocks


def _set_overlap(left: GaussianSet, right: GaussianSet, vectors: Array, raised: _Monomial) -> Array:
    a, b = (x.ravel() for x in np.meshgrid(left.exponents, right.exponents, indexing="ij"))
    nearest = float((vectors**2).sum(axis=1).min())
    kept = np.flatnonzero(a * b / (a + b) * nearest < _NEGLIGIBLE)
    tables = [
        _power_integrals(
            a[kept],
            b[kept],
            vectors[:, axis],
            max(left.angular_momenta) + raised[axis],
            max(right.angular_momenta),
        )
        for axis in range(3)
    ]
    block = np.zeros((len(vectors), left.n_orbitals, right.n_orbitals))
    for l_left in sorted(set(left.angular_momenta)):
        for l_right in sorted(set(right.angular_momenta)):
            shells = [_places(part, l) for part, l in ((left, l_left), (right, l_right))]
            amplitudes = np.einsum("sa,tb->abst", left.amplitudes[shells[0][0]], right.amplitudes[shells[1][0]])
            amplitudes = amplitudes.reshape(len(a), -1)[kept]
            integrals = _harmonic_integrals(tables, amplitudes, l_left, l_right, raised)
            shape = (len(vectors), 2 * l_left + 1, 2 * l_right + 1, len(shells[0][0]), len(shells[1][0]))
            ordered = integrals.reshape(shape).transpose(0, 3, 1, 4, 2)
            rows, columns = shells[0][1], shells[1][1]
            block[:, rows[:, None], columns] = ordered.reshape(len(vectors), len(rows), len(columns))
    return block


def _places(part: GaussianSet, l: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Shells of one angular momentum, and their orbitals."""
    starts = np.cumsum([0, *(2 * other + 1 for other in part.angular_momenta)])
    shells = np.flatnonzero(np.array(part.angular_momenta) == l)
    return shells, (starts[shells][:, None] + np.arange(2 * l + 1)).ravel()


def _power_integrals(a: Array, b: Array, x: Array, i_max: int, j_max: int) -> dict[tuple[int, int], Array]:
    """∫ t^i (t − x)^j exp(−a t² − b (t − x)²) dt for all powers, each (n_pairs, n_primitive_pairs)."""
    p = a + b
    towards, away = x[:, None] * (b / p), x[:, None] * (-a / p)
    table = {(0, 0): np.sqrt(pi / p) * np.exp(-(a * b / p) * x[:, None] ** 2)}
    half = 0.5 / p
    for i in range(i_max + 1):
        if i:
            table[i, 0] = towards * table[i - 1, 0]
            if i > 1:
                table[i, 0] += half * (i - 1) * table[i - 2, 0]
        for j in range(1, j_max + 1):
            value = away * table[i, j - 1]
            if i:
                value += half * i * table[i - 1, j - 1]
            if j > 1:
                value += half * (j - 1) * table[i, j - 2]
            table[i, j] = value
    return table


def _harmonic_integrals(
    tables: list[dict[tuple[int, int], Array]], amplitudes: Array, l_left: int, l_right: int, raised: _Monomial
) -> Array:
    """Contracted integrals of all (m, m') of two angular momenta, (n_pairs, m, m', n_contractions)."""
    x, y, z = tables
    i, j, k = raised
    monomials: dict[tuple[_Monomial, _Monomial], Array] = {}
    result = np.zeros((len(x[0, 0]), 2 * l_left + 1, 2 * l_right + 1, amplitudes.shape[1]))
    for row, left in enumerate(_HARMONICS[l_left]):
        for column, right in enumerate(_HARMONICS[l_right]):
            for u, factor_u in left.items():
                for v, factor_v in right.items():
                    if (u, v) not in monomials:
                        monomials[u, v] = (x[u[0] + i, v[0]] * y[u[1] + j, v[1]] * z[u[2] + k, v[2]]) @ amplitudes
                    result[:, row, column] += factor_u * factor_v * monomials[u, v]
    return result
