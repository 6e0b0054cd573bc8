"""Which head a structure teaches, and how much it counts: settled by seed and step, fair to all heads."""

import numpy as np
import pytest
import torch

from adiabat.training.head_draws import HeadDraws
from adiabat.training.sampler import TargetSampler

CPU = torch.device("cpu")


def test_draws_depend_on_seed_and_step_alone() -> None:
    indices = np.arange(6)
    ours, theirs = HeadDraws(4, 20, 3, CPU), HeadDraws(4, 20, 3, CPU)
    for step in (0, 5, 17):
        assert torch.equal(ours.draw(step, indices).heads, theirs.draw(step, indices).heads)
        assert torch.equal(ours.draw(step, indices).weights, theirs.draw(step, indices).weights)
    other = HeadDraws(4, 20, 4, CPU)
    assert any(not torch.equal(ours.draw(k, indices).heads, other.draw(k, indices).heads) for k in range(5))


def test_every_head_sees_all_structures_with_weights_of_its_own() -> None:
    draws = HeadDraws(3, 50, 0, CPU)
    np.testing.assert_allclose(draws.weights.mean(axis=1), 1)
    assert draws.weights.min() > 0
    assert np.abs(np.corrcoef(draws.weights)[0, 1]) < 0.4
    # an exponential distribution has a standard deviation of its mean
    assert HeadDraws(3, 5000, 0, CPU).weights.std() == pytest.approx(1, abs=0.05)
    heads = torch.cat([draws.draw(step, np.arange(5)).heads for step in range(600)])
    counts = torch.bincount(heads, minlength=3) / len(heads)
    assert counts.min() > 0.3
    draw = draws.draw(7, np.array([4, 4, 9]))
    expected = draws.weights[draw.heads.numpy(), [4, 4, 9]]
    np.testing.assert_array_equal(draw.weights.numpy(), expected)


@pytest.mark.parametrize(("share", "expected"), [(None, 0.5), (0.3, 0.3)])
def test_the_target_has_its_share_of_every_stretch_of_steps(share: float | None, expected: float) -> None:
    is_target = np.zeros(103, dtype=bool)
    is_target[[5, 50, 100]] = True
    sampler = TargetSampler(is_target, 5, seed=1, share=share)
    drawn = np.concatenate([sampler.batch(step) for step in range(200)])
    assert len(drawn) == 1000
    assert is_target[drawn].mean() == pytest.approx(expected, abs=1e-9)
    counts = np.bincount(drawn, minlength=103)
    assert np.ptp(counts[is_target]) <= 1
    assert np.ptp(counts[~is_target]) <= 1
    np.testing.assert_array_equal(TargetSampler(is_target, 5, seed=1, share=share).batch(77), sampler.batch(77))


def test_a_target_of_most_frames_is_not_cut_down() -> None:
    is_target = np.arange(10) < 8
    sampler = TargetSampler(is_target, 5, seed=0)
    drawn = np.concatenate([sampler.batch(step) for step in range(20)])
    np.testing.assert_array_equal(np.bincount(drawn), 10)
