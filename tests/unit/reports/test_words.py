"""Sentences say what their numbers say, good or bad."""

import numpy as np
import pytest

from adiabat.reports import words


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1.00"), (-0.01234, "−0.0123"), (999.6, "1\u202f000"), (15.04, "15.0"), (9.996, "10.0")],
)
def test_number_keeps_significant_digits(value: float, text: str) -> None:
    assert words.number(value) == text


def test_count_sets_thousands_apart() -> None:
    assert words.count(4000) == "4\u202f000"


@pytest.mark.parametrize(
    ("error", "verdict"), [(1e-3, "less than a tenth"), (0.02, "chemical accuracy"), (0.1, "too much")]
)
def test_energy_verdict_depends_on_the_error(error: float, verdict: str) -> None:
    assert verdict in words.energy_words(error, 2 * error, 0.2, 20)


@pytest.mark.parametrize(("error", "verdict"), [(0.01, "many vibrations"), (0.04, "averages"), (0.5, "illustration")])
def test_force_verdict_depends_on_the_relative_error(error: float, verdict: str) -> None:
    assert verdict in words.force_words(error, 2.0)


def test_learning_that_still_falls_is_named() -> None:
    steps, units = np.arange(1.0, 11), {"energy": "meV", "force": "meV/Å"}
    text = words.learning_words(steps, {"energy": 1 / steps, "force": np.ones(10)}, units, 60.0)
    assert "The error of energy still fell" in text
    both = words.learning_words(steps, {"energy": 1 / steps, "force": 1 / steps}, units, 60.0)
    assert "The error of energy and force still fell" in both
    flat = {"energy": np.ones(10), "force": np.ones(10)}
    assert "flat" in words.learning_words(steps, flat, units, 60.0)


def test_hamiltonian_is_judged_by_orbitals_too() -> None:
    text = words.hamiltonian_words(1e-4, 1e-1, 2e-3, 5e-3, 0.99)
    assert "99.90 %" in text
    assert "the gap by 5.00 meV" in text
    assert "0.990000" in text
    assert "better than 0.999999" in words.hamiltonian_words(1e-4, 1e-1, 2e-3, 5e-3, 0.99999999)


def test_drift_is_the_slope_of_the_total_energy() -> None:
    time = np.linspace(0, 2000, 1000)
    total = -5.0 + 3 * 0.5e-3 * time / 1000  # 0.5 meV per atom and ps, three atoms
    assert words.drift_rate(time, total, 3) == pytest.approx(0.5)
    kinetic = 0.1 + 0.05 * np.sin(time)
    assert "too much" in words.conservation_words(time, total, kinetic, 3)
    conserved = words.conservation_words(time, np.full(1000, -5.0), kinetic, 3)
    assert "less than 0.001 meV" in conserved
    assert "too much" not in conserved
    short = np.linspace(0, 20, 100)
    rippling = -5.0 + 1e-3 * np.sin(short) + 1e-5 * short
    assert "cannot be told" in words.conservation_words(short, rippling, kinetic, 3)


def test_gap_names_what_moves_it() -> None:
    bond, angle = np.sin(np.arange(200.0)), np.sin(1.7 * np.arange(200.0))
    assert "follows the O–H bonds" in words.gap_words(6 - bond, bond, angle)
    assert "shrinks when they stretch" in words.gap_words(6 - bond, bond, angle)
    assert "grows when it opens" in words.gap_words(6 + angle, bond, angle)
    neither = words.gap_words(6 + np.sin(0.3 * np.arange(200.0)), bond, angle)
    assert "explain it alone" in neither


@pytest.mark.parametrize(("error", "verdict"), [(1e-3, "read as the DFT curve"), (0.1, "trend"), (0.5, "cannot be")])
def test_checkpoint_verdict_compares_with_the_movement(error: float, verdict: str) -> None:
    gap = 6 + 0.2 * np.sqrt(2) * np.sin(np.linspace(0, 20 * np.pi, 1000))  # standard deviation 0.2 eV
    cycles = np.array([5, 5]), np.array([10, 10])
    assert verdict in words.checkpoint_words(np.array([error, -error]), gap, *cycles)


def test_leaving_the_trained_range_is_said() -> None:
    training = np.array([[0.9, 1.0, 95.0], [1.05, 0.95, 112.0]])
    inside = np.array([[0.95, 1.0, 100.0]])
    assert "never left" in words.coverage_words(training, inside)
    outside = np.array([[0.95, 1.0, 100.0], [1.2, 1.0, 100.0]])
    assert "50.0 % of the trajectory" in words.coverage_words(training, outside)
