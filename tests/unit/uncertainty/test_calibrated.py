"""Calibrated models: only the spreads change."""

import numpy as np
import torch

from adiabat.uncertainty.calibrated import Calibrated, uncalibrated
from adiabat.uncertainty.calibration import Calibration, TargetCalibration
from adiabat.uncertainty.ensemble import DeepEnsemble
from small_models import molecule, small_config, small_model


def test_only_the_spreads_are_scaled() -> None:
    members = [small_model(small_config(), seed=seed) for seed in range(2)]
    raw = DeepEnsemble(members)
    first = Calibrated(raw, Calibration(energy=TargetCalibration(method="scaling", scale=100.0)))
    model = Calibrated(
        first,
        Calibration(
            energy=TargetCalibration(method="scaling", scale=2.0, floor=0.5),
            hamiltonian=TargetCalibration(method="conformal", scale=3.0, factors=((0.6827, 3.0),)),
        ),
    )
    outputs = {"energy", "forces", "hamiltonian"}
    graph = members[0].graph(molecule(), outputs)
    before, after = raw.predict(graph, outputs), model.predict(graph, outputs)
    for name in ("energy", "forces"):
        assert torch.equal(getattr(after.mean, name), getattr(before.mean, name))
    expected = np.sqrt((2 * before.spread.energy.numpy()) ** 2 + molecule().n_atoms * 0.25)
    np.testing.assert_allclose(after.spread.energy.numpy(), expected)
    assert torch.equal(after.spread.forces, before.spread.forces)
    assert torch.equal(after.spread.hamiltonian.pair, 3 * before.spread.hamiltonian.pair)
    assert (model.method, model.model, model.members) == (raw.method, raw.model, raw.members)
    assert uncalibrated(model) is raw
    assert uncalibrated(raw) is raw
    assert model.calibration.energy.floor == 0.5
