"""Measures of uncertainty on samples whose answers are known, and on samples that must fail them."""

import json
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from adiabat.uncertainty import metrics
from adiabat.uncertainty.scores import SpreadScores, score_spreads

N = 40_000


def sample(too_small: float = 1.0, seed: int = 0) -> tuple[metrics.Array, metrics.Array]:
    """Normal errors and σ that are ``too_small`` times too small."""
    random = np.random.default_rng(seed)
    truth = random.lognormal(0.0, 0.8, N)
    return truth * random.normal(size=N), truth / too_small


def test_a_perfect_forecaster_is_on_the_diagonal() -> None:
    errors, sigmas = sample()
    # A share of 40 000 draws is known to 0.25 %; four of these.
    for level, found in metrics.coverages(errors, sigmas, metrics.normal_half_widths()).items():
        assert found == pytest.approx(level, abs=0.01)
    assert metrics.miscalibration_area(errors, sigmas) < 0.005
    assert metrics.expected_normalized_calibration_error(errors, sigmas) < 0.03
    assert metrics.rank_correlation(errors, sigmas) == pytest.approx(
        # Not with the seed whose numbers made the widths.
        metrics.expected_rank_correlation(sigmas, seed=99),
        abs=0.02,
    )


@pytest.mark.parametrize("too_small", [0.5, 2.0, 5.0])
def test_wrong_widths_are_seen_and_their_direction(too_small: float) -> None:
    errors, sigmas = sample(too_small)
    # P(|z| ≤ w/too_small) instead of P(|z| ≤ w).
    expected = 2 * stats.norm.cdf(stats.norm.ppf(0.95) / too_small) - 1
    assert metrics.coverage(errors, sigmas, 0.9) == pytest.approx(expected, abs=0.01)
    area = quad(lambda p: p - (2 * stats.norm.cdf(stats.norm.ppf(0.5 + p / 2) / too_small) - 1), 0, 1)[0]
    assert metrics.overconfidence(errors, sigmas) == pytest.approx(area, abs=0.005)
    assert metrics.miscalibration_area(errors, sigmas) == pytest.approx(abs(area), abs=0.005)
    assert metrics.expected_normalized_calibration_error(errors, sigmas) == pytest.approx(abs(too_small - 1), rel=0.05)
    # The ranking does not know the unit.
    assert metrics.rank_correlation(errors, sigmas) == metrics.rank_correlation(*sample())


def test_the_areas_have_their_extremes() -> None:
    errors = np.random.default_rng(1).normal(size=500)
    assert metrics.miscalibration_area(errors, np.full(500, 1e-9)) == pytest.approx(0.5, abs=1e-3)
    assert metrics.overconfidence(errors, np.full(500, 1e9)) == pytest.approx(-0.5, abs=1e-3)


def test_ence_sees_what_the_reliability_curve_averages_away() -> None:
    """σ three times too large for one half and too small for the other: calibrated on the whole, useless in detail."""
    random = np.random.default_rng(2)
    errors, sigmas = sample(seed=2)
    wrong = random.permutation(sigmas)
    assert metrics.miscalibration_area(errors, wrong) < 5 * 0.03
    assert metrics.expected_normalized_calibration_error(errors, wrong) > 0.5
    assert metrics.expected_normalized_calibration_error(errors, sigmas) < 0.05
    assert abs(metrics.rank_correlation(errors, wrong) or 0) < 0.02


@pytest.mark.parametrize(("error", "sigma"), [(0.0, 1.0), (1.3, 0.4), (-2.0, 3.0), (0.7, 1e-3)])
def test_crps_is_its_integral(error: float, sigma: float) -> None:
    def integrand(x: float) -> float:
        return (stats.norm.cdf(x, error, sigma) - (x >= 0)) ** 2

    # The integrand has a step at the truth, 0, and is smooth on either side of it.
    low, high = min(0, error) - 12 * sigma, max(0, error) + 12 * sigma
    ends = sorted({low, 0.0, error, high})
    numeric = sum(quad(integrand, a, b, limit=200)[0] for a, b in pairwise(ends))
    assert metrics.gaussian_crps(np.array([error]), np.array([sigma]))[0] == pytest.approx(numeric, rel=1e-6)


