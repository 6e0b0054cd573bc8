"""Known answers for the choice of a structure and a level of theory."""

from itertools import permutations

import numpy as np
import pytest

from adiabat.campaigns.fidelity_choice import (
    LevelLabels,
    LevelModel,
    choose,
    covariance_after,
    learn_levels,
)
from adiabat.core.errors import ConfigError, LabelError

LEVELS = ("low", "high")
N_FEATURES = 6
N_MANY = 40
RANDOM = np.random.default_rng(3)
CANDIDATES = [RANDOM.standard_normal((3, N_FEATURES)) for _ in range(12)]
POOL = RANDOM.standard_normal((40, N_FEATURES))


def model(difference: float, factor: float = 1.0, noise: float = 1e-4) -> LevelModel:
    return LevelModel(np.array([1.0, difference]), np.array([1.0, factor]), np.full(2, noise))


def chosen(levels: LevelModel, costs: dict[str, float], budget: float) -> list[tuple[int, str]]:
    return choose(CANDIDATES, LEVELS, costs, levels, covariance_after(levels, N_FEATURES), POOL, budget)


def mean_variance(levels: LevelModel, labels: list[tuple[int, str]]) -> float:
    parts = [LevelLabels(LEVELS.index(name), CANDIDATES[index], np.zeros(3)) for index, name in labels]
    rows = levels.rows(1, POOL)
    return float(np.mean(np.sum((rows @ covariance_after(levels, N_FEATURES, parts)) * rows, axis=1)))


def test_where_both_levels_agree_the_cheap_one_is_bought() -> None:
    found = chosen(model(difference=1e-9), {"low": 1.0, "high": 10.0}, 20.0)
    assert {name for _, name in found[:2]} == {"low"}
    # two structures of three labels each tell six weights; what is left is noise
    assert mean_variance(model(1e-9), found[:2]) < 1e-2


def test_the_costly_level_follows_when_only_the_difference_is_left() -> None:
    names = [name for _, name in chosen(model(difference=0.05), {"low": 1.0, "high": 4.0}, 14.0)]
    first_high = names.index("high")
    assert first_high >= 2
    assert set(names[:first_high]) == {"low"}


def test_a_level_that_tells_nothing_of_the_other_is_never_bought_before_it() -> None:
    found = chosen(model(difference=1.0, factor=0.0), {"low": 0.001, "high": 1.0}, 4.0)
    names = [name for _, name in found]
    # the fourth costly label may not be affordable any more, and pennies are then spent on the cheap level
    assert names[:3] == ["high"] * 3


def test_the_first_choice_is_the_best_of_all_by_brute_force() -> None:
    levels, costs = model(difference=0.3, factor=0.8, noise=0.1), {"low": 1.0, "high": 2.5}
    before = mean_variance(levels, [])
    rates = {
        (index, name): (before - mean_variance(levels, [(index, name)])) / costs[name]
        for index in range(len(CANDIDATES))
        for name in LEVELS
    }
    assert chosen(levels, costs, 2.5)[0] == max(rates, key=lambda label: rates[label])


def test_the_greedy_pair_is_near_the_best_pair() -> None:
    levels = model(difference=0.3, noise=0.1)
    found = chosen(levels, {"low": 1e6, "high": 1.0}, 2.0)
    assert [name for _, name in found] == ["high", "high"]
    pairs = permutations(range(len(CANDIDATES)), 2)
    best = min(mean_variance(levels, [(i, "high"), (j, "high")]) for i, j in pairs)
    before = mean_variance(levels, [])
    assert before - mean_variance(levels, found) > 0.9 * (before - best)


def test_the_budget_is_kept_and_labels_at_hand_are_not_bought_again() -> None:
    levels, costs = model(0.1), {"low": 1.0, "high": 3.0}
    taken = [(index, name) for index in range(11) for name in LEVELS]
    covariance = covariance_after(levels, N_FEATURES)
    found = choose(CANDIDATES, LEVELS, costs, levels, covariance, POOL, 100.0, taken)
    assert sorted(found) == [(11, "high"), (11, "low")]
    assert sum(costs[name] for _, name in chosen(levels, costs, 7.5)) <= 7.5


def test_three_levels_hang_together_as_a_chain() -> None:
    levels = LevelModel(np.array([1.0, 0.1, 0.1]), np.array([1.0, 0.5, 2.0]), np.full(3, 0.1))
    np.testing.assert_allclose(levels.coefficients(2), [1.0, 2.0, 1.0])
    np.testing.assert_allclose(levels.coefficients(1), [0.5, 1.0, 0.0])


def labels_of(factor: float, difference: float, n: int = 30, seed: int = 0) -> list[LevelLabels]:
    random = np.random.default_rng(seed)
    low, delta = random.standard_normal(N_MANY), difference * random.standard_normal(N_MANY)
    found = []
    for _ in range(n):
        rows = random.standard_normal((3, N_MANY))
        values = (rows @ low, rows @ (factor * low + delta))
        found += [LevelLabels(k, rows, v + 0.5 * random.standard_normal(3)) for k, v in enumerate(values)]
    return found


def test_what_the_levels_share_is_learned() -> None:
    found = learn_levels(labels_of(factor=0.7, difference=0.1), 2)
    # 40 weights, of a spread of 0.1 about 0.7 times others, tell that factor to 0.1/√40 and their spread to 11 %;
    # noise hides some of both
    assert found.factors[1] == pytest.approx(0.7, abs=0.06)
    assert found.prior[1] < 0.05 * found.prior[0]
    # 90 labels a level, 40 weights taken off, tell the noise to 10 %
    np.testing.assert_allclose(found.noise**0.5, 0.5, rtol=0.3)


def test_levels_without_anything_in_common_are_seen_as_such() -> None:
    found = learn_levels(labels_of(factor=0.0, difference=1.0), 2)
    # 1/√40 is what chance leaves of a factor of nothing
    assert abs(found.factors[1]) < 0.5
    assert found.factors[1] ** 2 * found.prior[0] < 0.3 * found.prior[1]


def test_a_level_without_cost_or_labels_is_refused() -> None:
    with pytest.raises(ConfigError, match="cost"):
        chosen(model(0.1), {"high": 1.0}, 3.0)
    with pytest.raises(LabelError, match="level 1"):
        learn_levels([part for part in labels_of(1.0, 0.1) if part.level == 0], 2)
