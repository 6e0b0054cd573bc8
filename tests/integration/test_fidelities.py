"""Several levels of theory in one run: told apart when asked for, refused when not, and each with its own energies."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from adiabat.core.errors import ConfigError, LabelError, ModelError
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.graph import collate
from adiabat.data.record import Record
from adiabat.models.package import load_model
from adiabat.training.checkpoint import read_checkpoint
from adiabat.training.config import TrainConfig
from adiabat.training.loop import TrainingLoop
from adiabat.training.metrics_log import read_metrics
from adiabat.training.setup import prepare
from adiabat.training.trainer import Trainer
from labelled_waters import tiny_config, water_records, write_store
from two_levels import HIGH, LOW, SHIFT, costly

BOTH = {"fidelities": [HIGH, LOW]}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Twelve waters at the low level, four of them at the high one."""
    folder = tmp_path_factory.mktemp("levels")
    records = water_records(12)
    return write_store(folder / "high.lmdb", costly(records[:4])), write_store(folder / "low.lmdb", records)


def both(stores: tuple[Path, Path], *, model: dict[str, object] | None = None, **sections: object) -> TrainConfig:
    data = {"train": [str(path) for path in stores], **(sections.pop("data", None) or {})}
    return tiny_config(stores[0], data=data, model=BOTH if model is None else model, **sections)


def fit(config: TrainConfig, directory: Path, **options: bool) -> str:
    console = Console(file=io.StringIO(), width=200)
    Trainer(config, directory, console=console).fit(**options)
    return console.file.getvalue()


# ---------------------------------------------------------------- refusals


def test_energies_of_two_methods_are_not_mixed_by_accident(stores: tuple[Path, Path]) -> None:
    """Until now they were, without a word."""
    with pytest.raises(LabelError) as caught:
        prepare(both(stores, model={}))
    assert f"{HIGH} (4 frames), {LOW} (12 frames)" in caught.value.got
    assert "model.fidelities" in caught.value.suggestion
    same = [{"path": str(path), "fidelity": "one"} for path in stores]
    setup = prepare(both(stores, model={"operator": None}, data={"train": same}))  # the user says that they are one
    assert len(setup.train) == 16
    assert setup.provenance["fidelities"] == {"one": 16}


def test_another_method_for_hamiltonians_than_for_energies_is_no_mixture(tmp_path: Path) -> None:
    records = water_records(8)
    stores = (
        write_store(tmp_path / "h.lmdb", [_only(record, ("hamiltonian", "h0")) for record in costly(records[:4])]),
        write_store(tmp_path / "e.lmdb", [_only(record, ("energy", "forces")) for record in records]),
    )
    assert len(prepare(both(stores, model={})).train) == 12


def test_every_level_is_named_and_has_frames(stores: tuple[Path, Path]) -> None:
    with pytest.raises(LabelError, match=r"only those of model\.fidelities: other, toy/toy"):
        prepare(both(stores, model={"fidelities": ["other", LOW]}))
    with pytest.raises(LabelError, match="no training frame of fidelity third"):
        prepare(both(stores, model={"fidelities": [HIGH, LOW, "third"]}))


def test_a_level_without_energies_has_no_reference_energies(tmp_path: Path) -> None:
    records = water_records(6)
    forces_alone = [_only(record, ("forces",)) for record in costly(records[:3])]
    stores = write_store(tmp_path / "high.lmdb", forces_alone), write_store(tmp_path / "low.lmdb", records)
    surface = {**BOTH, "operator": None}
    with pytest.raises(LabelError, match="without a single energy label") as caught:
        prepare(both(stores, model=surface))
    assert HIGH in caught.value.got
    energies = {HIGH: {"H": -20.0, "O": -2000.0}}
    model = prepare(both(stores, model=surface, data={"reference_energies": energies})).model
    assert model.energy_head.reference[0].tolist() == [-20.0, -2000.0]
    with pytest.raises(ConfigError, match="for any of the fidelities"):
        prepare(both(stores, model=surface, data={"reference_energies": {"H": -20.0, "O": -2000.0}}))


