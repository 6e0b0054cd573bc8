"""What a Hamiltonian is compared with, and over which pairs."""

from dataclasses import replace

import numpy as np
import pytest

from adiabat.campaigns.hamiltonian_errors import compare_hamiltonians, h0_is_of
from adiabat.data.record import Record
from adiabat.data.structure import Structure
from adiabat.engines.pyscf_molecule import PyscfEngine
from adiabat.models.config import ModelConfig, OperatorConfig
from adiabat.models.model import build_model
from adiabat.training.setup import operator_reference

WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]))


@pytest.fixture(scope="module")
def record() -> Record:
    return PyscfEngine(xc="hf", basis="STO-3G", grid_level=0).label(WATER, ["hamiltonian", "h0"])


def test_beyond_a_short_pair_radius_h_is_h0(record: Record) -> None:
    """The O–H pairs lie within 1.2 Å, the H–H pair does not."""
    head = OperatorConfig(channels=4, hidden=4, n_bessel=4, pair_radius=1.2)
    config = ModelConfig(channels=4, hidden=4, n_bessel=4, energy=False, operator=head)
    model = build_model(config, [1, 8], operator_reference([record])).eval()
    comparison = compare_hamiltonians(model, record)
    assert comparison.errors.shape == (7, 7)
    assert comparison.errors[5, 6] == comparison.h0_errors[5, 6]
    assert np.abs(comparison.errors[:5] - comparison.h0_errors[:5]).max() > 0


def test_an_h0_of_other_settings_is_not_added_to(record: Record) -> None:
    reference = operator_reference([record])
    assert h0_is_of(reference, record)
    settings = {**record.provenance.settings, "density_fit": True}
    assert not h0_is_of(reference, replace(record, provenance=replace(record.provenance, settings=settings)))
