"""What is carried over from one model to another, and that nothing else is."""

from dataclasses import replace

import pytest
import torch

from adiabat.core.errors import ModelError
from adiabat.data.graph import collate
from adiabat.models.config import ModelConfig, OperatorReference
from adiabat.models.model import Model, build_model
from adiabat.models.warm_start import carry_over, refit_means
from small_models import F_BASIS, P_BASIS, molecule, random_labels, small_config, small_model

OUTPUTS = ("energy", "forces", "hamiltonian")


def fresh(
    config: ModelConfig, elements: tuple[int, ...] = (1, 6, 8), reference: OperatorReference | None = None
) -> Model:
    torch.manual_seed(11)
    return build_model(config, elements, reference, dtype=torch.float64).eval()


@pytest.fixture(scope="module")
def source() -> Model:
    return small_model(small_config(), P_BASIS)


def assert_equal_predictions(ours: Model, theirs: Model, numbers: tuple[int, ...] = (6, 8, 1, 1, 6)) -> None:
    structure = molecule(3, numbers)
    outputs = OUTPUTS if ours.has_operator and theirs.has_operator else OUTPUTS[:2]
    found = [model(model.graph(structure, outputs), outputs) for model in (ours, theirs)]
    torch.testing.assert_close(found[0].energy, found[1].energy, rtol=0, atol=1e-9)
    torch.testing.assert_close(found[0].forces, found[1].forces, rtol=1e-9, atol=1e-9)
    if "hamiltonian" in outputs:
        torch.testing.assert_close(found[0].hamiltonian.pair, found[1].hamiltonian.pair)
        torch.testing.assert_close(found[0].hamiltonian.onsite, found[1].hamiltonian.onsite)


def test_the_same_architecture_takes_everything(source: Model) -> None:
    target = fresh(source.config, reference=source.reference)
    found = carry_over(source, target)
    assert (found.partly, found.new, found.dropped) == ((), (), ())
    assert_equal_predictions(target, source)


def test_new_elements_stay_new_and_old_ones_keep_their_weights(source: Model) -> None:
    """Nitrogen stands between carbon and oxygen, so that every row moves."""
    shells = replace(P_BASIS, shells={**P_BASIS.shells, 7: (0, 1, 1)})
    reference = source.reference.model_copy(update={"orbital_basis": shells.to_json()})
    target = fresh(source.config, (1, 6, 7, 8), reference)
    found = carry_over(source, target)
    assert_equal_predictions(target, source)
    assert "trunk.radial.species" in found.partly
    assert not found.new
    nitrogen = {name: value for name, value in target.state_dict().items() if name == "energy_head.reference"}
    assert float(nitrogen["energy_head.reference"][2]) == 0, "nothing is made up for it"
    random = fresh(source.config, (1, 6, 7, 8), reference)  # negative control: without the weights
    with pytest.raises(AssertionError):
        assert_equal_predictions(random, source)


def test_fewer_elements_take_their_rows(source: Model) -> None:
    target = fresh(source.config, (1, 8), source.reference)
    carry_over(source, target)
    assert_equal_predictions(target, source, (8, 1, 1))


def test_one_level_starts_every_level_of_several(source: Model) -> None:
    config = source.config.model_copy(update={"fidelities": ("high", "low")})
    target = fresh(config, reference=source.reference.model_copy(update={"others": {"low": source.reference}}))
    found = carry_over(source, target)
    assert set(found.new) == {
        "trunk.fidelity_scalars", "energy_head.correction", "operator_head.onsite.corrections",
        "operator_head.pair.corrections",
    }  # the corrections, which start at zero  # fmt: skip
    for name in ("high", "low"):
        assert_equal_predictions(target.at_fidelity(name), source)


def test_levels_are_matched_by_name(source: Model) -> None:
    both = small_config(operator=False).model_copy(update={"fidelities": ("a", "b")})
    theirs, ours = fresh(both), fresh(both.model_copy(update={"fidelities": ("c", "b", "a")}))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter))
        theirs.energy_head.reference.copy_(torch.arange(6.0).view(2, 3))
    carry_over(theirs, ours)
    assert ours.energy_head.reference.tolist() == [[0, 1, 2], [3, 4, 5], [0, 1, 2]]
    for name in ("a", "b"):
        assert_equal_predictions(ours.at_fidelity(name), theirs.at_fidelity(name))
    assert_equal_predictions(ours, theirs)  # a level that the source lacks starts as its target


def test_an_operator_head_of_another_basis_is_new_and_the_trunk_is_not(source: Model) -> None:
    other = small_model(small_config(), F_BASIS, seed=5)
    before = {name: value.clone() for name, value in other.operator_head.state_dict().items()}
    found = carry_over(source, other)
    assert found.new == ("operator_head",)
    assert all(torch.equal(value, before[name]) for name, value in other.operator_head.state_dict().items())
    plain = fresh(small_config(operator=False))
    found = carry_over(source, plain)
    assert found.dropped == ("operator_head",)
    assert_equal_predictions(plain, source)
    assert found.lines()[-1] == "not used of the other model: operator_head"


def test_pretraining_on_hamiltonians_alone_carries_the_trunk(source: Model) -> None:
    """An energy head that is not there has nothing to give."""
    alone = small_model(small_config().model_copy(update={"energy": False}), P_BASIS)
    target = fresh(small_config(operator=False))
    found = carry_over(alone, target)
    assert found.new == ("energy_head",)
    ours, theirs = target.trunk.state_dict(), alone.trunk.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_the_trunk_alone_may_be_taken(source: Model) -> None:
    target = fresh(source.config, reference=source.reference)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    found = carry_over(source, target, ("trunk",))
    assert found.new == found.dropped == ("energy_head", "operator_head")
    theirs = source.state_dict()
    for name, value in target.state_dict().items():
        assert torch.equal(value, (theirs if name.startswith("trunk") else before)[name]), name


def test_a_trunk_of_another_size_is_refused(source: Model) -> None:
    with pytest.raises(ModelError, match=r"cutoff 3\.5, channels 6") as caught:
        carry_over(source, fresh(small_config(operator=False, cutoff=4.0).model_copy(update={"channels": 8})))
    assert "channels 8" in caught.value.expected


def test_means_are_moved_to_another_level(source: Model) -> None:
    """Labels that differ from the predictions by atoms' energies and a constant on the diagonal are then matched."""
    model = fresh(source.config, reference=source.reference)
    carry_over(source, model)
    atoms = {1: -3.0, 6: 5.0, 8: 0.25}
    examples = []
    for seed, numbers in enumerate([(6, 8, 1), (1, 8, 1), (6, 1)]):  # few atoms: random weights are wild among many
        example = random_labels(model, molecule(seed, numbers), seed)
        with torch.no_grad():
            found = model(example.graph, OUTPUTS)
        energy = found.energy + sum(atoms[z] for z in numbers)
        diagonal = (found.hamiltonian.onsite.diagonal(dim1=-2, dim2=-1) != 0).double()
        values = {
            **example.values,
            "energy": energy,
            "onsite": found.hamiltonian.onsite.detach() + 0.5 * torch.diag_embed(diagonal),
            "pair": found.hamiltonian.pair.detach(),
        }
        examples.append(replace(example, values=values))
    refit_means(model, examples)
    batch = collate([example.graph for example in examples])
    with torch.no_grad():
        found = model(batch, OUTPUTS)
    torch.testing.assert_close(found.energy, torch.cat([example.values["energy"] for example in examples]))
    torch.testing.assert_close(
        found.hamiltonian.onsite, torch.cat([example.values["onsite"] for example in examples]), rtol=0, atol=1e-9
    )
