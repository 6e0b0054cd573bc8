import math

import pytest
import torch

from adiabat.core.units import MICRO_HARTREE
from adiabat.training.batches import join
from adiabat.training.config import HamiltonianTarget, TargetsConfig
from adiabat.training.losses import add_errors, errors, total_loss
from adiabat.training.metrics import ErrorSums, describe
from adiabat.training.setup import create_model, prepare
from labelled_waters import tiny_config, water_records, write_store


@pytest.fixture
def setup(tmp_path):
    store = write_store(tmp_path / "a.lmdb", water_records(4))
    return prepare(tiny_config(store, training={"dtype": "float64"}))


@pytest.fixture
def batch_and_errors(setup):
    batch = join(setup.train[:3])
    return batch, errors(setup.model(batch.graph, batch.outputs), batch)


def targets(**chosen):
    return TargetsConfig.model_validate(chosen)


def test_each_term_is_its_formula(batch_and_errors, setup):
    batch, found = batch_and_errors
    energy, forces = found["energy"][0], found["forces"][0]
    cases = [
        (targets(energy={"weight": 3, "scale": 0.5, "loss": "mse"}), 3 * (energy / 0.5).square().mean()),
        (targets(forces={"scale": 0.1, "loss": "mae"}), (forces / 0.1).abs().mean()),
        (targets(forces={"scale": 0.1, "loss": "norm"}), (forces / 0.1).norm(dim=1).mean()),
        (
            targets(forces={"scale": 1.0, "loss": "huber", "huber_delta": 0.2}),
            torch.where(forces.abs() < 0.2, forces.square() / 2, 0.2 * (forces.abs() - 0.1)).mean(),
        ),
    ]
    for config, expected in cases:
        torch.testing.assert_close(total_loss(found, batch, config, setup.model), expected, rtol=1e-12, atol=0)


def test_the_hamiltonian_counts_every_entry_of_the_full_matrix(batch_and_errors, setup):
    batch, found = batch_and_errors
    assert batch.counts["hamiltonian"] == 3 * 6 * 6
    total = sum(part.abs().sum() for part in found["hamiltonian"])
    loss = total_loss(found, batch, targets(hamiltonian={"scale": 1.0}), setup.model)
    torch.testing.assert_close(loss, total / 108, rtol=1e-12, atol=0)
    sums = ErrorSums()
    add_errors(sums, found, batch)
    assert sums.results()["hamiltonian_mae"] == pytest.approx(total.item() / 108 / MICRO_HARTREE, rel=1e-12)


def test_the_hamiltonian_error_is_that_of_the_dense_matrices(setup):
    """The padded path, against unpacking the prediction and comparing dense matrices."""
    record = water_records(4)[0]
    batch = join(setup.train[:1])
    found = errors(setup.model(batch.graph, batch.outputs), batch)
    difference = record.labels["hamiltonian"].to_dense() - record.labels["h0"].to_dense()
    expected = abs(setup.model.delta_hamiltonian(record.structure).to_dense() - difference).sum()
    assert sum(part.abs().sum() for part in found["hamiltonian"]).item() == pytest.approx(expected, rel=1e-9)


def test_terms_add_up(batch_and_errors, setup):
    batch, found = batch_and_errors
    parts = [targets(energy={}), targets(forces={}), targets(hamiltonian={})]
    together = total_loss(found, batch, targets(energy={}, forces={}, hamiltonian={}), setup.model)
    apart = sum(total_loss(found, batch, part, setup.model) for part in parts)
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=0)


def test_a_structure_without_a_label_adds_nothing(tmp_path):
    """Batch of a labelled and an unlabelled structure: same terms as the labelled one alone."""
    full, bare = water_records(2)
    bare = type(bare)(bare.structure, {"energy": bare.labels["energy"]}, bare.provenance)
    store = write_store(tmp_path / "a.lmdb", [full, bare])
    setup = prepare(tiny_config(store, training={"dtype": "float64"}))
    losses = []
    for examples in (setup.train[:1], setup.train):
        batch = join(examples)
        found = errors(setup.model(batch.graph, batch.outputs), batch)
        losses.append(total_loss(found, batch, targets(forces={}, hamiltonian={}), setup.model))
        assert batch.counts["hamiltonian"] == 36
        assert batch.counts["forces"] == 9
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-9, atol=0)  # sums in another order


def test_total_energies_keep_their_digits_in_a_float32_model(setup, tmp_path):
    store = write_store(tmp_path / "b.lmdb", water_records(3))
    single = prepare(tiny_config(store, training={"dtype": "float32"}))
    assert single.train[0].values["energy"].dtype == torch.float64
    assert single.train[0].values["forces"].dtype == torch.float32
    batch = join(single.train)
    assert single.model(batch.graph, batch.outputs).energy.dtype == torch.float64


def test_results_are_in_the_units_that_they_are_printed_in():
    sums = ErrorSums()
    sums.add("energy", torch.tensor([0.5, -0.5]), 2)
    sums.add("forces", torch.tensor([[0.01, -0.03, 0.0]]), 3)
    results = sums.results()
    assert results["energy_mae"] == pytest.approx(500.0)
    assert results["forces_rmse"] == pytest.approx(1e3 * math.sqrt(1e-3 / 3), rel=1e-6)  # float32 input
    assert describe(results) == "E 0.5000 eV · F 13.3 meV/Å"


def test_the_default_hamiltonian_loss_is_the_quoted_error():
    assert HamiltonianTarget().loss == "mae"


def test_create_model_is_repeatable_and_leaves_the_default_dtype(tmp_path):
    config = tiny_config(tmp_path, training={"dtype": "float64", "seed": 3})
    one, other = (create_model(config.model, config.training, water_records(1)) for _ in range(2))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert a.dtype == torch.float64
        assert torch.equal(a, b)
