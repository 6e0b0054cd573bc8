from itertools import combinations

import numpy as np
import pytest
import torch
from ase.build import molecule

from adiabat.campaigns.selection.force_rows import trunk_force_rows
from adiabat.campaigns.selection.variance import VarianceDesign, choose_by_variance
from adiabat.data.structure import Structure
from small_models import small_config, small_model


def random_rows(n: int, rows: int = 2, features: int = 6, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(rows, features)) * generator.uniform(0.2, 2) for _ in range(n)]


def variance_after(targets: np.ndarray, labelled: list[np.ndarray], noise: float) -> float:
    """Mean posterior variance of the targets by the textbook formula, from the precision."""
    rows = np.concatenate(labelled)
    covariance = np.linalg.inv(np.eye(rows.shape[1]) + rows.T @ rows / noise)
    return float(np.mean(np.einsum("rf,fg,rg->r", targets, covariance, targets)))


def test_gains_and_updates_equal_the_textbook_posterior():
    candidates = random_rows(5)
    targets = np.concatenate(candidates)
    design = VarianceDesign(targets, np.ones(6), 0.3)
    before = design.mean_variance

    gain = design.gain(candidates[0])
    design.add(candidates[0])

    assert design.mean_variance == pytest.approx(variance_after(targets, candidates[:1], 0.3), rel=1e-10)
    assert before - gain == pytest.approx(design.mean_variance, rel=1e-10)
    design.add(np.concatenate(candidates[1:]))  # more rows than features: the other route
    assert design.mean_variance == pytest.approx(variance_after(targets, candidates, 0.3), rel=1e-8)


def test_the_choice_of_one_is_the_best_and_that_of_two_nearly_so_by_brute_force():
    candidates = random_rows(9, seed=1)
    targets = np.concatenate(random_rows(20, seed=2))

    one = choose_by_variance(VarianceDesign(targets, np.ones(6), 0.1), candidates, 1)
    two = choose_by_variance(VarianceDesign(targets, np.ones(6), 0.1), candidates, 2)

    results = {
        chosen: variance_after(targets, [candidates[index] for index in chosen], 0.1)
        for size in (1, 2)
        for chosen in combinations(range(9), size)
    }
    singles = {chosen: value for chosen, value in results.items() if len(chosen) == 1}
    pairs = {chosen: value for chosen, value in results.items() if len(chosen) == 2}
    assert tuple(one) == min(singles, key=lambda chosen: singles[chosen])
    assert two[:1] == one
    assert results[tuple(sorted(two))] < 1.1 * min(pairs.values())
    assert results[tuple(sorted(two))] < 0.8 * np.median(list(pairs.values())), "negative control: pairs differ"


def test_looking_at_leaders_alone_chooses_what_looking_at_all_does():
    candidates = random_rows(80, rows=3, features=10, seed=3)
    targets = np.concatenate(candidates)
    design = VarianceDesign(targets, np.ones(10), 0.1)

    chosen = choose_by_variance(design, candidates, 8)

    full, expected = VarianceDesign(targets, np.ones(10), 0.1), []
    for _ in range(8):
        gains = full.gains(candidates)
        gains[expected] = -np.inf
        expected.append(int(gains.argmax()))
        full.add(candidates[expected[-1]])
    assert chosen == expected


def test_it_beats_random_choice_and_uncertainty_where_an_outlier_tells_nothing_of_the_rest():
    generator = np.random.default_rng(0)
    bulk = [generator.normal(size=(1, 8)) * np.r_[np.ones(4), np.zeros(4)] for _ in range(60)]
    outliers = [5 * np.eye(8)[4 + index % 4][None] for index in range(4)]
    candidates = bulk + outliers
    targets = np.concatenate(bulk)
    design = VarianceDesign(targets, np.ones(8), 0.01)

    chosen = choose_by_variance(design, candidates, 4)

    uncertain = np.argsort([-np.trace(rows @ rows.T) for rows in candidates])[:4]
    random = [variance_after(targets, [candidates[i] for i in generator.permutation(64)[:4]], 0.01) for _ in range(20)]
    assert not set(chosen) & {60, 61, 62, 63}
    assert design.mean_variance < 0.6 * np.mean(random)
    assert variance_after(targets, [candidates[i] for i in uncertain], 0.01) > 5 * design.mean_variance, (
        "negative control: the most uncertain are the outliers, and do not help"
    )


def test_force_rows_times_the_last_weights_are_the_models_forces():
    model = small_model(small_config(operator=False, cutoff=5.0))
    structure = Structure.from_ase(molecule("CH3CH2OH"))
    water = Structure.from_ase(molecule("H2O"))

    rows = trunk_force_rows(model, [structure, water])

    weights = model.energy_head.last_weights.detach().numpy()
    for found, one in zip(rows, (structure, water), strict=True):
        forces = model(model.graph(one, {"forces"}), {"forces"}).forces.detach().numpy().ravel()
        np.testing.assert_allclose(found @ weights, forces, atol=1e-10 * np.abs(forces).max())
        assert np.abs(found @ weights[::-1] - forces).max() > 1e-3 * np.abs(forces).max(), "negative control"


def test_fewer_combinations_keep_most_of_the_variance_of_the_forces():
    model = small_model(small_config(operator=False, cutoff=5.0))
    generator = np.random.default_rng(0)
    ethanols = []
    for _ in range(6):
        atoms = molecule("CH3CH2OH")
        atoms.positions += generator.normal(scale=0.05, size=(9, 3))
        ethanols.append(Structure.from_ase(atoms))

    full = np.concatenate(trunk_force_rows(model, ethanols))
    few = np.concatenate(trunk_force_rows(model, ethanols, 9))

    assert few.shape[1] == 9
    assert 0.98 < np.vdot(few, few) / np.vdot(full, full) <= 1 + 1e-9
    assert torch.get_default_dtype() == torch.float32
