"""What a run is made of, from records that do not all hold the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adiabat.core.errors import ConfigError, LabelError
from adiabat.data.record import Provenance, Record
from adiabat.data.structure import Structure
from adiabat.training.config import LoopConfig, TargetsConfig
from adiabat.training.setup import check_selection, operator_reference
from adiabat.training.trainer import Trainer
from labelled_waters import tiny_config, water_records, write_store


def with_settings(record: Record, **settings: object) -> Record:
    provenance = replace(record.provenance, settings={**record.provenance.settings, **settings})
    return replace(record, provenance=provenance)


@pytest.mark.parametrize("density_fit", [True, False])
def test_the_reference_knows_of_density_fitting(density_fit: bool) -> None:
    records = [with_settings(record, density_fit=density_fit) for record in water_records(2)]
    assert operator_reference(records).density_fit is density_fit


@pytest.mark.parametrize(
    "change", [{"density_fit": True}, {"grid_level": 4}, {"xc": "pbe0"}], ids=lambda change: next(iter(change))
)
def test_hamiltonians_of_two_levels_are_refused(change: dict[str, object]) -> None:
    first, second = water_records(2)
    with pytest.raises(LabelError, match="2 levels of theory"):
        operator_reference([first, with_settings(second, **change)])


def test_a_hamiltonian_without_its_level_is_refused() -> None:
    record = water_records(1)[0]
    bare = replace(record, provenance=replace(record.provenance, settings={"xc": "pbe"}))
    with pytest.raises(LabelError, match="xc pbe"):
        operator_reference([bare])


def test_the_best_model_is_chosen_by_a_target() -> None:
    targets = TargetsConfig.model_validate({"forces": {}})
    check_selection(LoopConfig(select_by="forces"), targets)
    with pytest.raises(ConfigError, match="select_by"):
        check_selection(LoopConfig(select_by="energy"), targets)


def test_crystals_with_stress_and_molecules_are_learned_together(tmp_path: Path) -> None:
    """A molecule has no volume; in a batch with crystals it must not spoil their stress, nor end the run."""
    random = np.random.default_rng(0)
    records = water_records(4, ("energy", "forces"))
    for _ in range(4):
        cell = 4.0 * np.eye(3) + 0.2 * random.standard_normal((3, 3))
        structure = Structure(np.array([8, 1, 1]), records[0].structure.positions + 1, cell, np.ones(3, dtype=bool))
        labels = {"energy": np.array(-2000.0), "forces": np.zeros((3, 3)), "stress": 0.01 * np.eye(3)}
        records.append(Record(structure, labels, Provenance("toy", method="toy/toy")))
    config = tiny_config(
        write_store(tmp_path / "mixed.lmdb", records), model={"operator": None}, training={"batch_size": 4}
    )
    result = Trainer(config, tmp_path / "run").fit()
    assert result.step == 12
