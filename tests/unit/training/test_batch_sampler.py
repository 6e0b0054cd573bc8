import numpy as np

from adiabat.training.sampler import BatchSampler


def test_each_structure_is_drawn_once_an_epoch_across_batch_borders():
    sampler = BatchSampler(n_examples=7, batch_size=3, seed=1)
    drawn = np.concatenate([sampler.batch(step) for step in range(7)])
    assert np.array_equal(np.bincount(drawn), np.full(7, 3))
    for epoch in range(3):
        assert len(set(drawn[7 * epoch : 7 * (epoch + 1)])) == 7


def test_a_batch_depends_on_seed_and_step_alone():
    one, other = BatchSampler(20, 4, seed=3), BatchSampler(20, 4, seed=3)
    later = other.batch(17)
    walked = [one.batch(step) for step in range(18)]
    assert np.array_equal(walked[17], later)
    assert not np.array_equal(BatchSampler(20, 4, seed=4).batch(17), later)


def test_epochs_are_shuffled_differently():
    sampler = BatchSampler(50, 50, seed=0)
    assert not np.array_equal(sampler.batch(0), sampler.batch(1))


def test_a_batch_is_never_larger_than_the_set():
    sampler = BatchSampler(2, 5, seed=0)
    assert sorted(sampler.batch(9)) == [0, 1]
    assert sampler.epoch(3) == 3.0
