"""Learning Hamiltonians of crystals: what is packed, and that each loss means what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from adiabat.core.errors import AdiabatError, BasisError, ConfigError, LabelError
from adiabat.core.operators import BlockOperator
from adiabat.data.structure import Structure
from adiabat.electronic.bands import solve_bands
from adiabat.electronic.crystal import Crystal
from adiabat.models.model import Prediction
from adiabat.models.operator_layout import OperatorBlocks
from adiabat.training.batches import join
from adiabat.training.losses import errors, total_loss
from adiabat.training.setup import prepare
from labelled_crystals import crystal_config, crystal_records, write_store

ROUNDING = 1e-9


def setup_of(tmp_path, records, **sections):
    return prepare(crystal_config(write_store(tmp_path / "data.lmdb", records), **sections))


def exact_prediction(batch, change=None):
    """The labels themselves as a prediction, changed by a function of the blocks of S if one is given."""
    parts = [batch.values["onsite"], batch.values["pair"]]
    if change is not None:
        parts = [part + change(overlap) for part, overlap in zip(parts, overlaps_of(batch), strict=True)]
    return Prediction(hamiltonian=OperatorBlocks(*parts))


def overlaps_of(batch):
    return batch.values["onsite_overlap"], batch.values["pair_overlap"]


# ---------------------------------------------------------------- what is packed


def test_the_radius_is_what_the_labels_reach(tmp_path):
    setup = setup_of(tmp_path, crystal_records(3, cutoff=4.0))
    assert 3.5 < setup.model.pair_radius < 4.02
    assert setup.model.require_operator().baseline == "two-center"
    assert setup.model.require_operator().tabulated_overlap


def test_far_pairs_without_a_block_are_zero(tmp_path):
    setup = setup_of(tmp_path, crystal_records(2, cutoff=3.0), model={"operator": {"pair_radius": 4.5, "channels": 4}})
    example = setup.train[0]
    far = setup.model.pair_vectors(example.graph).norm(dim=1) > 3.0
    assert bool(far.any())
    assert not example.values["pair"][far].any()
    assert example.values["pair"][~far].any()
    assert example.counts["hamiltonian"] == 16 * (2 + len(far))


def test_a_near_pair_without_a_block_is_refused(tmp_path):
    record = crystal_records(1)[0]
    operator = record.labels["hamiltonian"]
    lengths = np.linalg.norm(_vectors(record.structure, operator.pairs), axis=1)
    nearest = lengths == lengths[lengths > 0].min()
    holed = operator.on_pairs(operator.pairs[~nearest])
    overlap = record.labels["overlap"].on_pairs(holed.pairs)
    broken = replace(record, labels={"hamiltonian": holed, "overlap": overlap})
    with pytest.raises(LabelError, match="without the pair"):
        setup_of(tmp_path, [broken])


def _vectors(structure: Structure, pairs: np.ndarray) -> np.ndarray:
    i, j = pairs[:, 3], pairs[:, 4]
    return structure.positions[j] - structure.positions[i] + pairs[:, :3] @ structure.cell


def test_spins_may_not_be_mixed(tmp_path):
    records = [crystal_records(1)[0], crystal_records(2, spin="collinear")[1]]
    with pytest.raises(LabelError, match="spin layouts"):
        setup_of(tmp_path, records)


def test_a_magnet_is_not_learned_as_spinor(tmp_path):
    record = crystal_records(1, spin="spinor")[0]
    values = record.labels["hamiltonian"].values.copy()
    values[0] += 0.1 * record.labels["overlap"].values
    values[3] -= 0.1 * record.labels["overlap"].values
    magnet = replace(record, labels={**record.labels, "hamiltonian": record.labels["hamiltonian"].with_values(values)})
    with pytest.raises(LabelError, match="time reversal"):
        setup_of(tmp_path, [magnet])


# ---------------------------------------------------------------- losses


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_the_shift_of_the_potential_is_no_error_if_it_is_removed(tmp_path, spin):
    setup = setup_of(
        tmp_path, crystal_records(3, spin=spin), targets={"hamiltonian": {"remove_shift": True, "scale": 1.0}}
    )
    batch = join(setup.train)
    shifted = errors(exact_prediction(batch, lambda overlap: 0.7 * overlap), batch)["hamiltonian"]
    assert max(float(part.abs().max()) for part in shifted) < ROUNDING
    other = errors(exact_prediction(batch, lambda overlap: 0.7 * overlap.square()), batch)["hamiltonian"]
    assert max(float(part.abs().max()) for part in other) > 1e-3
    raw = setup_of(tmp_path / "raw", crystal_records(3, spin=spin)) if (tmp_path / "raw").mkdir() is None else None
    assert "pair_overlap" not in raw.train[0].values


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_the_right_hamiltonian_has_the_right_spectrum(tmp_path, spin):
    setup = setup_of(
        tmp_path,
        crystal_records(3, spin=spin),
        targets={"hamiltonian": {"remove_shift": True}, "eigenvalues": {}, "wavefunctions": {}},
    )
    batch = join(setup.train)
    found = errors(exact_prediction(batch), batch)
    for name in ("eigenvalues", "wavefunctions"):
        assert found[name][0].numel() == batch.counts[name] > 0
        assert float(found[name][0].abs().max()) < ROUNDING
    # A shift of the potential moves every eigenvalue by itself, because H̃ is in the metric of S.
    moved = errors(exact_prediction(batch, lambda overlap: 0.25 * overlap), batch)
    torch.testing.assert_close(moved["eigenvalues"][0], torch.full_like(moved["eigenvalues"][0], 0.25))


def test_shifts_of_the_spectrum_are_removed_on_request(tmp_path):
    targets = {
        "hamiltonian": {"remove_shift": True},
        "eigenvalues": {"remove_shift": True},
        "wavefunctions": {"remove_shift": True},
    }
    batch = join(setup_of(tmp_path, crystal_records(2), targets=targets).train)
    moved = errors(exact_prediction(batch, lambda overlap: 0.25 * overlap), batch)
    assert all(float(moved[name][0].abs().max()) < ROUNDING for name in ("eigenvalues", "wavefunctions"))


def test_first_order_errors_of_eigenvalues_are_those_of_the_bands(tmp_path):
    """Against bands solved in full with another H: a small change of H moves both alike."""
    records = crystal_records(1)
    targets = {"hamiltonian": {}, "eigenvalues": {}, "spectrum": {"n_k": 3, "window": 30.0}}
    setup = setup_of(tmp_path, records, targets=targets)
    record, batch = records[0], join(setup.train)
    hamiltonian, overlap = record.labels["hamiltonian"], record.labels["overlap"]
    change = hamiltonian.with_values(1e-3 * np.sin(hamiltonian.values * 17)).symmetrized()
    onsite, pair = setup.model.operator_layout.pack(
        change,
        record.structure.atomic_numbers,
        np.concatenate([batch.graph.pair_shift, batch.graph.pair_index.T], axis=1).astype(int),
    )
    blocks = OperatorBlocks(
        batch.values["onsite"] + torch.from_numpy(onsite), batch.values["pair"] + torch.from_numpy(pair)
    )
    found = errors(Prediction(hamiltonian=blocks), batch)["eigenvalues"][0]
    k = batch.spectra[0].k_frac
    crystals = [
        Crystal(h, overlap, record.structure.cell, record.structure.pbc, 8.0)
        for h in (hamiltonian + change, hamiltonian)
    ]
    after, before = (solve_bands(crystal, k).energies[0] for crystal in crystals)
    assert float(after.sub(before).abs().max()) > 1e-4
    torch.testing.assert_close(found, (after - before).flatten(), atol=ROUNDING, rtol=0)


def test_irreps_and_entries_have_one_mean_square(tmp_path):
    """The change of basis is orthogonal; mean absolute errors differ, which is why both are offered."""
    setup = setup_of(tmp_path, crystal_records(2))
    batch = join(setup.train)
    found = errors(setup.model(batch.graph, batch.outputs), batch)

    def loss(**target):
        config = crystal_config(tmp_path / "data.lmdb", targets={"hamiltonian": target}).targets
        return total_loss(found, batch, config, setup.model).item()

    assert loss(loss="mse", space="irreps") == pytest.approx(loss(loss="mse"), rel=1e-9)
    assert loss(loss="mae", space="irreps") != pytest.approx(loss(loss="mae"), rel=1e-3)


# ---------------------------------------------------------------- what is refused


def test_a_spectrum_without_overlaps_or_electrons_is_refused(tmp_path):
    record = crystal_records(1)[0]
    wanted = {"hamiltonian": {}, "eigenvalues": {}}
    with pytest.raises(LabelError, match="no overlap label"):
        setup_of(tmp_path, [replace(record, labels={"hamiltonian": record.labels["hamiltonian"]})], targets=wanted)
    unknown = replace(record.provenance, orbital_basis=replace(record.provenance.orbital_basis, valence=None))
    (tmp_path / "b").mkdir()
    with pytest.raises(BasisError, match="how many electrons"):
        setup_of(tmp_path / "b", [replace(record, provenance=unknown)], targets=wanted)


def test_a_spectrum_alone_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="go with targets"):
        crystal_config(tmp_path / "x.lmdb", targets={"eigenvalues": {}})


def test_h0_with_some_hamiltonians_only_is_refused(tmp_path):
    first, second = crystal_records(2)
    with_h0 = replace(first, labels={**first.labels, "h0": first.labels["hamiltonian"]})
    with pytest.raises(AdiabatError, match="h0 label"):
        setup_of(tmp_path, [with_h0, second])


def test_blocks_of_a_wrong_spin_layout_are_refused(tmp_path):
    setup = setup_of(tmp_path, crystal_records(1))
    other = crystal_records(1, spin="collinear")[0].labels["hamiltonian"]
    assert isinstance(other, BlockOperator)
    with pytest.raises(LabelError, match="spin layout 'collinear'"):
        setup.model.operator_layout.pack(other, np.array([5, 7]), other.pairs)
