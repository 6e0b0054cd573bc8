"""Rows of the linear family against the model's own derivatives, and the configuration that it reads."""

import pytest
import torch
from pydantic import ValidationError

from adiabat.core.errors import ModelError
from adiabat.data.graph import collate, separate
from adiabat.data.structure import Structure
from adiabat.models.config import LinearAceConfig, ModelConfig
from adiabat.models.linear_rows import RowBuilder
from adiabat.models.model import build_model
from adiabat.models.package import load_model, save_model
from linear_models import linear_model
from small_models import crystal, molecule, relative_difference, small_config, small_model

VOIGT = [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]
# rounding of sums of some thousand terms
ROUNDING = 1e-12


@pytest.mark.parametrize("structure", [molecule(), crystal()], ids=["molecule", "crystal"])
def test_rows_times_weights_are_what_the_model_predicts(structure: Structure) -> None:
    model = linear_model()
    outputs = ("energy", "forces", "stress") if structure.pbc.all() else ("energy", "forces")
    expected = model(model.graph(structure, outputs), outputs)
    builder = RowBuilder(model)
    rows = builder.rows(model.graph(structure, outputs), outputs)
    weights = model.energy_head.last_weights.detach().numpy()
    reference = model.energy_head.reference[model.species(torch.from_numpy(structure.atomic_numbers))]
    assert relative_difference(rows.energy @ weights, expected.energy - reference.sum()) < ROUNDING
    assert relative_difference((rows.forces @ weights).reshape(-1, 3), expected.forces) < ROUNDING
    atomic = builder.atomic_rows(model.graph(structure, outputs)) @ weights
    assert relative_difference(atomic, expected.atomic_energies - reference) < ROUNDING
    if expected.stress is not None:
        assert relative_difference(rows.stress @ weights, expected.stress[0].detach().numpy()[VOIGT]) < ROUNDING


def test_features_of_the_head_are_those_of_the_rows() -> None:
    model = linear_model()
    graph = model.graph(molecule(), ("energy",))
    history = model.node_features(graph, model.species(graph.atomic_numbers), graph.positions, graph.cell, None)
    features = model.energy_head.last_features(history, model.species(graph.atomic_numbers))
    assert relative_difference(features * model.energy_head.scale, RowBuilder(model).atomic_rows(graph)) < ROUNDING


def test_other_families_have_no_rows() -> None:
    with pytest.raises(ModelError, match="linear-ace"):
        RowBuilder(small_model(small_config(operator=False)))


def test_a_batch_comes_apart_as_it_was_put_together() -> None:
    model = small_model(small_config(pair_radius=4.0))
    graphs = [model.graph(part, ("hamiltonian",)) for part in (crystal(), crystal(1))]
    for before, after in zip(graphs, separate(collate(graphs)), strict=True):
        for name in ("positions", "cell", "edge_index", "edge_shift", "pair_index", "pair_reverse", "structure_index"):
            assert torch.equal(getattr(before, name), getattr(after, name))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"family": "linear-ace", "channels": 32}, "channels"),
        ({"family": "linear-ace", "operator": {}}, "operator"),
        ({"family": "linear-ace", "fidelities": ["a", "b"]}, "fidelities"),
        ({"linear_ace": {}}, "family"),
        ({"family": "linear-ace", "linear_ace": {"degrees": [3, -1]}}, "degrees"),
    ],
)
def test_settings_of_another_family_are_refused(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        ModelConfig.model_validate(settings)


def test_a_package_keeps_weights_degrees_prior_and_noise(tmp_path) -> None:
    config = ModelConfig(family="linear-ace", cutoff=3.5, linear_ace=LinearAceConfig(l_max=1))
    model = build_model(config, (1, 8))
    model.energy_head.prior.fill_(0.3)
    model.energy_head.noise.copy_(torch.tensor([0.1, 0.2, 0.3]))
    torch.nn.init.normal_(model.energy_head.weights)
    save_model(model, tmp_path / "m.safetensors", {})
    loaded = load_model(tmp_path / "m.safetensors", dtype=torch.float64)
    assert loaded.config.linear_ace.degrees == model.config.linear_ace.degrees is not None
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, check_dtype=False)


def test_degrees_shrink_as_elements_become_many() -> None:
    few, many = (
        build_model(ModelConfig(family="linear-ace", linear_ace=LinearAceConfig(l_max=1)), elements)
        for elements in ((14,), (1, 6, 7, 8, 16))
    )
    assert sum(few.config.linear_ace.degrees) > sum(many.config.linear_ace.degrees)
    # the limit that the configuration states
    assert max(model.energy_head.weights.numel() for model in (few, many)) <= 10_000
