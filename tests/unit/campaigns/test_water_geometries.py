"""Thermal geometries: reproducible, split as asked, and as wide as their temperature says."""

import numpy as np
import pytest

from adiabat.campaigns.water_geometries import BOND_ANGLE, BOND_LENGTH, STRETCH_CONSTANT, sample_water, water
from adiabat.core.units import BOLTZMANN


def _bonds(structures) -> np.ndarray:
    positions = np.stack([structure.positions for structure in structures])
    return np.linalg.norm(positions[:, 1:] - positions[:, :1], axis=-1)


def test_water_has_the_bonds_and_angle_asked_for() -> None:
    positions = water().positions
    first, second = positions[1] - positions[0], positions[2] - positions[0]
    assert np.linalg.norm(first) == pytest.approx(BOND_LENGTH)
    cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
    assert np.degrees(np.arccos(cosine)) == pytest.approx(BOND_ANGLE)


def test_one_seed_gives_one_set() -> None:
    first, again, other = (sample_water({"train": 4}, [300.0], seed) for seed in (0, 0, 1))
    assert [s.content_hash for s in first] == [s.content_hash for s in again]
    assert not {s.content_hash for s in first} & {s.content_hash for s in other}


def test_parts_and_temperatures_are_noted() -> None:
    structures = sample_water({"train": 4, "test": 2}, [300.0, 600.0], 0)
    assert [s.info["split"] for s in structures] == ["train"] * 4 + ["test"] * 2
    assert [s.info["temperature_K"] for s in structures] == [300.0, 600.0] * 3


def test_spread_is_thermal_and_grows_with_temperature() -> None:
    for temperature in (300.0, 1200.0):
        bonds = _bonds(sample_water({"train": 2000}, [temperature], 0))
        # A standard deviation from 4000 draws is good to 1/√8000, about 1 %; three of those.
        assert bonds.std() == pytest.approx(np.sqrt(BOLTZMANN * temperature / STRETCH_CONSTANT), rel=0.035)


def test_orientations_are_spread_evenly() -> None:
    positions = np.stack([s.positions for s in sample_water({"train": 2000}, [300.0], 0)])
    directions = (positions[:, 1] - positions[:, 0]) / np.linalg.norm(positions[:, 1] - positions[:, 0], axis=1)[
        :, None
    ]
    # The mean of n unit vectors is of length 1/√n, 0.022 here; a fixed orientation would give 1.
    assert np.linalg.norm(directions.mean(axis=0)) < 0.08
