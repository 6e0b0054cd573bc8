from itertools import pairwise

import pytest

from adiabat.training.config import ScheduleConfig
from adiabat.training.schedule import Plateau, progress, rate_factor


def config(**settings):
    return ScheduleConfig(**{"max_steps": 100, "warmup_steps": 0, "final_factor": 0.1, **settings})


@pytest.mark.parametrize("kind", ["cosine", "linear", "exponential"])
def test_every_fall_goes_from_one_to_the_final_factor(kind):
    schedule = config(kind=kind)
    factors = [rate_factor(schedule, step, step / 100, Plateau()) for step in range(101)]
    assert factors[0] == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(0.1)
    assert all(after < before for before, after in pairwise(factors))


def test_warmup_multiplies_the_fall():
    schedule = config(kind="constant", warmup_steps=4)
    assert [rate_factor(schedule, step, 0.0, Plateau()) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_hold_keeps_the_peak_and_still_ends_at_the_bottom():
    schedule = config(kind="cosine", hold_fraction=0.5)
    assert rate_factor(schedule, 50, 0.5, Plateau()) == 1.0
    assert rate_factor(schedule, 75, 0.75, Plateau()) == pytest.approx(0.55)
    assert rate_factor(schedule, 100, 1.0, Plateau()) == pytest.approx(0.1)


def test_progress_follows_whichever_limit_is_nearer():
    both = ScheduleConfig(max_steps=100, max_minutes=60)
    assert progress(both, 50, 6.0) == 0.5
    assert progress(both, 50, 45.0) == 0.75
    assert progress(ScheduleConfig(max_minutes=60), 10**9, 30.0) == 0.5


def test_past_the_end_the_rate_stays_at_the_bottom():
    assert rate_factor(config(), 130, 1.3, Plateau()) == pytest.approx(0.1)


def test_plateau_falls_after_its_patience_and_not_below_its_floor():
    schedule = config(kind="plateau", plateau_patience=2, plateau_factor=0.5)
    plateau = Plateau()
    seen = []
    for improved in [True, False, False, True, False, False, False, False, False, False, False, False]:
        plateau.observe(improved, schedule)
        seen.append(rate_factor(schedule, 0, 0.0, plateau))
    assert seen == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.1, 0.1, 0.1]
