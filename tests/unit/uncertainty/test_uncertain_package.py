"""Uncertain models of every method, written and read again."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from adiabat.core.errors import AdiabatError, FileFormatError, ModelError, SchemaVersionError
from adiabat.core.orbitals import OrbitalBasis
from adiabat.models.model import Model
from adiabat.models.operator_layout import OperatorBlocks
from adiabat.models.package import load_model, save_model
from adiabat.uncertainty.calibrated import Calibrated
from adiabat.uncertainty.calibration import Calibration, TargetCalibration
from adiabat.uncertainty.ensemble import DeepEnsemble
from adiabat.uncertainty.interface import UncertainModel
from adiabat.uncertainty.last_layer import LastLayer
from adiabat.uncertainty.last_layer_fit import LastLayerSettings, fit_last_layer
from adiabat.uncertainty.out_of_distribution import FeatureReference
from adiabat.uncertainty.package import (
    inspect_uncertain_model,
    load_any_model,
    load_uncertain_model,
    save_uncertain_model,
)
from adiabat.uncertainty.shallow import ShallowEnsemble
from small_models import molecule, random_labels, small_config, small_model

S_P = OrbitalBasis("toy-sp", {1: (0,), 6: (0, 1), 8: (0, 0, 1)})
OUTPUTS = ("energy", "forces", "hamiltonian")
DOUBLED = Calibration(energy=TargetCalibration(method="scaling", scale=2.0, n_frames=7))


def make_model(seed: int = 0, heads: int = 1) -> Model:
    config = small_config(l_max=1).model_copy(update={"ensemble": heads})
    return small_model(config, S_P, seed=seed)


@cache
def uncertain(method: str) -> UncertainModel:
    if method == "ensemble":
        return DeepEnsemble([make_model(seed) for seed in range(2)])
    if method == "shallow-ensemble":
        return ShallowEnsemble(make_model(heads=3))
    model = make_model()
    labelled = [random_labels(model, molecule(k, (8, 6, 1)), k) for k in range(3)]
    found = fit_last_layer(model, labelled, LastLayerSettings(n_draws=3, seed=5))
    found.out_of_distribution = FeatureReference.of(model, [example.graph for example in labelled])
    return found


METHODS = ["ensemble", "shallow-ensemble", "last-layer"]


@pytest.mark.parametrize("calibrated", [False, True], ids=["raw", "calibrated"])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_written_is_read(method: str, calibrated: bool, tmp_path: Path) -> None:
    model = Calibrated(uncertain(method), DOUBLED) if calibrated else uncertain(method)
    path = tmp_path / "uncertain.safetensors"
    save_uncertain_model(model, path, {"trained_on": "toys"})
    again = load_uncertain_model(path)
    assert again.method == method
    assert again.calibration == model.calibration
    assert isinstance(again, Calibrated) == calibrated
    assert len(again.members) == len(model.members)
    graph = model.model.graph(molecule(9), OUTPUTS)
    ours, theirs = (one.predict(graph, OUTPUTS) for one in (model, again))
    for part in ("mean", "spread"):
        for name in ("energy", "atomic_energies", "forces"):
            assert torch.equal(getattr(getattr(ours, part), name), getattr(getattr(theirs, part), name)), (part, name)
    if method != "shallow-ensemble":
        assert isinstance(theirs.spread.hamiltonian, OperatorBlocks)
        assert torch.equal(ours.spread.hamiltonian.pair, theirs.spread.hamiltonian.pair)
    member, same = (one.members[1](graph, ("energy",)).energy for one in (model, again))
    assert torch.equal(member, same)


def test_the_reference_of_the_training_set_goes_along(tmp_path: Path) -> None:
    model = uncertain("last-layer")
    save_uncertain_model(Calibrated(model, DOUBLED), tmp_path / "file", {})
    again = load_uncertain_model(tmp_path / "file")
    graph = model.model.graph(molecule(9), ("energy",))
    ours, theirs = (one.out_of_distribution.familiarity(one.model, graph) for one in (model, again))
    torch.testing.assert_close(ours.excess, theirs.excess, rtol=1e-9, atol=0)
    assert uncertain("ensemble").out_of_distribution is None


def test_either_kind_of_file_loads(tmp_path: Path) -> None:
    save_model(make_model(), tmp_path / "plain", {})
    save_uncertain_model(uncertain("ensemble"), tmp_path / "uncertain", {})
    assert isinstance(load_any_model(tmp_path / "plain"), Model)
    assert isinstance(load_any_model(tmp_path / "uncertain"), DeepEnsemble)
    assert load_any_model(tmp_path / "uncertain", dtype=torch.float32).model.dtype == torch.float32
    with pytest.raises(FileFormatError, match="no adiabat model"):
        load_model(tmp_path / "uncertain")
    with pytest.raises(FileFormatError, match="no adiabat uncertain model"):
        load_uncertain_model(tmp_path / "plain")
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(AdiabatError, match="cannot be read"):
            load_any_model(path)


def test_inspect_tells_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "uncertain"
    save_uncertain_model(Calibrated(uncertain("last-layer"), DOUBLED), path, {"trained_on": "toys"})
    found = inspect_uncertain_model(path)
    assert found["method"] == "last-layer"
    assert found["settings"]["n_draws"] == 3
    assert found["settings"]["summary"]["n_structures"] == 3
    assert found["calibration"]["energy"]["scale"] == 2.0
    assert found["provenance"] == {"trained_on": "toys"}
    assert found["schema_version"] == 1
    assert found["bytes"] == path.stat().st_size


def test_a_posterior_of_the_energy_alone(tmp_path: Path) -> None:
    full = uncertain("last-layer")
    assert isinstance(full, LastLayer)
    save_uncertain_model(LastLayer(full.model, full.posterior), tmp_path / "file", {})
    again = load_uncertain_model(tmp_path / "file")
    assert isinstance(again, LastLayer)
    assert again.operator is None


def test_any_changed_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "uncertain"
    save_uncertain_model(uncertain("shallow-ensemble"), path, {})
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    random = np.random.default_rng(0)
    for place in [0, 7, 8, *random.integers(8, header, 30), *random.integers(header, len(content), 10)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        with pytest.raises((FileFormatError, SchemaVersionError)):
            load_any_model(path)


def test_somebody_elses_method_is_refused(tmp_path: Path) -> None:
    class Other(DeepEnsemble.__bases__[0]):
        method = "other"
        model = property(lambda self: make_model())
        members = ()

        def predict(self, graph, outputs):
            raise NotImplementedError

    with pytest.raises(ModelError, match="class Other"):
        save_uncertain_model(Other(), tmp_path / "file", {})
