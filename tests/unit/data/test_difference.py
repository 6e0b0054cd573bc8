"""Differences of labels: E_high = E_low + Δ to the last digit, and nothing matched that is not the same structure."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from adiabat.cli.main import app
from adiabat.core.errors import LabelError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.difference import differences
from adiabat.data.record import Record
from adiabat.data.store import DatasetStore
from labelled_waters import water_records, write_store
from two_levels import HIGH, LOW, costly

LABELS = ("energy", "forces", "hamiltonian")


def flat(label: object) -> np.ndarray:
    return label.values if isinstance(label, BlockOperator) else np.asarray(label)


def test_the_low_level_and_the_difference_give_the_high_level_back(tmp_path: Path) -> None:
    low = water_records(5)
    high = costly(low)[::-1]
    found = differences(high, low)
    store = write_store(tmp_path / "delta.lmdb", found.records)
    partners = {record.structure.content_hash: record for record in low}
    for wanted, delta in zip(high, DatasetStore.open(store), strict=True):
        partner = partners[wanted.structure.content_hash]
        assert set(delta.labels) == set(LABELS)
        for name in LABELS:
            np.testing.assert_allclose(
                flat(partner.labels[name]) + flat(delta.labels[name]), flat(wanted.labels[name]), rtol=1e-13, atol=1e-13
            )
        wrong = flat(low[2].labels["energy"]) + flat(delta.labels["energy"])
        if partner is not low[2]:
            assert abs(float(wrong - flat(wanted.labels["energy"]))) > 1e-6, "negative control: another structure"


def test_the_provenance_says_what_was_subtracted_from_what() -> None:
    low = water_records(2)
    (first, *_) = differences(costly(low), low).records
    assert first.provenance.method == first.fidelity == f"{HIGH} − {LOW}"
    levels = first.provenance.settings["difference"]
    assert (levels["high"]["settings"]["xc"], levels["low"]["settings"]["xc"]) == ("pbe0", "pbe")
    same = differences(costly(low, factor=1.1), low).records[0]
    assert same.key == first.key, "equal levels, equal key"
    other = [replace(r, provenance=replace(r.provenance, settings={"xc": "lda"})) for r in low]
    assert differences(costly(low), other).records[0].key != first.key


def test_structures_without_a_partner_are_counted() -> None:
    low = water_records(5)
    found = differences(costly([*low[:2], *water_records(3, seed=7)]), low)
    assert (len(found.records), found.n_high_alone, found.n_low_alone) == (2, 3, 3)
    with pytest.raises(LabelError, match="without a structure in common"):
        differences(costly(water_records(3, seed=7)), low)


def test_two_methods_at_the_low_level_are_refused() -> None:
    low = water_records(2)
    mixed = [*low, *costly(low[:1])]
    with pytest.raises(LabelError, match="toy/toy and by costly/toy"):
        differences(costly(low), mixed)


def test_hamiltonians_of_two_bases_are_refused() -> None:
    low = water_records(2)
    basis = OrbitalBasis("other", {1: (0,), 8: (1, 0)})
    moved = [replace(record, provenance=replace(record.provenance, orbital_basis=basis)) for record in low]
    with pytest.raises(LabelError, match="one basis") as caught:
        differences(costly(low), moved)
    assert "init_model" in caught.value.suggestion


def test_labels_that_one_level_lacks_are_left_out() -> None:
    low = water_records(2, ("energy",))
    (first, *_) = differences(costly(water_records(2)), low).records
    assert set(first.labels) == {"energy"}
    forces = [Record(r.structure, {"forces": np.zeros((3, 3))}, r.provenance) for r in low]
    with pytest.raises(LabelError, match="at both"):
        differences(costly(low), forces)


def test_the_command_writes_a_store_and_says_what_found_no_partner(tmp_path: Path) -> None:
    low = water_records(4)
    stores = write_store(tmp_path / "high.lmdb", costly(low[:3])), write_store(tmp_path / "low.lmdb", low)
    arguments = ["data", "difference", *map(str, stores), "-o", str(tmp_path / "delta.lmdb")]
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, arguments, catch_exceptions=False)
    assert "3 differences" in result.output
    assert "0 of the first, 1 of the second" in result.output
    with DatasetStore.open(tmp_path / "delta.lmdb") as store:
        assert len(store) == 3
