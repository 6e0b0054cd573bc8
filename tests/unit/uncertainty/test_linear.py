"""The linear family's spread: that of its posterior's draws, for single structures and batches, stress included."""

import pytest
import torch

from adiabat.core.errors import ModelError
from adiabat.data.graph import collate
from adiabat.models.posterior import Posterior
from adiabat.uncertainty.last_layer import LastLayer
from adiabat.uncertainty.linear import linear_posterior, linear_spread
from linear_models import linear_config, linear_model
from small_models import crystal, molecule, relative_difference

CONFIG = linear_config(degrees=(3, 2, 2), l_max=2)
N_DRAWS = 2000


def uncertain() -> LastLayer:
    model = linear_model(CONFIG)
    size = model.energy_head.weights.numel()
    rows = torch.randn(2 * size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return LastLayer(model, Posterior.from_rows(rows, 0.5), method="linear", n_draws=N_DRAWS)


def test_the_spread_is_that_of_the_draws() -> None:
    found, outputs = uncertain(), ("energy", "forces", "stress")
    graph = found.model.graph(crystal(), outputs)
    spread = found.predict(graph, outputs).spread
    with torch.no_grad():
        members = [member(graph, outputs) for member in found.members]
    for name in (*outputs, "atomic_energies"):
        drawn = torch.stack([getattr(member, name) for member in members]).std(0)
        # 2000 draws tell a standard deviation to 1.6 %; the largest of some thirty numbers is off by thrice that
        assert relative_difference(drawn, getattr(spread, name)) < 0.06, name


def test_a_batch_has_the_spreads_of_its_structures() -> None:
    found, outputs = uncertain(), {"forces", "stress"}
    graphs = [found.model.graph(part, ("energy",)) for part in (crystal(), molecule())]
    both = linear_spread(found.model, found.posterior, collate(graphs), outputs)
    alone = [linear_spread(found.model, found.posterior, graph, outputs) for graph in graphs]
    for name, value in both.items():
        torch.testing.assert_close(value, torch.cat([part[name] for part in alone]), equal_nan=True)
    assert both["stress"][1].isnan().all()
    assert both["stress"][0].isfinite().all()


def test_a_model_that_was_never_fitted_has_no_posterior() -> None:
    with pytest.raises(ModelError, match="noise"):
        linear_posterior(linear_model(CONFIG), [])
