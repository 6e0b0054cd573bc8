"""Averages of a committee of harmonic oscillators, which can be written down."""

import warnings

import numpy as np
import pytest
from ase.cluster import Octahedron

from adiabat.core.errors import LabelError
from adiabat.core.units import BOLTZMANN
from adiabat.data.structure import Structure
from adiabat.simulation.reweighting import ReweightingWarning, member_energies, reweighted_average
from known_committees import argon_committee

TEMPERATURE = 300.0
KT = BOLTZMANN * TEMPERATURE
SPRINGS = np.array([0.9, 1.0, 1.02, 1.08])
"""eV/Å²; their mean is 1, on which frames are drawn."""
N = 200_000


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.sqrt(KT) * np.random.default_rng(0).standard_normal(N)


def energies(x: np.ndarray, springs: np.ndarray = SPRINGS) -> np.ndarray:
    return 0.5 * springs[:, None] * x**2


def test_exponential_weights_give_each_members_own_average(x: np.ndarray) -> None:
    found = reweighted_average(x**2, energies(x), TEMPERATURE)
    exact = KT / SPRINGS
    # ⟨x²⟩ of N frames is known to √(2/N) = 0.3 %.
    np.testing.assert_allclose(found.values, exact, rtol=0.012)
    assert found.std == pytest.approx(exact.std(ddof=1), rel=0.01)
    assert found.mean == pytest.approx(exact.mean(), rel=0.01)
    # With w = exp(−δ x²/2kT), δ = k_k − 1, and a normal x: ⟨w⟩²/⟨w²⟩ = √(1 + 2δ)/(1 + δ).
    delta = SPRINGS - 1
    np.testing.assert_allclose(found.effective_frames / N, np.sqrt(1 + 2 * delta) / (1 + delta), rtol=0.01)


def test_the_first_cumulant_is_the_first_order_in_the_difference(x: np.ndarray) -> None:
    found = reweighted_average(x**2, energies(x), TEMPERATURE, method="cumulant")
    # kT/k̄ − β cov(x², (k_k − k̄) x²/2) = kT (1 − (k_k − k̄)) with k̄ = 1.
    np.testing.assert_allclose(found.values, KT * (2 - SPRINGS), rtol=0.012)
    assert np.abs(found.values - KT / SPRINGS).max() > 0.005 * KT


def test_without_reweighting_no_spread_is_seen(x: np.ndarray) -> None:
    same = np.broadcast_to(energies(x).mean(axis=0), (4, N))
    assert reweighted_average(x**2, same, TEMPERATURE).std < 1e-12 * KT


def test_the_run_may_have_been_on_one_members_surface() -> None:
    x = np.sqrt(KT / SPRINGS[0]) * np.random.default_rng(1).standard_normal(N)
    found = reweighted_average(x**2, energies(x), TEMPERATURE, run_energies=energies(x)[0])
    np.testing.assert_allclose(found.values, KT / SPRINGS, rtol=0.012)
    assert found.effective_frames[0] == pytest.approx(N)


def test_a_constant_of_one_member_changes_nothing(x: np.ndarray) -> None:
    shifted = energies(x) + np.array([[0.0], [5.0], [-3.0], [0.0]])
    for method in ("exponential", "cumulant"):
        found, expected = (
            reweighted_average(x**2, of, TEMPERATURE, run_energies=energies(x).mean(axis=0), method=method).values
            for of in (shifted, energies(x))
        )
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_members_may_differ_in_the_observable_and_it_may_be_an_array(x: np.ndarray) -> None:
    observable = SPRINGS[:, None, None] * np.stack([x**2, 2 * x**2], axis=-1)
    found = reweighted_average(observable, energies(x), TEMPERATURE)
    np.testing.assert_allclose(found.values, np.tile([KT, 2 * KT], (4, 1)), rtol=0.012)


def test_few_effective_frames_are_warned_of(x: np.ndarray) -> None:
    many = energies(np.abs(x[:500]), np.array([1.0, 9.0])) * 60
    with pytest.warns(ReweightingWarning, match="effective of 500"):
        reweighted_average(x[:500] ** 2, many, TEMPERATURE)
    with pytest.warns(ReweightingWarning, match="linear"):
        reweighted_average(x[:500] ** 2, many, TEMPERATURE, method="cumulant")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reweighted_average(x**2, energies(x), TEMPERATURE)


def test_shapes_that_do_not_fit_are_refused(x: np.ndarray) -> None:
    with pytest.raises(LabelError, match="members first"):
        reweighted_average(x[:-1], energies(x), TEMPERATURE)


def test_members_are_asked_in_batches() -> None:
    committee = argon_committee((0.9, 1.1))
    cluster = Octahedron("Ar", 2, latticeconstant=5.3)
    structures = []
    for seed in range(5):
        atoms = cluster.copy()
        atoms.rattle(0.1, seed=seed)
        structures.append(Structure.from_ase(atoms))
    found = member_energies(committee, structures, batch=2)
    assert found.shape == (2, 5)
    np.testing.assert_allclose(found[1] / found[0], 1.1 / 0.9, rtol=1e-12)
