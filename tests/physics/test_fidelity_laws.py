"""The laws at every level of theory of one model, and in a batch of several, in float64."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from adiabat.data.graph import collate
from adiabat.models.config import OperatorReference
from adiabat.models.model import Model, build_model
from adiabat.models.statistics import fit_statistics
from small_models import (
    ELEMENTS,
    F_BASIS,
    crystal,
    molecule,
    orthogonal_matrix,
    random_labels,
    relative_difference,
    small_config,
    turned,
    turned_operator,
)

TOLERANCE = 1e-10
BROKEN = 1e-6
LEVELS = ("high", "low")


@cache
def shared_model() -> Model:
    return levelled_model()


def levelled_model(baseline: str = "minao") -> Model:
    """Random weights everywhere, corrections too, and statistics of random labels at both levels."""
    torch.manual_seed(3)
    basis = F_BASIS.to_json()
    level = OperatorReference(xc="pbe", basis=F_BASIS.name, grid_level=3, orbital_basis=basis, baseline=baseline)
    reference = level.model_copy(update={"xc": "pbe0", "others": {"low": level}})
    config = small_config(pair_radius=4.0).model_copy(update={"fidelities": LEVELS, "ensemble": 2})
    model = build_model(config, ELEMENTS, reference, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.copy_(0.2 * torch.randn_like(parameter) / len(parameter) ** 0.5)
    examples = []
    for seed in range(4):
        example = random_labels(model, molecule(seed, (6, 8, 1, 1, 6, 8)), seed)
        index = torch.tensor([seed % 2])
        examples.append(replace(example, graph=replace(example.graph, fidelity_index=index)))
    fit_statistics(model, examples)
    model.energy_head.reference.zero_()  # digits for small differences
    return model.eval()


@pytest.mark.parametrize("determinant", [1, -1], ids=["rotation", "reflection"])
@pytest.mark.parametrize("level", LEVELS)
def test_everything_turns_with_the_structure(level: str, determinant: int) -> None:
    model, q = shared_model().at_fidelity(level), orthogonal_matrix(determinant)
    assert max(violations(model, q).values()) < TOLERANCE


def test_a_mean_that_is_no_scalar_breaks_it_at_its_level_alone() -> None:
    """Negative control: a constant vector in the mean blocks of one level."""
    model, q = levelled_model(), orthogonal_matrix(1)
    head = model.operator_head.onsite
    head.mean[len(ELEMENTS) :, head.n_natural[0] + 1] = 0.3
    assert violations(model.at_fidelity("low"), q)["hamiltonian"] > BROKEN
    assert violations(model, q)["hamiltonian"] < TOLERANCE


def violations(model: Model, q: torch.Tensor) -> dict[str, float]:
    structure, turn = crystal(), torch.from_numpy(q)
    outputs = ("energy", "forces", "stress")
    before, after = (model(model.graph(one, outputs), outputs) for one in (structure, turned(structure, q)))
    operators = model.delta_hamiltonian(structure), model.delta_hamiltonian(turned(structure, q))
    return {
        "energy": relative_difference(after.energy, before.energy),
        "forces": relative_difference(after.forces, before.forces @ turn.T),
        "stress": relative_difference(after.stress, turn @ before.stress @ turn.T),
        "hamiltonian": relative_difference(
            operators[1].values, turned_operator(operators[0], structure, F_BASIS, q).values
        ),
    }


@pytest.mark.parametrize("level", LEVELS)
def test_forces_are_the_gradient_at_their_level(level: str) -> None:
    model = shared_model().at_fidelity(level)
    graph = model.graph(molecule(1), ("energy", "forces"))
    forces = model(graph, ("energy", "forces")).forces
    step, numeric = 1e-5, torch.zeros_like(forces)
    for atom, axis in ((0, 0), (2, 1), (4, 2)):
        energies = []
        for sign in (1, -1):
            positions = graph.positions.clone()
            positions[atom, axis] += sign * step
            energies.append(model(replace(graph, positions=positions), ("energy",)).energy.detach())
        numeric[atom, axis] = -(energies[0] - energies[1]) / (2 * step)
        # central differences leave the third derivative times the squared step
        assert float(forces[atom, axis]) == pytest.approx(float(numeric[atom, axis]), rel=1e-6, abs=1e-6)
    other = shared_model().at_fidelity(LEVELS[1 - LEVELS.index(level)])
    theirs = other(other.graph(molecule(1), ("energy", "forces")), ("energy", "forces")).forces
    assert relative_difference(theirs, forces) > BROKEN, "negative control: the other level's forces are others"


@pytest.mark.parametrize("baseline", ["minao", "two-center"])
def test_a_batch_of_levels_is_its_parts(baseline: str) -> None:
    model = levelled_model(baseline)
    outputs = ("energy", "forces", "hamiltonian")
    structures = (molecule(0), molecule(1), molecule(0))
    graphs = [
        model.at_fidelity(level).graph(structure, outputs)
        for level, structure in zip(("high", "low", "low"), structures, strict=True)
    ]
    together, apart = model(collate(graphs), outputs), [model(graph, outputs) for graph in graphs]
    for found, expected in (
        (together.energy, torch.cat([one.energy for one in apart])),
        (together.forces, torch.cat([one.forces for one in apart])),
        (together.hamiltonian.onsite, torch.cat([one.hamiltonian.onsite for one in apart])),
        (together.hamiltonian.pair, torch.cat([one.hamiltonian.pair for one in apart])),
    ):
        assert relative_difference(found, expected) < TOLERANCE
    assert relative_difference(apart[0].hamiltonian.pair, apart[2].hamiltonian.pair) > BROKEN, (
        "one structure, two levels"
    )
    crossed = model(replace(collate(graphs), fidelity_index=torch.tensor([0, 0, 0])), outputs)
    assert relative_difference(crossed.energy, together.energy) > BROKEN, "negative control"


def test_new_operator_corrections_change_nothing() -> None:
    """The costly level starts where the cheap one is, for H as for energies."""
    model = levelled_model()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "correction" in name or "fidelity_scalars" in name:
                parameter.zero_()
    head = model.operator_head
    head.onsite.mean[len(ELEMENTS) :] = head.onsite.mean[: len(ELEMENTS)]
    structure = crystal()
    operators = [model.at_fidelity(level).delta_hamiltonian(structure) for level in LEVELS]
    assert torch.equal(*(torch.from_numpy(operator.values) for operator in operators))
