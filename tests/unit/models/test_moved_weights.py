"""Parameters under which the last weights of an energy head are other ones."""

import pytest
import torch

from adiabat.models.config import LinearAceConfig, ModelConfig
from adiabat.models.model import Model, build_model
from small_models import ELEMENTS, molecule, small_config, small_model


def shallow(heads: int) -> Model:
    config = small_config(operator=False, layers=3)
    return small_model(config.model_copy(update={"ensemble": heads}))


def linear() -> Model:
    ace = LinearAceConfig(degrees=(4, 3))
    return build_model(ModelConfig(family="linear-ace", cutoff=3.0, linear_ace=ace), ELEMENTS, dtype=torch.float64)


@pytest.mark.parametrize("make", [lambda: shallow(1), lambda: shallow(3), linear], ids=["one", "three", "linear"])
def test_moved_parameters_give_moved_weights_and_energies(make) -> None:
    model = make()
    head = model.energy_head
    generator = torch.Generator().manual_seed(0)
    change = torch.randn(head.last_weights.shape, generator=generator, dtype=torch.float64)
    graph = model.graph(molecule(), ("energy",))
    species = model.species(graph.atomic_numbers)
    history = model.node_features(graph, species, graph.positions, graph.cell, None)
    features = head.last_features(history) if model.config.family == "default" else head.last_features(history, species)
    expected = head(history, species) + head.scale * (features @ change)
    before = head.last_weights.detach().clone()

    found = head.moved(change)

    torch.testing.assert_close(head.last_weights, before, rtol=0, atol=0)
    state = head.state_dict()
    assert set(found) < set(state)
    head.load_state_dict({**state, **found})
    torch.testing.assert_close(head.last_weights, before + change)
    torch.testing.assert_close(head(history, species), expected)
