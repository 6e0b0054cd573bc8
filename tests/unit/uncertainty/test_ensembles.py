"""Ensembles, deep and shallow, against the predictions of their members one by one."""

from functools import cache

import pytest
import torch
from torch import Tensor

from adiabat.core.errors import ModelError
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.graph import collate
from adiabat.models.config import ModelConfig
from adiabat.models.model import Model, Prediction, build_model
from adiabat.models.operator_layout import OperatorBlocks
from adiabat.uncertainty.ensemble import DeepEnsemble
from adiabat.uncertainty.interface import UncertainModel
from adiabat.uncertainty.moments import moments
from adiabat.uncertainty.shallow import ShallowEnsemble
from small_models import P_BASIS, crystal, molecule, small_config, small_model

OUTPUTS = ("energy", "forces", "stress", "hamiltonian")
S_P = OrbitalBasis("toy-sp", {1: (0,), 6: (0, 1), 8: (0, 0, 1)})


def make_model(seed: int = 0, *, basis: OrbitalBasis = S_P, heads: int = 1, **changes: object) -> Model:
    config = small_config(l_max=1, pair_radius=3.5).model_copy(update={"ensemble": heads, **changes})
    return small_model(config, basis, seed=seed)


@cache
def uncertain(kind: str) -> UncertainModel:
    if kind == "deep":
        return DeepEnsemble([make_model(seed, channels=channels) for seed, channels in ((0, 6), (1, 6), (2, 4))])
    return ShallowEnsemble(make_model(heads=3))


@pytest.mark.parametrize("kind", ["deep", "shallow"])
def test_mean_and_spread_are_those_of_the_members(kind: str) -> None:
    model = uncertain(kind)
    graph = collate([model.model.graph(crystal(k), OUTPUTS) for k in (0, 1)])
    found = model.predict(graph, OUTPUTS)
    each = [member(graph, OUTPUTS) for member in model.members]
    assert len(each) == 3
    for name in ("energy", "atomic_energies", "forces", "stress"):
        values = torch.stack([getattr(one, name).detach() for one in each])
        torch.testing.assert_close(getattr(found.mean, name), values.mean(0))
        torch.testing.assert_close(getattr(found.spread, name), values.std(0))  # n − 1, PyTorch's default
        assert not getattr(found.spread, name).requires_grad
        assert float(getattr(found.spread, name).min()) > 0
    blocks = torch.stack([one.hamiltonian.pair.detach() for one in each])
    torch.testing.assert_close(found.mean.hamiltonian.pair, blocks.mean(0))
    if kind == "deep":
        torch.testing.assert_close(found.spread.hamiltonian.pair, blocks.std(0))
    else:
        assert found.spread.hamiltonian is None
        torch.testing.assert_close(found.mean.energy, model.model(graph, ("energy",)).energy)


@pytest.mark.parametrize("kind", ["deep", "shallow"])
def test_what_is_not_asked_for_is_not_there(kind: str) -> None:
    model = uncertain(kind)
    found = model.predict(model.model.graph(molecule(), ("energy",)), ("energy",))
    assert found.spread.forces is None
    assert found.mean.hamiltonian is None
    only_h = model.predict(model.model.graph(molecule(), ("hamiltonian",)), ("hamiltonian",))
    assert only_h.mean.energy is None
    assert only_h.mean.hamiltonian is not None


def test_equal_members_have_no_spread() -> None:
    model = make_model()
    found = DeepEnsemble([model, model, model]).predict(model.graph(molecule(), OUTPUTS), ("energy", "forces"))
    assert float(found.spread.energy) == 0.0
    assert float(found.spread.forces.max()) == 0.0


def test_moments_keep_the_digits_of_large_energies() -> None:
    """Three energies near −4e5 eV that differ by microelectronvolts, as float64 holds them."""
    energies = [torch.tensor([-4e5 + 1e-6 * k], dtype=torch.float64) for k in (0.0, 1.0, 2.0)]
    found = moments([Prediction(energy=energy) for energy in energies])
    assert float(found.spread.energy) == pytest.approx(1e-6, rel=1e-3)
    blocks = [OperatorBlocks(torch.full((1, 1, 1), x), torch.full((2, 1, 1), 2 * x)) for x in (1.0, 3.0)]
    spread = moments([Prediction(hamiltonian=part) for part in blocks]).spread
    assert float(spread.hamiltonian.onsite) == pytest.approx(2**0.5)
    assert spread.hamiltonian.pair.shape == (2, 1, 1)


def other_elements() -> Model:
    return build_model(small_config(l_max=1, operator=False), (1, 6), dtype=torch.float64)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: make_model(1, cutoff=3.0), "member 1 has cutoff 3.0"),
        (lambda: make_model(1, basis=P_BASIS), "member 1 has a reference"),
        (lambda: make_model(1, operator=None), "member 1 has an operator head False"),
    ],
    ids=["cutoff", "basis", "head"],
)
def test_members_that_do_not_fit_are_refused(make, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        DeepEnsemble([make_model(), make()])


def test_members_of_other_elements_are_refused() -> None:
    own = build_model(small_config(l_max=1, operator=False), (1, 6, 8), dtype=torch.float64)
    with pytest.raises(ModelError, match=r"member 1 has elements \['H', 'C'\]"):
        DeepEnsemble([own, other_elements()])


def test_one_model_is_no_ensemble() -> None:
    with pytest.raises(ModelError, match="an ensemble of 1"):
        DeepEnsemble([other_elements()])
    with pytest.raises(ModelError, match="a shallow ensemble of 1"):
        ShallowEnsemble(other_elements())
    headless = build_model(
        ModelConfig(energy=True, channels=4, l_max=1, layers=1, hidden=4, ensemble=2), (1,), dtype=torch.float64
    )
    assert len(ShallowEnsemble(headless).members) == 2


def test_members_share_the_trunk() -> None:
    model = uncertain("shallow")
    first: Tensor = next(model.members[0].trunk.parameters())
    assert all(next(member.trunk.parameters()) is first for member in model.members)
