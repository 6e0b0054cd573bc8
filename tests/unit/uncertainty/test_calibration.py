"""Calibrations fitted to errors whose distribution is known."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from ase.build import molecule

from adiabat.core.errors import ConfigError, LabelError, ModelError
from adiabat.data.graph import build_graph, collate
from adiabat.data.structure import Structure
from adiabat.models.operator_layout import OperatorBlocks
from adiabat.uncertainty.calibration import Calibration, TargetCalibration
from adiabat.uncertainty.calibration_fit import HeldOut, conformal_factor, fit_calibration, fit_scaling
from adiabat.uncertainty.interface import Spread

N_FRAMES = 400


def held_out(random: np.random.Generator, *, true_over_said: float, n_each: int = 30, common: float = 0.0) -> HeldOut:
    """Normal errors, whose spreads say a ``true_over_said``-th of the truth; ``common`` is shared by a structure."""
    spreads = random.lognormal(-3.0, 0.7, (N_FRAMES, n_each))
    noise = np.sqrt(1 - common) * random.normal(size=spreads.shape)
    noise += np.sqrt(common) * random.normal(size=(N_FRAMES, 1))
    structure = np.repeat(np.arange(N_FRAMES), n_each)
    return HeldOut((true_over_said * spreads * noise).ravel(), spreads.ravel(), structure)


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_scaling_finds_the_factor_by_which_spreads_are_too_small(factor: float) -> None:
    a, b = fit_scaling(held_out(np.random.default_rng(0), true_over_said=factor))
    assert a == pytest.approx(factor, rel=0.03)  # 12 000 values: 1/√24 000 = 0.6 %
    assert b == 0


@pytest.mark.parametrize(("a", "b"), [(2.0, 0.03), (0.5, 0.0), (0.0, 0.1)])
def test_scaling_with_a_floor_tells_the_two_apart(a: float, b: float) -> None:
    random = np.random.default_rng(1)
    spreads, n_atoms = random.lognormal(-3.0, 0.7, 20_000), random.integers(1, 20, 20_000)
    sigma = np.sqrt((a * spreads) ** 2 + n_atoms * b**2)
    sample = HeldOut(sigma * random.normal(size=len(sigma)), spreads, np.arange(len(sigma)), n_atoms)
    found_a, found_b = fit_scaling(sample, floor=True)
    # 20 000 values know a variance to 1 %; a² s² is least, a fifteenth, beside b² n in the last case.
    assert found_a**2 == pytest.approx(a**2, rel=0.1, abs=0.15)
    assert found_b == pytest.approx(b, rel=0.05, abs=2e-3)
    assert fit_scaling(sample)[0] > a * 1.1 or b == 0


def test_the_likeliest_parameters_are_found() -> None:
    random = np.random.default_rng(2)
    sample = held_out(random, true_over_said=1.5)
    sample = HeldOut(sample.errors + random.normal(0, 0.05, sample.errors.shape), sample.spreads, sample.structure)
    a, b = fit_scaling(sample, floor=True)

    def loss(a: float, b: float) -> float:
        variance = (a * sample.spreads) ** 2 + b**2
        return float((np.log(variance) + sample.errors**2 / variance).mean())

    best = loss(a, b)
    assert all(loss(a * x, b * y) > best for x, y in ((1.02, 1), (0.98, 1), (1, 1.02), (1, 0.98)))


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_conformal_factors_cover_new_structures_whatever_the_distribution(level: float) -> None:
    random = np.random.default_rng(3)

    def sample() -> HeldOut:
        """Uniform errors, common to a structure, of structures that differ in size."""
        sizes = random.integers(1, 40, 60)
        structure = np.repeat(np.arange(60), sizes)
        shared = random.uniform(-1, 1, 60)[structure]
        return HeldOut(shared + 0.2 * random.uniform(-1, 1, len(structure)), np.ones(len(structure)), structure)

    covered: list[float] = []
    for _ in range(200):
        q = conformal_factor(sample(), level)
        new = sample()
        inside = np.abs(new.errors) <= q
        covered.append(float(np.mean([inside[new.structure == k].mean() for k in range(60)])))
    # The promise is for the mean over calibrations; 200 of them know it to about 0.5 %.
    assert level - 0.01 < np.mean(covered) < level + 1 / 61 + 0.02


def test_conformal_factors_of_one_value_a_structure_are_order_statistics() -> None:
    errors = np.arange(1.0, 20.0)  # 19 of them
    sample = HeldOut(np.random.default_rng(4).permutation(errors), np.ones(19), np.arange(19))
    assert conformal_factor(sample, 0.95) == 19
    assert conformal_factor(sample, 0.5) == 10
    with pytest.raises(LabelError, match="at least 99"):
        conformal_factor(sample, 0.99)
    with pytest.raises(LabelError, match="at least 19"):
        conformal_factor(HeldOut(errors[:18], np.ones(18), np.arange(18)), 0.95)


def test_counting_components_as_independent_would_promise_too_much() -> None:
    """The negative control of the structure's mass: with few structures, pooled quantiles fall short."""
    random = np.random.default_rng(5)
    with_mass, pooled = [], []
    for _ in range(3000):
        shared = np.abs(random.normal(size=12))
        sample = HeldOut(np.repeat(shared, 50), np.ones(600), np.repeat(np.arange(12), 50))
        new = abs(random.normal())
        with_mass.append(new <= conformal_factor(sample, 0.9))
        pooled.append(new <= np.quantile(sample.errors, 0.9))
    assert np.mean(with_mass) > 0.9 - 0.01
    assert np.mean(pooled) < 0.88