def test_an_element_that_a_level_lacks_is_named(tmp_path: Path) -> None:
    records = water_records(6, ("energy", "forces"))
    dry = [
        replace(record, structure=replace(record.structure, atomic_numbers=np.array([1, 1, 1])))
        for record in costly(records[:3])
    ]
    stores = write_store(tmp_path / "high.lmdb", dry), write_store(tmp_path / "low.lmdb", records)
    with pytest.raises(LabelError, match="no reference energy for O in the labels of fidelity 'costly/toy'"):
        prepare(both(stores))


def test_hamiltonians_of_one_model_are_in_one_basis(tmp_path: Path) -> None:
    records = water_records(4)
    other = OrbitalBasis("other", {1: (0,), 8: (0, 1)})
    moved = [
        replace(record, provenance=replace(
            record.provenance, orbital_basis=other, settings={**record.provenance.settings, "basis": "other"}))
        for record in costly(records)
    ]  # fmt: skip
    stores = write_store(tmp_path / "high.lmdb", moved), write_store(tmp_path / "low.lmdb", records)
    with pytest.raises(LabelError, match="one basis") as caught:
        prepare(both(stores))
    assert "init_model" in caught.value.suggestion


# ---------------------------------------------------------------- what is learned


def test_each_level_has_its_own_reference_energies(stores: tuple[Path, Path]) -> None:
    """Those of the level with few labels come from differences of the same structures, sharp to the last digit."""
    head = prepare(both(stores)).model.energy_head
    water = torch.tensor([2.0, 1.0], dtype=torch.float64)  # H, O
    high, low = head.reference @ water
    labels = np.array([float(record.labels["energy"]) for record in water_records(12)])
    assert float(low) == pytest.approx(labels.mean(), abs=1e-6)
    difference = SHIFT + 0.3 * (labels[:4] + 2000).mean()
    assert float(high - low) == pytest.approx(difference, abs=1e-6)
    # negative control: the mean of the four high labels alone stands elsewhere
    alone = (SHIFT - 2000 + 1.3 * (labels[:4] + 2000)).mean()
    assert abs(float(high) - alone) > 1e-3


def test_each_structure_is_scored_at_its_own_level(stores: tuple[Path, Path]) -> None:
    setup = prepare(both(stores, training={"dtype": "float64"}))
    assert [int(example.graph.fidelity_index) for example in setup.train] == [0] * 4 + [1] * 12
    graph = collate([setup.train[0].graph, setup.train[4].graph])  # one structure, twice
    energy = setup.model(graph, {"energy"}).energy
    reference = setup.model.energy_head.reference @ torch.tensor([2.0, 1.0], dtype=torch.float64)
    assert torch.allclose(energy - energy[0], reference - reference[0])


def test_the_target_alone_chooses_the_best_model(stores: tuple[Path, Path]) -> None:
    both_levels = [str(path) for path in stores]
    setup = prepare(both(stores, data={"validation": both_levels}))
    assert [int(example.graph.fidelity_index) for example in setup.validation] == [0] * 4
    assert len(prepare(both(stores, data={"validation": both_levels[1]})).validation) == 12


def test_a_run_learns_both_levels_and_predicts_the_target(stores: tuple[Path, Path], tmp_path: Path) -> None:
    config = both(
        stores,
        data={"validation": str(stores[0])},
        model={**BOTH, "operator": {"channels": 4, "order": 2, "hidden": 8, "n_bessel": 4}},
        schedule={"max_steps": 150},
        optimizer={"learning_rate": 0.02},
        training={"validation_interval": 50, "checkpoint_interval": 150, "ema_decay": 0.5},
    )
    fit(config, tmp_path / "run")
    losses = [line["loss"] for line in read_metrics(tmp_path / "run/metrics.jsonl") if line["kind"] == "validation"]
    assert losses[-1] < losses[0]
    model = load_model(tmp_path / "run/model.safetensors")
    record = costly(water_records(1))[0]
    cheap = model.at_fidelity(LOW)
    errors = {}
    for name, predicted in (("high", model), ("low", cheap)):
        with torch.no_grad():
            found = predicted(predicted.graph(record.structure, {"energy"}), {"energy"})
        errors[name] = abs(float(found.energy) - float(record.labels["energy"]))
    assert errors["high"] < 1
    assert errors["low"] == pytest.approx(-SHIFT, abs=5)
    assert (model.require_operator().xc, cheap.require_operator().xc) == ("pbe0", "pbe")
    assert model.references.others[LOW].xc == "pbe"
    wanted = record.labels["hamiltonian"].values - record.labels["h0"].values
    mae = [np.abs(predicted.delta_hamiltonian(record.structure).values - wanted).mean() for predicted in (model, cheap)]
    assert mae[0] < mae[1]


