"""The overlap of a basis whose functions nobody knows: read from labels, and as good as computed where labels are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from adiabat.core.errors import ModelError
from adiabat.data.structure import Structure
from adiabat.engines.tight_binding import TightBindingEngine
from adiabat.models.model import Model
from adiabat.models.package import load_model, save_model
from adiabat.training.setup import prepare
from labelled_crystals import TARGETS, boron_nitride, crystal_config, crystal_records, write_store

TABLES = 2e-5
"""Of overlaps of up to 0.2, looked up between knots 0.1 Å apart."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    engine = TightBindingEngine(cutoff=4.0)
    records = [engine.label(boron_nitride(seed, (2, 1, 1), 0.08), TARGETS) for seed in range(40)]
    store = write_store(tmp_path_factory.mktemp("overlap") / "data.lmdb", records)
    return prepare(crystal_config(store)).model.eval()


def error(model: Model, structure: Structure) -> float:
    reference = TightBindingEngine(cutoff=4.0).label(structure, ["overlap"]).labels["overlap"]
    found = model.overlap(structure)
    assert found.hermiticity_error() < 1e-14
    return float(np.abs(found.on_pairs(reference.pairs).values - reference.values).max())


def test_structures_that_were_not_labelled_get_their_overlap(model: Model) -> None:
    assert error(model, boron_nitride(seed=1000)) < TABLES
    assert error(model, boron_nitride(seed=1000, size=(2, 2, 1))) < TABLES


def test_a_turned_structure_too(model: Model) -> None:
    """The tables hold integrals in bond frames; elements of S in fixed axes are others then."""
    flat = boron_nitride(seed=1000)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[
        0
    ].numpy()
    turned = Structure(flat.atomic_numbers, flat.positions @ turn.T, flat.cell @ turn.T, flat.pbc)
    assert error(model, turned) < TABLES
    s, t = model.overlap(flat), model.overlap(turned)
    assert np.abs(s.values - t.values).max() > 0.01


def test_atoms_nearer_than_any_label_are_refused(model: Model) -> None:
    squeezed = boron_nitride(seed=0)
    squeezed.positions[1] = squeezed.positions[0] + np.array([0.9, 0.0, 0.0])
    with pytest.raises(ModelError, match="Å, whose overlap is to be looked up"):
        model.overlap(squeezed)


def test_distances_between_those_of_the_labels_are_refused(tmp_path: Path) -> None:
    """Cells of two atoms have no two boron atoms but a lattice vector apart; a larger cell has."""
    small = prepare(crystal_config(write_store(tmp_path / "data.lmdb", crystal_records(20)))).model
    assert error(small, boron_nitride(seed=1000)) < TABLES
    with pytest.raises(ModelError, match="whose overlap"):
        small.overlap(boron_nitride(seed=1000, size=(3, 3, 1), shake=0.3))


def test_tables_travel_with_the_model(model: Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "model.safetensors", {})
    again = load_model(tmp_path / "model.safetensors", dtype=torch.float32)
    assert np.array_equal(again.overlap(boron_nitride(7)).values, model.overlap(boron_nitride(7)).values)


def test_without_overlap_labels_there_is_none_to_ask_for(tmp_path: Path) -> None:
    records = crystal_records(3, targets=("hamiltonian",))
    bare = prepare(crystal_config(write_store(tmp_path / "data.lmdb", records))).model
    with pytest.raises(ModelError, match="only the shells are known"):
        bare.overlap(boron_nitride(0))
