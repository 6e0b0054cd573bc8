"""Several heads over one trunk, and corrections for each level of theory: what each gives, and where each starts."""

import pytest
import torch

from adiabat.core.errors import ModelError
from adiabat.data.graph import collate
from adiabat.models.config import ModelConfig
from adiabat.models.energy_head import EnergyHead
from adiabat.models.model import Model, build_model
from small_models import ELEMENTS, molecule, small_config, small_model

FIDELITIES = ("PBE0", "PBE")


def several(*, ensemble: int = 1, fidelities: tuple[str, ...] = (), fresh: bool = False) -> Model:
    config = small_config(operator=False).model_copy(update={"ensemble": ensemble, "fidelities": fidelities})
    torch.manual_seed(0)
    model = build_model(config, ELEMENTS, dtype=torch.float64)
    if not fresh:
        with torch.no_grad():
            for parameter in model.parameters():
                if not parameter.any():
                    parameter.copy_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("fidelities", [(), FIDELITIES])
@pytest.mark.parametrize("ensemble", [1, 3])
def test_the_atomic_energies_are_linear_in_the_last_features(ensemble: int, fidelities: tuple[str, ...]) -> None:
    model = several(ensemble=ensemble, fidelities=fidelities)
    head = model.energy_head
    assert isinstance(head, EnergyHead)
    history = [torch.randn(5, 9, 6, generator=torch.Generator().manual_seed(k), dtype=torch.float64) for k in range(2)]
    species, level = torch.tensor([0, 1, 2, 1, 0]), torch.tensor([0, 0, 1, 1, 1])
    weights = head.last_weights if head.correction is None else head.last_weights + head.correction[level]
    linear = (head.last_features(history) * weights).sum(-1)
    torch.testing.assert_close(head(history, species, level), linear, rtol=1e-12, atol=1e-12)
    if fidelities:
        assert not torch.allclose(head(history, species, 1 - level), linear), "negative control: the other level"


def test_the_prediction_is_the_mean_of_the_heads_and_a_member_is_one_of_them() -> None:
    model = several(ensemble=3)
    graph = collate([model.graph(molecule(seed), {"forces"}) for seed in range(2)])
    whole = model(graph, {"energy", "forces"})
    members = [model.member(k)(graph, {"energy", "forces"}) for k in range(3)]
    energies = torch.stack([member.energy for member in members])
    torch.testing.assert_close(energies.mean(0), whole.energy, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(torch.stack([member.forces for member in members]).mean(0), whole.forces)
    assert energies.std(0).min() > 1e-3 * float(model.energy_head.scale), "heads start differently"
    drawn = model(graph, {"energy"}, heads=torch.tensor([2, 0]))
    torch.testing.assert_close(drawn.energy, torch.stack([energies[2, 0], energies[0, 1]]), rtol=1e-12, atol=1e-9)
    with pytest.raises(ModelError, match="0 to 2"):
        model.member(3)


def test_all_heads_are_the_members() -> None:
    model = several(ensemble=3)
    head = model.energy_head
    assert isinstance(head, EnergyHead)
    history = [torch.randn(5, 9, 6, dtype=torch.float64) for _ in range(2)]
    species = torch.tensor([0, 1, 2, 1, 0])
    found = head.all_heads(history, species)
    for k in range(3):
        torch.testing.assert_close(head(history, species, heads=torch.full((5,), k)), found[k])
    single = several()
    torch.testing.assert_close(
        single.energy_head.all_heads(history, species)[0], single.energy_head(history, species), rtol=0, atol=0
    )


def test_a_new_model_predicts_alike_at_all_levels_and_a_taught_one_does_not() -> None:
    """Corrections start at zero, so that a costly level starts where the cheap ones are."""
    fresh, taught = several(fidelities=FIDELITIES, fresh=True), several(fidelities=FIDELITIES)
    for model, same in ((fresh, True), (taught, False)):
        forces = [
            model.at_fidelity(name)(model.at_fidelity(name).graph(molecule(), {"forces"}), {"forces"}).forces
            for name in FIDELITIES
        ]
        assert torch.equal(*forces) == same


def test_the_target_is_predicted_by_default_and_a_batch_of_levels_is_its_parts() -> None:
    model = several(fidelities=FIDELITIES)
    cheap = model.at_fidelity("PBE")
    graphs = [model.graph(molecule(0), {"forces"}), cheap.graph(molecule(1), {"forces"})]
    assert [int(graph.fidelity_index) for graph in graphs] == [0, 1]
    assert torch.equal(graphs[0].fidelity_index, model.at_fidelity("PBE0").graph(molecule(0), ()).fidelity_index)
    together = model(collate(graphs), {"energy", "forces"})
    apart = [model(graph, {"energy", "forces"}) for graph in graphs]
    torch.testing.assert_close(together.energy, torch.cat([part.energy for part in apart]), rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(together.forces, torch.cat([part.forces for part in apart]), rtol=1e-10, atol=1e-10)


def test_one_level_has_the_parameters_it_always_had() -> None:
    names = set(several().state_dict())
    assert {name for name in names if name.startswith("energy_head")} == {
        "energy_head.linear.0", "energy_head.network.weights.0", "energy_head.network.weights.1",
        "energy_head.reference", "energy_head.scale",
    }  # fmt: skip
    assert not any("fidelity" in name or "correction" in name for name in names)


def test_an_unknown_level_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ModelError, match="PBE0, PBE") as caught:
        several(fidelities=FIDELITIES).at_fidelity("pbe")
    assert "PBE" in caught.value.suggestion
    with pytest.raises(ModelError, match="one level of theory"):
        small_model(small_config(operator=False)).at_fidelity("PBE")


@pytest.mark.parametrize("names", [("PBE",), ("PBE", "PBE"), ("PBE", "")])
def test_fidelities_are_two_or_more_different_names(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="two or more different"):
        ModelConfig(fidelities=names)
