"""The fit of the linear family: exact where the truth is linear, the same either way, and calibrated."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from adiabat.core.errors import TrainingError
from adiabat.data.structure import Structure
from adiabat.models.linear_system import LabelledRows, LinearSystem
from adiabat.models.model import Model
from adiabat.models.posterior import Posterior
from adiabat.training.batches import Example
from adiabat.training.config import LinearFitConfig
from adiabat.training.linear_fit import _Accumulation, evenly_spaced, fit_linear
from adiabat.training.linear_hyperparameters import Hyperparameters, find_hyperparameters, minus_log_density
from adiabat.training.linear_solver import RidgeSolver
from adiabat.uncertainty.linear import linear_posterior
from linear_models import linear_config, linear_model
from small_models import crystal, molecule

CONFIG = linear_config(degrees=(4, 3, 2), l_max=2)
NUMBERS = (6, 8, 1, 1, 6)


def labelled(model: Model, structure: Structure, noise: float = 0.0, seed: int = 0) -> Example:
    """Labels that the model itself gives."""
    outputs = ("energy", "forces", "stress") if structure.pbc.all() else ("energy", "forces")
    graph = model.graph(structure, outputs)
    found = model(graph, outputs)
    generator = torch.Generator().manual_seed(seed)
    values = {name: getattr(found, name).detach().double() for name in outputs}
    values["forces"] = values["forces"] + noise * torch.randn(values["forces"].shape, generator=generator)
    return Example(graph, values, {}, {name: value.numel() for name, value in values.items()}, "made")


def quiet(text: str, done: float) -> None:
    pass


def smooth_truth(seed: int = 5) -> Model:
    """Weights as the prior expects them."""
    model = linear_model(CONFIG, seed=seed)
    with torch.no_grad():
        model.energy_head.weights.mul_((1.0 + model.trunk.degrees) ** -1.0)
    return model


def test_what_is_linear_is_found() -> None:
    truth = smooth_truth()
    structures = [molecule(seed, NUMBERS) for seed in range(25)] + [crystal(seed) for seed in range(5)]
    examples = [labelled(truth, structure, noise=1e-3, seed=seed) for seed, structure in enumerate(structures)]
    fitted = linear_model(CONFIG, seed=1)
    before = force_error(fitted, truth)
    fit = fit_linear(fitted, examples, LinearFitConfig(hyperparameter_rows=200), quiet)
    # 1e-3 of noise averages over some labels a weight; far structures are less well known
    assert force_error(fitted, truth) < 0.03 * before
    assert fit.noise[1] * float(fitted.energy_head.scale) < 5e-3


def force_error(model: Model, truth: Model) -> float:
    squares = []
    for seed in range(100, 104):
        graph = truth.graph(molecule(seed, NUMBERS), ("forces",))
        squares.append((model(graph, ("forces",)).forces - truth(graph, ("forces",)).forces).detach().square().mean())
    return float(torch.stack(squares).mean().sqrt())


def test_both_ways_to_solve_are_one_and_that_of_the_posterior() -> None:
    random = np.random.default_rng(0)
    noise, prior = np.array([0.1, 0.2, 0.3]), 0.1 + random.random(12)
    rows, labels = random.standard_normal((20, 12)), random.standard_normal(20)
    part = LabelledRows(rows, labels, np.arange(20) % 3)
    solutions = []
    for claimed_rows in (10, 20):
        solver = RidgeSolver(12, claimed_rows, noise)
        solver.add(part)
        solutions.append(solver.solve(prior, 0.5))
    scaled = torch.from_numpy(rows / (0.5 * noise[part.kinds])[:, None])
    posterior = Posterior.from_rows(scaled, torch.from_numpy(prior**-2))
    expected = posterior.mean(scaled.mT @ torch.from_numpy(labels / (0.5 * noise[part.kinds])))
    probes = random.standard_normal((3, 12))
    for solution in solutions:
        np.testing.assert_allclose(solution.weights, expected, rtol=1e-8)
        np.testing.assert_allclose(solution.variance(probes), posterior.variance(torch.from_numpy(probes)), rtol=1e-8)


def test_leaving_out_is_what_a_fit_without_the_structure_predicts() -> None:
    random = np.random.default_rng(1)
    features, labels = random.standard_normal((7, 4)), random.standard_normal(7)
    sizes, variance = [3, 2, 2], 0.3
    total = 0.0
    for start, size in zip((0, 3, 5), sizes, strict=True):
        out = np.arange(start, start + size)
        kept = np.delete(np.arange(7), out)
        posterior = Posterior.from_rows(torch.from_numpy(features[kept] / variance**0.5), 1.0)
        mean = posterior.mean(torch.from_numpy(features[kept].T @ labels[kept] / variance)).numpy()
        spread = posterior.variance(torch.from_numpy(features[out])).numpy() + variance
        total += np.sum(np.log(spread) + (labels[out] - features[out] @ mean) ** 2 / spread)
    gram = torch.from_numpy(features @ features.T)
    found = minus_log_density(gram, torch.full((7,), variance, dtype=torch.float64), torch.from_numpy(labels), sizes)
    # a regularization of 1e-12 of the Gram matrix
    assert float(found) == pytest.approx(total / 14, rel=1e-9)


def test_noise_is_told_from_signal() -> None:
    random = np.random.default_rng(2)
    weights = random.standard_normal(30)
    parts = []
    for _ in range(12):
        rows = random.standard_normal((9, 30))
        parts.append(LabelledRows(rows, rows @ weights + 0.5 * random.standard_normal(9), np.ones(9, dtype=np.int64)))
    found = find_hyperparameters(parts, np.ones(30, dtype=np.int64), np.ones(30))
    # 108 labels less 30 weights tell it to 8 %
    assert found.noise[1] == pytest.approx(0.5, rel=0.25)


def test_the_posterior_is_that_of_the_fit_and_covers_the_truth() -> None:
    truth = smooth_truth()
    examples = [labelled(truth, molecule(seed, NUMBERS), noise=0.01, seed=seed) for seed in range(25)]
    fitted = linear_model(CONFIG, seed=1)
    fit = fit_linear(fitted, examples, LinearFitConfig(hyperparameter_rows=200), quiet)
    posterior = linear_posterior(fitted, examples)
    system = LinearSystem(fitted, examples)
    moment = sum(
        part.rows.T @ (part.labels / fit.noise[part.kinds] ** 2)
        for part in (system.of(example) for example in examples)
    )
    # equations solved in two ways, of a condition of some 1e8
    np.testing.assert_allclose(posterior.mean(torch.from_numpy(moment)), fit.weights, rtol=1e-5, atol=1e-6)
    ratios = []
    for seed in range(100, 110):
        part = system.of(labelled(truth, molecule(seed, NUMBERS)))
        spread = posterior.variance(torch.from_numpy(part.rows)).numpy()
        ratios.append(np.square(part.rows @ fit.weights - part.labels) / spread)
    # errors of a structure go together: ten of them tell the mean square to some 50 %
    assert 0.3 < np.mean(np.concatenate(ratios)) < 3


def alone(model: Model) -> float:
    atom = Structure(np.array([8]), np.zeros((1, 3)))
    return model(model.graph(atom, ("energy",)), ("energy",)).energy.item()


def test_without_constants_an_atom_alone_has_its_reference_energy() -> None:
    truth = smooth_truth()
    examples = [labelled(truth, molecule(seed, NUMBERS)) for seed in range(6)]
    fitted = linear_model(CONFIG, seed=1)
    fit_linear(fitted, examples, LinearFitConfig(), quiet, constants=False)
    assert alone(fitted) == -2040.0
    fit_linear(fitted, examples, LinearFitConfig(), quiet, constants=True)
    assert alone(fitted) != -2040.0


def test_structures_for_hyperparameters_are_spread_over_the_set() -> None:
    examples = [labelled(linear_model(CONFIG), molecule(0, (8, 1)))] * 91
    examples = [replace(example, name=str(index)) for index, example in enumerate(examples)]
    # seven labels a structure; thirty structures are the fewest
    assert evenly_spaced(examples, 46 * 7) == list(range(0, 91, 2))
    assert len(evenly_spaced(examples, 7)) == 30
    assert evenly_spaced(examples, 10_000) == list(range(91))


def test_thinning_spares_energies_and_stress() -> None:
    part = LinearSystem(linear_model(CONFIG), []).of(labelled(linear_model(CONFIG), crystal()))
    thin = part.thinned(9, seed=0)
    assert np.bincount(thin.kinds).tolist() == [1, 2, 6]
    assert {label for label in thin.labels} <= {label for label in part.labels}
    assert len(part.thinned(1000, seed=0)) == len(part) == 1 + 9 + 6


def test_noise_too_small_for_double_precision_is_raised_until_it_can_be_solved() -> None:
    truth = smooth_truth()
    examples = [labelled(truth, molecule(seed, NUMBERS)) for seed in range(60)]
    system = LinearSystem(truth, examples)
    n_weights, n_orders = system.n_weights, len(CONFIG.linear_ace.degrees) + 1
    assert system.n_rows > n_weights  # so that the prior is what keeps the equations solvable
    absurd = Hyperparameters(np.ones(n_orders), np.full(3, 1e-6), 0.0)
    fit = _Accumulation(system, absurd, quiet).fit(np.full(n_weights, 1e3), set())
    assert fit.summary["noise_factor"] > 1
    assert np.isfinite(fit.weights).all()
    with pytest.raises(TrainingError, match="noise"):
        _Accumulation(system, replace(absurd, noise=np.full(3, 1e-30)), quiet).fit(np.full(n_weights, 1e3), set())
