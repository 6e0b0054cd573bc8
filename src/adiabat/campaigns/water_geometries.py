"""Thermal geometries of a water molecule, to be labelled: the quickstart's only input."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from adiabat.core.units import BOLTZMANN
from adiabat.data.structure import Structure

BOND_LENGTH: Final = 0.97
"""O–H distance that geometries are drawn around [Å], near the minimum of generalized-gradient functionals."""

BOND_ANGLE: Final = 104.0
"""H–O–H angle that geometries are drawn around [degree]."""

STRETCH_CONSTANT: Final = 52.8
"""Harmonic force constant of a bond [eV/Å²]; gives a stretch near 3890 cm⁻¹, as measured for water.

The two constants set how far the geometries spread. They enter no label."""

BEND_CONSTANT: Final = 4.35
"""Harmonic force constant of the angle [eV/rad²]; gives a bend near 1660 cm⁻¹."""

ATOMIC_NUMBERS: Final = (8, 1, 1)


def water(first_bond: float = BOND_LENGTH, second_bond: float = BOND_LENGTH, angle: float = BOND_ANGLE) -> Structure:
    """Water as O, H, H in the xy plane; bonds in Å, the angle between them in degree."""
    half = np.radians(angle) / 2
    positions = [
        [0.0, 0.0, 0.0],
        [first_bond * np.sin(half), first_bond * np.cos(half), 0.0],
        [-second_bond * np.sin(half), second_bond * np.cos(half), 0.0],
    ]
    return Structure(np.array(ATOMIC_NUMBERS, dtype=np.int64), np.array(positions))


def sample_water(counts: dict[str, int], temperatures: Sequence[float], seed: int) -> list[Structure]:
    """Geometries with bonds and angle drawn from a harmonic Boltzmann distribution, turned at random.

    Temperatures take turns, so that each part has geometries of all of them. Orientations are random because the
    model must not know a preferred one, and neither may its test.

    Args:
        counts: number of geometries of each part, for instance ``{"train": 120, "test": 20}``.
        temperatures: T [K].
        seed: fixes every geometry.

    Returns: the geometries, part by part; ``info`` holds ``split`` and ``temperature_K``.
    """
    generator = np.random.default_rng(seed)
    structures = []
    for part, count in counts.items():
        for index in range(count):
            temperature = float(temperatures[index % len(temperatures)])
            thermal = BOLTZMANN * temperature
            bonds = BOND_LENGTH + np.sqrt(thermal / STRETCH_CONSTANT) * generator.standard_normal(2)
            angle = BOND_ANGLE + np.degrees(np.sqrt(thermal / BEND_CONSTANT)) * generator.standard_normal()
            plain = water(float(bonds[0]), float(bonds[1]), float(angle))
            info = {"split": part, "temperature_K": temperature}
            structures.append(Structure(plain.atomic_numbers, _turned(plain.positions, generator), info=info))
    return structures


def _turned(positions: npt.NDArray[np.float64], generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Positions after a rotation drawn evenly from all rotations."""
    return positions @ Rotation.from_quat(generator.standard_normal(4)).as_matrix().T
