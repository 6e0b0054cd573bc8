"""Crystals of Gaussian orbitals, integrated numerically over the real harmonics that each code documents.

Nothing here knows the package's tables of orders and signs: a code's orbitals are written down as functions of x, y, z,
and matrix elements follow from integrals over them. H is the Wolfsberg–Helmholz guess, which turns as S does, plus for
spinors λ L·S on each atom, with L from the functions themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import product

import numpy as np
from scipy.linalg import block_diag

Array = np.ndarray
Function = Callable[[Array, Array, Array], Array]

_S: dict[str, Function] = {"s": lambda x, y, z: np.ones_like(x)}
_P: dict[str, Function] = {"x": lambda x, y, z: x, "y": lambda x, y, z: y, "z": lambda x, y, z: z}
_D: dict[str, Function] = {
    "xy": lambda x, y, z: np.sqrt(3) * x * y,
    "yz": lambda x, y, z: np.sqrt(3) * y * z,
    "z2": lambda x, y, z: (2 * z**2 - x**2 - y**2) / 2,
    "xz": lambda x, y, z: np.sqrt(3) * x * z,
    "x2-y2": lambda x, y, z: np.sqrt(3) / 2 * (x**2 - y**2),
}
_F: dict[str, Function] = {
    "y(3x2-y2)": lambda x, y, z: np.sqrt(5 / 8) * y * (3 * x**2 - y**2),
    "xyz": lambda x, y, z: np.sqrt(15) * x * y * z,
    "yz2": lambda x, y, z: np.sqrt(3 / 8) * y * (4 * z**2 - x**2 - y**2),
    "z3": lambda x, y, z: z * (2 * z**2 - 3 * x**2 - 3 * y**2) / 2,
    "xz2": lambda x, y, z: np.sqrt(3 / 8) * x * (4 * z**2 - x**2 - y**2),
    "z(x2-y2)": lambda x, y, z: np.sqrt(15) / 2 * z * (x**2 - y**2),
    "x(x2-3y2)": lambda x, y, z: np.sqrt(5 / 8) * x * (x**2 - 3 * y**2),
}
_FUNCTIONS = {**_S, **_P, **_D, **_F}

DOCUMENTED: dict[str, tuple[str, str, str, str]] = {
    # this package: m = −l … l without the Condon–Shortley phase; so do CP2K, GPAW and DeepH's newer layout
    "ours": ("s", "y z x", "xy yz z2 xz x2-y2", "y(3x2-y2) xyz yz2 z3 xz2 z(x2-y2) x(x2-3y2)"),
    # OpenMX's manual, table of the orbitals in Mulliken's analysis; DeepH's older layout takes it over
    "openmx": ("s", "x y z", "z2 x2-y2 xy xz yz", "z3 xz2 yz2 z(x2-y2) xyz x(x2-3y2) y(3x2-y2)"),
    # SIESTA: m = −l … l with (−1)^m
    "siesta": ("s", "-y z -x", "xy -yz z2 -xz x2-y2", "-y(3x2-y2) xyz -yz2 z3 -xz2 z(x2-y2) -x(x2-3y2)"),
    # ABACUS: m = 0, 1, −1, 2, −2, … with (−1)^m
    "abacus": ("s", "z -x -y", "z2 -xz -yz x2-y2 xy", "z3 -xz2 -yz2 z(x2-y2) xyz -x(x2-3y2) -y(3x2-y2)"),
}
"""For each code and l the harmonics in its order, with their sign."""


def harmonics(code: str, l: int) -> list[Function]:
    result: list[Function] = []
    for name in DOCUMENTED[code][l].split():
        function = _FUNCTIONS[name.removeprefix("-")]
        result.append((lambda x, y, z, f=function: -f(x, y, z)) if name.startswith("-") else function)
    return result


_NODES, _WEIGHTS = np.polynomial.hermite.hermgauss(8)
_POINTS = np.array(list(product(_NODES, repeat=3)))
_POINT_WEIGHTS = np.array([np.prod(w) for w in product(_WEIGHTS, repeat=3)])


@dataclass(frozen=True)
class AnalyticCrystal:
    """A crystal over one code's harmonics.

    Attributes:
        numbers: atomic numbers.
        positions: (n, 3) Å.
        cell: (3, 3) Å.
        shells: for each atomic number pairs (l, exponent [Å⁻²]).
        code: a key of DOCUMENTED.
        reach: Å; farther pairs are left out.
        spin_orbit: λ [eV], or None for no spin.
        exchange: half the difference of ↑ and ↓ on the diagonal blocks' S [eV], or None.
    """

    numbers: Sequence[int]
    positions: Array
    cell: Array
    shells: dict[int, list[tuple[int, float]]]
    code: str = "ours"
    reach: float = 6.0
    spin_orbit: float | None = None
    exchange: float | None = None
    onsite: dict[int, float] = field(default_factory=lambda: {0: -9.0, 1: -4.0, 2: -2.5, 3: 1.0})

    @property
    def n_orbitals(self) -> Array:
        return np.array([sum(2 * l + 1 for l, _ in self.shells[z]) for z in self.numbers])

    @property
    def images(self) -> Array:
        span = np.ceil(self.reach / np.abs(1 / np.linalg.norm(np.linalg.inv(self.cell), axis=0))).astype(int) + 1
        every = np.array(list(product(*(range(-n, n + 1) for n in span))))
        lengths = [
            np.linalg.norm(self.positions + r @ self.cell - x, axis=1).min() for r in every for x in self.positions
        ]
        near = np.array(lengths).reshape(len(every), -1).min(axis=1) <= self.reach
        return every[near]

    def overlap(self) -> dict[tuple[int, int, int], Array]:
        """S(R), (n_orb, n_orb) for each image."""
        return self._overlap

    @cached_property
    def _overlap(self) -> dict[tuple[int, int, int], Array]:
        return {tuple(map(int, r)): self._overlap_of(r) for r in self.images}

    def hamiltonian(self) -> dict[tuple[int, int, int], Array]:
        """H(R) [eV]: (n_orb, n_orb), or with exchange (2, n_orb, n_orb), or with spin–orbit (4, n_orb, n_orb)."""
        energy = np.concatenate(
            [np.repeat(self.onsite[l] - 0.1 * z, 2 * l + 1) for z in self.numbers for l, _ in self.shells[z]]
        )
        mean = 1.75 * (energy[:, None] + energy) / 2
        result = {}
        for image, s in self.overlap().items():
            own = np.diag(energy) if not any(image) else 0.0
            same = block_diag(*(np.ones((n, n)) for n in self.n_orbitals)) if not any(image) else 0.0
            h = mean * s * (1 - same) + own
            result[image] = self._with_spin(h, s, onsite=not any(image))
        return result

    def _with_spin(self, h: Array, s: Array, *, onsite: bool) -> Array:
        if self.exchange is not None:
            return np.stack([h - self.exchange * s, h + self.exchange * s])
        if self.spin_orbit is None:
            return h
        zero = np.zeros_like(h)
        four = np.stack([h, zero, zero, h]).astype(complex)
        if onsite:
            parts = [angular_momentum(self.code, l) for z in self.numbers for l, _ in self.shells[z]]
            lx, ly, lz = (self.spin_orbit / 2 * block_diag(*(part[axis] for part in parts)) for axis in range(3))
            four += np.stack([lz, lx - 1j * ly, lx + 1j * ly, -lz])
        return four

    def _overlap_of(self, image: Array) -> Array:
        offset = np.concatenate([[0], np.cumsum(self.n_orbitals)])
        matrix = np.zeros((offset[-1], offset[-1]))
        for a, b in product(range(len(self.numbers)), repeat=2):
            v = self.positions[b] + image @ self.cell - self.positions[a]
            if np.linalg.norm(v) <= self.reach:
                block = [
                    [self._shells(p, q, v) for q in self.shells[self.numbers[b]]] for p in self.shells[self.numbers[a]]
                ]
                matrix[offset[a] : offset[a + 1], offset[b] : offset[b + 1]] = np.block(block)
        return matrix

    def _shells(self, first: tuple[int, float], second: tuple[int, float], v: Array) -> Array:
        """Overlap of two normalised shells at 0 and v, by Gauss–Hermite quadrature, which is exact here."""
        (l, a), (k, b) = first, second
        points = _POINTS / np.sqrt(a + b) + v * b / (a + b)
        left = np.array([f(*points.T) for f in harmonics(self.code, l)])
        right = np.array([f(*(points - v).T) for f in harmonics(self.code, k)])
        scale = np.exp(-a * b / (a + b) * v @ v) / (a + b) ** 1.5
        return scale * (left * _POINT_WEIGHTS) @ right.T / (_norm(l, a) * _norm(k, b))


@cache
def _norm(l: int, exponent: float) -> float:
    points = _POINTS / np.sqrt(2 * exponent)
    values = harmonics("ours", l)[0](*points.T)
    return float(np.sqrt(_POINT_WEIGHTS @ values**2 / (2 * exponent) ** 1.5))


@cache
def angular_momentum(code: str, l: int) -> Array:
    """(3, 2l + 1, 2l + 1) matrices of L = −i r × ∇ over a code's harmonics, by differences of the functions."""
    functions = harmonics(code, l)
    values = np.array([f(*_POINTS.T) for f in functions])
    norm = (values[0] ** 2) @ _POINT_WEIGHTS
    return np.array([-1j * (values * _POINT_WEIGHTS) @ _derivative(functions, axis).T / norm for axis in np.eye(3)])


def _derivative(functions: list[Function], axis: Array) -> Array:
    """d/dφ of f turned by φ about an axis: the Fourier interpolation of a trigonometric polynomial is exact."""
    n = 8
    angles = 2 * np.pi * np.arange(n) / n
    samples = np.array([[f(*_rotate(_POINTS, axis, angle).T) for f in functions] for angle in angles])
    modes = np.fft.fft(samples, axis=0) / n
    orders = np.fft.fftfreq(n, 1 / n)
    return np.real(np.tensordot(1j * orders, modes, axes=1))


def _rotate(points: Array, axis: Array, angle: float) -> Array:
    along = np.outer(points @ axis, axis)
    return along + (points - along) * np.cos(angle) + np.cross(axis, points) * np.sin(angle)
