import numpy as np
import pytest

from adiabat.campaigns.curation.learning_curve import fit_learning_curve
from adiabat.core.errors import ConfigError, TrainingError


def curve(sizes: list[float], a: float = 900.0, b: float = 0.85, c: float = 5.0, scatter: float = 0.0, seed: int = 0):
    noise = np.exp(scatter * np.random.default_rng(seed).normal(size=len(sizes)))
    return [(a * n**-b + c) * z for n, z in zip(sizes, noise, strict=True)]


def test_an_exact_power_law_with_floor_is_continued():
    sizes = [10.0, 20, 40, 80, 160, 320]

    found = fit_learning_curve(sizes, curve(sizes))

    ahead = found.error_at(640)
    assert ahead.low < curve([640.0])[0] < ahead.high
    assert ahead.median == pytest.approx(curve([640.0])[0], rel=0.1)
    needed = found.labels_for(15.0)
    exact = (900 / 10) ** (1 / 0.85)
    assert needed.low < exact < needed.high
    assert needed.median == pytest.approx(exact, rel=0.1)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    sizes = [10.0, 10, 20, 20, 40, 40, 80, 80, 160, 160]
    truth = curve([400.0])[0]
    inside = []
    for seed in range(24):
        found = fit_learning_curve(sizes, curve(sizes, scatter=0.06, seed=seed)).error_at(400)
        inside.append(found.low < truth < found.high)

    assert 0.75 <= np.mean(inside) <= 1.0
    shifted = fit_learning_curve(sizes, curve(sizes, scatter=0.06)).error_at(400)
    assert not shifted.low < 2 * truth < shifted.high, "negative control: twice the truth lies outside"


def test_more_labels_narrow_the_answer():
    few, many = [10.0, 20, 40], [10.0, 20, 40, 80, 160, 320, 640]

    widths = []
    for sizes in (few, many):
        ahead = fit_learning_curve(sizes, curve(sizes, scatter=0.02)).error_at(1000)
        widths.append(np.log(ahead.high / ahead.low))

    assert widths[1] < 0.6 * widths[0]


def test_what_cannot_be_told_is_refused():
    with pytest.raises(ConfigError, match="three different sizes"):
        fit_learning_curve([10, 10, 20], [90, 91, 60])
    with pytest.raises(ConfigError, match="positive errors"):
        fit_learning_curve([10, 20, 40], [90, 0, 30])
    sizes = [10.0, 20, 40, 80]
    with pytest.raises(TrainingError, match="below the floor"):
        fit_learning_curve(sizes, [50, 42, 40.5, 40.1]).labels_for(30)
    with pytest.raises(TrainingError, match="labels"):
        fit_learning_curve([10.0, 20, 40], [90, 70, 55]).labels_for(3)
    fine = fit_learning_curve(sizes, curve(sizes)).labels_for(30)
    assert fine.high < 10 * fine.low, "negative control: what can be told is told"