def test_a_level_without_hamiltonians_gives_none(tmp_path: Path) -> None:
    records = water_records(8)
    stores = (
        write_store(tmp_path / "high.lmdb", costly(records[:4])),
        write_store(tmp_path / "low.lmdb", [_only(record, ("energy", "forces")) for record in records]),
    )
    model = prepare(both(stores)).model
    assert model.require_operator().xc == "pbe0"
    with pytest.raises(ModelError, match="at fidelity 'toy/toy'"):
        model.at_fidelity(LOW).require_operator()
    with pytest.raises(LabelError, match="none of the target"):
        prepare(both(stores, model={"fidelities": [LOW, HIGH]}))


def test_blocks_of_both_levels_are_standardised_alike(stores: tuple[Path, Path]) -> None:
    head = prepare(both(stores, training={"dtype": "float64"})).model.operator_head
    n = len(head.onsite.scale) // 2
    assert torch.equal(head.onsite.scale[:n], head.onsite.scale[n:])
    assert torch.equal(head.pair.amplitude[:4], head.pair.amplitude[4:])


# ---------------------------------------------------------------- shallow ensembles and resuming


@pytest.mark.parametrize("model", [{"ensemble": 3}, {**BOTH, "ensemble": 2}])
def test_a_run_resumes_bit_for_bit(stores: tuple[Path, Path], tmp_path: Path, model: dict[str, object]) -> None:
    sections = {"model": {**model, "operator": None}, "training": {"checkpoint_interval": 5}}
    train = [str(path) for path in stores] if "fidelities" in model else str(stores[1])
    whole = both(stores, data={"train": train}, **sections, schedule={"max_steps": 10})
    fit(whole, tmp_path / "whole")
    part = Trainer(whole, tmp_path / "part", console=Console(file=io.StringIO()))
    step = TrainingLoop.step

    def interrupted(loop: TrainingLoop) -> None:
        step(loop)
        if loop.progress.step == 6:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingLoop, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            part.fit()
    fit(whole, tmp_path / "part", resume=True)
    ours, theirs = (
        read_checkpoint(tmp_path / name / "checkpoint.safetensors")[0]["model"] for name in ("whole", "part")
    )
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_each_head_is_taught_and_they_stay_apart(stores: tuple[Path, Path]) -> None:
    config = both(stores, data={"train": str(stores[1])}, model={"ensemble": 3, "operator": None})
    loop = TrainingLoop(config, prepare(config), None)
    before = {name: value.detach().clone() for name, value in loop.model.energy_head.named_parameters()}
    for _ in range(8):
        loop.step()
    for name, value in loop.model.energy_head.named_parameters():
        rows = (value - before[name]).detach()
        rows = rows if name.startswith("more") else rows[None]
        assert all(bool(row.any()) for row in rows), name


def test_one_head_is_the_model_that_it_always_was(stores: tuple[Path, Path]) -> None:
    """The seeds of a plain run give the weights that they gave: nothing is drawn for heads that are not there."""
    plain = prepare(both(stores, data={"train": str(stores[1])}, model={"operator": None}))
    several = prepare(both(stores, data={"train": str(stores[1])}, model={"operator": None, "ensemble": 2}))
    ours, theirs = plain.model.state_dict(), several.model.state_dict()
    assert set(ours) < set(theirs)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def _only(record: Record, names: tuple[str, ...]) -> Record:
    return Record(record.structure, {name: record.labels[name] for name in names}, record.provenance)