@pytest.mark.parametrize("score", [metrics.gaussian_crps, metrics.negative_log_likelihood])
def test_proper_scores_are_best_for_the_truth(score) -> None:
    best = score(*sample()).mean()
    for too_small in (0.5, 0.8, 1.25, 2.0):
        assert score(*sample(too_small)).mean() > best


def test_likelihood_is_scipys() -> None:
    errors, sigmas = sample()
    expected = -stats.norm.logpdf(errors, 0, sigmas)
    np.testing.assert_allclose(metrics.negative_log_likelihood(errors, sigmas), expected, rtol=1e-10)


def test_rank_correlation_is_scipys() -> None:
    errors, sigmas = sample()
    tied = np.round(sigmas, 1)
    assert metrics.rank_correlation(errors, tied) == pytest.approx(
        stats.spearmanr(np.abs(errors), tied).statistic, abs=1e-12
    )
    assert metrics.rank_correlation(np.arange(9.0), np.arange(9.0)) == pytest.approx(1)
    assert metrics.rank_correlation(errors, np.ones(N)) is None
    assert metrics.rank_correlation(errors[:1], sigmas[:1]) is None


def test_zero_sigma_is_certainty() -> None:
    errors, sigmas = np.array([0.0, 0.5, -0.5]), np.zeros(3)
    np.testing.assert_array_equal(metrics.standardised(errors, sigmas), [0, np.inf, -np.inf])
    np.testing.assert_allclose(metrics.gaussian_crps(errors, sigmas), [0, 0.5, 0.5])
    assert metrics.coverage(errors, sigmas, 0.9) == pytest.approx(1 / 3)
    assert score_spreads(errors, sigmas, np.arange(3), unit="eV").nll is None


def test_half_widths_of_another_distribution_are_used() -> None:
    random = np.random.default_rng(3)
    errors, sigmas = random.uniform(-1, 1, N), np.full(N, 0.6827)
    exact = {0.5: 0.5 / 0.6827, 0.9: 0.9 / 0.6827}
    for level, found in metrics.coverages(errors, sigmas, exact).items():
        assert found == pytest.approx(level, abs=0.01)
    assert metrics.coverage(errors, sigmas, 0.9) > 0.99  # a normal distribution's width is too large here


def test_scores_by_atom_and_structure_are_of_root_mean_squares() -> None:
    random = np.random.default_rng(4)
    n_structures, n_atoms = 60, 5
    structure_level = random.lognormal(0, 0.3, (n_structures, 1, 1))
    atom_level = random.lognormal(0, 1.0, (n_structures, n_atoms, 1))
    sigmas = np.broadcast_to(structure_level * atom_level, (n_structures, n_atoms, 3))
    errors = sigmas * random.normal(size=sigmas.shape)
    structure = np.repeat(np.arange(n_structures), n_atoms * 3)
    atom = np.repeat(np.arange(n_structures * n_atoms), 3)
    scores = score_spreads(errors.ravel(), sigmas.ravel(), structure, unit="meV/Å", atom=atom)
    assert (scores.n_values, scores.n_structures) == (900, 60)
    expected = stats.spearmanr(np.sqrt((errors**2).mean(-1)).ravel(), np.sqrt((sigmas**2).mean(-1)).ravel()).statistic
    assert scores.rank_correlation_atoms == pytest.approx(expected)
    expected = stats.spearmanr(np.sqrt((errors**2).mean((1, 2))), np.sqrt((sigmas**2).mean((1, 2)))).statistic
    assert scores.rank_correlation_structures == pytest.approx(expected)
    # Root mean squares scatter less than single components, so their ranks are surer.
    assert scores.rank_correlation is not None
    assert scores.rank_correlation_atoms > scores.rank_correlation
    assert SpreadScores.from_json(json.loads(json.dumps(scores.to_json()))) == scores


def test_size_alone_does_not_count_as_knowledge_per_atom() -> None:
    """Errors and σ that both only grow with the number of atoms rank together, but not for an atom."""
    random = np.random.default_rng(5)
    n_atoms = random.integers(2, 200, 4000).astype(float)
    errors, sigmas = n_atoms * random.normal(size=4000), n_atoms * random.lognormal(0, 0.5, 4000)
    scores = score_spreads(errors, sigmas, np.arange(4000), unit="meV", n_atoms=n_atoms)
    assert scores.rank_correlation is not None
    assert scores.rank_correlation > 0.3
    assert abs(scores.rank_correlation_atoms or 0) < 0.06
