"""A predicted crystal against its reference: what each error means."""

from dataclasses import replace

import numpy as np
import pytest

from adiabat.campaigns.crystal_errors import compare_crystals, shell_errors
from adiabat.campaigns.evaluation import evaluate
from adiabat.core.errors import LabelError, ModelError
from adiabat.core.operators import Spin
from adiabat.electronic.bands import solve_bands
from adiabat.electronic.crystal import Crystal
from adiabat.training.setup import prepare
from labelled_crystals import crystal_config, crystal_records, perturbed, write_store


@pytest.fixture(params=["none", "collinear", "spinor"])
def model_and_record(request, tmp_path):
    records = crystal_records(4, spin=request.param)
    setup = prepare(crystal_config(write_store(tmp_path / "data.lmdb", records)))
    return setup.model.eval(), records[0]


def changed(record, values):
    operator = record.labels["hamiltonian"].with_values(values).symmetrized()
    return replace(record, labels={**record.labels, "hamiltonian": operator})


def as_predicted(model, record):
    """The record with the model's own prediction as its label."""
    predicted = model.hamiltonian(record.structure)
    return changed(record, predicted.on_pairs(record.labels["hamiltonian"].pairs).values)


def diagonal(spin: Spin):
    return {"none": slice(None), "collinear": [0, 1], "spinor": [0, 3]}[spin]


def test_a_perfect_prediction_has_no_error(model_and_record):
    model, record = model_and_record
    comparison = compare_crystals(model, as_predicted(model, record))
    assert np.abs(comparison.errors).max() < 1e-12
    assert np.abs(comparison.energies_predicted - comparison.energies_reference).max() < 1e-9
    assert comparison.fermi_level_error == pytest.approx(0, abs=1e-9)


def test_a_shift_of_the_potential_is_told_from_an_error(model_and_record):
    model, record = model_and_record
    same = as_predicted(model, record)
    values = same.labels["hamiltonian"].values.copy()
    values[diagonal(same.labels["hamiltonian"].spin)] -= 0.3 * record.labels["overlap"].values
    comparison = compare_crystals(model, changed(same, values))
    assert comparison.shift == pytest.approx(0.3, abs=1e-9)
    assert np.abs(comparison.errors).max() > 0.1
    assert np.abs(comparison.errors_without_shift).max() < 1e-9
    assert comparison.band_shift == pytest.approx(0.3, abs=1e-8)
    assert comparison.fermi_level_error == pytest.approx(0.3, abs=1e-8)


def test_errors_are_counted_for_every_element_and_sorted_by_place(model_and_record):
    model, record = model_and_record
    operator = record.labels["hamiltonian"]
    comparison = compare_crystals(model, changed(record, perturbed(operator.values, 0.01)))
    n = operator.values.size * (2 if operator.spin == "spinor" else 1)
    assert comparison.errors.size == comparison.same_atom.size == len(comparison.shells) == n
    groups = shell_errors(comparison)
    assert set(groups) == {f"{place} {shells}" for place in ("onsite", "pair") for shells in ("s–s", "s–p", "p–p")}
    assert sum(len(part) for part in groups.values()) == n
    assert len(groups["onsite s–s"]) == n // 16 * 2 // len(operator)


def test_bands_are_those_of_a_direct_calculation(tmp_path):
    records = crystal_records(4)
    model = prepare(crystal_config(write_store(tmp_path / "data.lmdb", records))).model.eval()
    comparison = compare_crystals(model, records[0])
    overlap = records[0].labels["overlap"]
    crystal = Crystal(
        records[0].labels["hamiltonian"], overlap, records[0].structure.cell, records[0].structure.pbc, 8.0
    )
    energies = solve_bands(crystal, np.zeros((1, 3))).energies.numpy().ravel()
    inside = energies[np.abs(energies - np.median(comparison.energies_reference)) < 2]
    assert all(np.abs(comparison.energies_reference - e).min() < 1e-8 for e in inside)
    assert len(inside)


def test_evaluate_sums_up_crystals(model_and_record):
    model, record = model_and_record
    result = evaluate(model, [record, record])
    assert {"hamiltonian", "hamiltonian_shifted", "bands", "bands_shifted", "fermi_level"} <= set(result.errors)
    assert result.errors["hamiltonian"].count == 2 * compare_crystals(model, record).errors.size
    assert result.errors["hamiltonian_shifted"].rmse <= result.errors["hamiltonian"].rmse
    assert result.smallest_overlap > 0.01


def test_what_cannot_be_compared_is_refused(tmp_path):
    records = crystal_records(2)
    model = prepare(crystal_config(write_store(tmp_path / "data.lmdb", records))).model.eval()
    with pytest.raises(LabelError, match="spin 'collinear'"):
        compare_crystals(model, crystal_records(1, spin="collinear")[0])
    with pytest.raises(ModelError, match="SCF"):
        evaluate(model, records, n_scf=1)