def test_a_conformal_calibration_widens_to_the_levels_it_was_made_for_and_refuses_others() -> None:
    sample = held_out(np.random.default_rng(6), true_over_said=2.0)
    calibration = fit_calibration({"forces": sample}, "conformal").forces
    assert calibration.scale == pytest.approx(2.0, rel=0.05)
    assert calibration.half_width(0.6827) == pytest.approx(1)
    assert calibration.half_width(0.9) == pytest.approx(1.645, rel=0.05)
    widths = [factor for _, factor in calibration.factors]
    assert all(low < high for low, high in pairwise(widths))
    with pytest.raises(ConfigError, match=r"0\.8"):
        calibration.half_width(0.8)
    assert TargetCalibration().half_width(0.95) == pytest.approx(1.96, abs=1e-3)


def test_a_calibration_survives_json() -> None:
    sample = held_out(np.random.default_rng(7), true_over_said=2.0)
    parts = {"forces": sample, "energy": sample}
    for calibration in (
        fit_calibration(parts, "conformal", levels=(0.8,), data={"file": "x.lmdb"}),
        fit_calibration(parts, "scaling", floor=True),
        fit_calibration(parts, "none"),
    ):
        assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration
    assert fit_calibration(parts, "none") == Calibration()


def test_spreads_of_a_batch_are_calibrated_by_target() -> None:
    graph = collate([build_graph(Structure.from_ase(molecule(name)), 3.0) for name in ("H2O", "CH4")])
    blocks = OperatorBlocks(torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), torch.zeros(0, 2, 2))
    raw = Spread(torch.tensor([3.0, 4.0]), torch.ones(8), torch.ones(8, 3), None, blocks)
    calibration = Calibration(
        energy=TargetCalibration(method="scaling", scale=2.0, floor=1.5),
        forces=TargetCalibration(method="conformal", scale=3.0),
        hamiltonian=TargetCalibration(method="scaling", scale=1.0, floor=0.5),
    )
    ours = calibration.apply(raw, graph)
    np.testing.assert_allclose(ours.energy, np.sqrt([36 + 3 * 2.25, 64 + 5 * 2.25]), rtol=1e-6)
    np.testing.assert_allclose(ours.atomic_energies, np.sqrt(4 + 2.25), rtol=1e-6)
    np.testing.assert_allclose(ours.forces, 3.0)
    assert ours.stress is None
    assert ours.hamiltonian is not None
    np.testing.assert_allclose(ours.hamiltonian.onsite, [[[np.sqrt(1.25), 0], [0, 0]]], rtol=1e-6)
    assert torch.equal(Calibration().apply(raw, graph).forces, raw.forces)


def test_what_no_calibration_can_come_from_is_refused() -> None:
    one = np.ones(30)
    frames = np.arange(30)
    with pytest.raises(ConfigError, match="did you mean 'forces'"):
        fit_calibration({"force": HeldOut(one, one, frames)})
    with pytest.raises(ConfigError, match="floor"):
        fit_calibration({"forces": HeldOut(one, one, frames)}, "conformal", floor=True)
    with pytest.raises(ConfigError, match=r"1\.2"):
        fit_calibration({"forces": HeldOut(one, one, frames)}, "conformal", levels=(1.2,))
    with pytest.raises(LabelError, match="no held-out"):
        fit_calibration({"forces": HeldOut(one[:0], one[:0], frames[:0])})
    with pytest.raises(ModelError, match="zero"):
        fit_calibration({"forces": HeldOut(one, 0 * one, frames)}, "scaling")
    with pytest.raises(ModelError, match="zero"):
        fit_calibration({"forces": HeldOut(one, 0 * one, frames)}, "scaling", floor=True)
    with pytest.raises(ModelError, match="not a number"):
        fit_calibration({"forces": HeldOut(one * np.nan, one, frames)})
