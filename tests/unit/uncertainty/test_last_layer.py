"""The last layer's posterior against Bayesian regression that is written out densely, and against draws."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from adiabat.core.errors import LabelError, ModelError
from adiabat.core.operators import Spin
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.graph import collate
from adiabat.data.structure import Structure
from adiabat.models.config import LinearAceConfig, ModelConfig
from adiabat.models.model import Model, build_model
from adiabat.models.posterior import Posterior
from adiabat.uncertainty.energy_posterior import exact_derivative_spread
from adiabat.uncertainty.last_layer import LastLayer
from adiabat.uncertainty.last_layer_fit import LastLayerSettings, fit_last_layer
from adiabat.uncertainty.operator_posterior import KindPosterior, OperatorPosterior
from small_models import (
    ELEMENTS,
    LabelledExample,
    crystal,
    molecule,
    random_labels,
    relative_difference,
    small_config,
    small_model,
)

EVERYTHING = ("energy", "forces", "hamiltonian")
S_P = OrbitalBasis("toy-sp", {1: (0,), 6: (0, 1), 8: (0, 0, 1)})
SIZES = (3, 5, 4, 6)


@cache
def shared_model(*, operator: bool = True) -> Model:
    return small_model(small_config(l_max=1, operator=operator), S_P)


def examples(model: Model, n: int = 4) -> list[LabelledExample]:
    numbers = (8, 6, 1, 1, 6, 8)
    return [random_labels(model, molecule(k, numbers[: SIZES[k % 4]]), k) for k in range(n)]


@cache
def shared_posterior() -> LastLayer:
    return fit_last_layer(shared_model(), examples(shared_model()))


def design(model: Model, labelled: Sequence[LabelledExample], energy_noise: float, forces_noise: float) -> Tensor:
    """Rows φ/σ of every label, from backward passes, a feature at a time."""
    assert model.energy_head is not None
    scale = float(model.energy_head.scale)
    rows = []
    for example in labelled:
        graph = example.graph
        positions = graph.positions.clone().requires_grad_()
        history = model.node_features(graph, model.species(graph.atomic_numbers), positions, graph.cell, None)
        totals = model.energy_head.last_features(history).sum(0) * scale
        rows.append(totals.detach()[None] / energy_noise / graph.n_atoms**0.5)
        jacobian = torch.stack([torch.autograd.grad(total, positions, retain_graph=True)[0] for total in totals])
        rows.append(jacobian.flatten(1).mT / forces_noise)
    return torch.cat(rows)


# ---------------------------------------------------------------- energy and forces


def test_it_is_the_dense_bayesian_regression_on_energies_and_forces() -> None:
    model = shared_model(operator=False)
    labelled = examples(model)
    settings = LastLayerSettings(energy_noise=0.3, forces_noise=0.7, prior=2.0, n_draws=64)
    found = fit_last_layer(model, labelled, settings)
    rows = design(model, labelled, 0.3, 0.7)
    covariance = torch.linalg.inv(rows.mT @ rows + 2.0 * torch.eye(rows.shape[1], dtype=torch.float64))
    torch.testing.assert_close(torch.cholesky_inverse(found.posterior.factor), covariance)

    new = molecule(9)
    graph = model.graph(new, EVERYTHING)
    spread = found.predict(graph, ("energy", "forces")).spread
    of_new = design(model, [LabelledExample(graph, {}, {})], 1 / graph.n_atoms**0.5, 1.0)
    expected = (of_new @ covariance * of_new).sum(-1).sqrt()
    torch.testing.assert_close(spread.energy, expected[:1])
    torch.testing.assert_close(spread.forces.flatten(), expected[1:])


def test_the_noise_is_what_training_left() -> None:
    model = shared_model(operator=False)
    labelled = examples(model)
    found = fit_last_layer(model, labelled).summary["energy"]
    errors = [model(example.graph, ("energy", "forces")) for example in labelled]
    energies = [
        (float(error.energy.detach() - example.values["energy"]), example.graph.n_atoms)
        for error, example in zip(errors, labelled, strict=True)
    ]
    assert found["energy_noise"] == pytest.approx((sum(e**2 / n for e, n in energies) / 4) ** 0.5, rel=1e-12)
    forces = torch.cat(
        [(error.forces - example.values["forces"]).detach() for error, example in zip(errors, labelled, strict=True)]
    )
    assert found["forces_noise"] == pytest.approx(float(forces.square().mean().sqrt()), rel=1e-12)
    assert 0 < found["n_determined"] < found["n_weights"]


def test_draws_give_the_spread_that_is_exact_for_small_structures() -> None:
    model = shared_model(operator=False)
    few, many = (fit_last_layer(model, examples(model), LastLayerSettings(n_draws=n)) for n in (14, 200))
    graph = model.graph(molecule(9), ("forces",))  # 15 coordinates
    exact = exact_derivative_spread(model, graph, {"forces"}, few.posterior)["forces"]
    torch.testing.assert_close(many.predict(graph, ("forces",)).spread.forces, exact, rtol=1e-10, atol=0)
    drawn = few.predict(graph, ("forces",)).spread.forces
    assert (
        1e-3 < relative_difference(drawn, exact) < 1.0
    )  # 14 draws know a spread to 19 %, the worst of 15 to thrice it
    over_many = many._energy._drawn_derivative_spread  # the other path, at the same size
    positions = graph.positions.clone().requires_grad_()
    history = model.node_features(graph, model.species(graph.atomic_numbers), positions, graph.cell, None)
    totals = model.energy_head.last_features(history).sum(0, keepdim=True)
    found = over_many(totals, positions, None, graph, float(model.energy_head.scale))["forces"]
    assert relative_difference(found, exact) < 0.17  # 200 draws: 5 %, the worst of 15 within thrice it


def test_members_are_the_draws() -> None:
    """Their mean is the model, their spread that of predict: forces and stress exactly, energies but for 4 %."""
    model = shared_model(operator=False)
    posterior = fit_last_layer(model, examples(model)).posterior
    found = LastLayer(model, posterior, n_draws=8)
    graph = collate([model.graph(crystal(k), ("stress",)) for k in (0, 1)])
    outputs = ("energy", "forces", "stress")
    own = found.predict(graph, outputs)
    each = [member(graph, outputs) for member in found.members]
    for name in ("forces", "stress"):
        values = torch.stack([getattr(one, name).detach() for one in each])
        torch.testing.assert_close(values.mean(0), getattr(own.mean, name), rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(values.std(0), getattr(own.spread, name), rtol=1e-8, atol=1e-10)
    many = LastLayer(model, posterior, n_draws=300)
    energies = torch.stack([member(graph, ("energy",)).energy.detach() for member in many.members])
    torch.testing.assert_close(energies.std(0), own.spread.energy, rtol=0.15, atol=0)  # 1/√600 = 4 %


def test_stress_is_exact_too() -> None:
    model = shared_model(operator=False)
    posterior = fit_last_layer(model, examples(model)).posterior
    graph = model.graph(crystal(), ("stress",))
    exact = LastLayer(model, posterior, n_draws=16).predict(graph, ("stress",)).spread.stress
    covariance = torch.cholesky_inverse(posterior.factor)
    cell, strain = graph.cell, torch.zeros_like(graph.cell).requires_grad_()
    history = model.node_features(graph, model.species(graph.atomic_numbers), graph.positions, cell, strain)
    totals = model.energy_head.last_features(history).sum(0) * model.energy_head.scale
    rows = torch.stack([torch.autograd.grad(total, strain, retain_graph=True)[0][0] for total in totals], dim=-1)
    variance = torch.einsum("abi,ij,abj->ab", rows, covariance, rows) / torch.linalg.det(cell[0]) ** 2
    torch.testing.assert_close(exact[0], variance.sqrt())


def test_labels_of_a_kind_shrink_the_spread_and_more_of_them_shrink_it_more() -> None:
    model = shared_model(operator=False)
    graph = model.graph(molecule(0, (8, 6, 1)), ("energy",))
    settings = LastLayerSettings(energy_noise=0.1, forces_noise=0.1, prior=1.0)
    spreads = [
        float(fit_last_layer(model, examples(model, n), settings).predict(graph, ("energy",)).spread.energy)
        for n in (1, 4, 16)
    ]
    assert spreads[0] > spreads[1] > spreads[2]
    only_energies = [replace_labels(example, "energy") for example in examples(model, 4)]
    less = fit_last_layer(model, only_energies, settings).predict(graph, ("energy",)).spread.energy
    assert float(less) > spreads[1], "forces tell more than energies alone"


def test_the_spread_grows_off_the_data() -> None:
    """Atoms of a training molecule that is compressed, further and further."""
    model = shared_model(operator=False)
    labelled = [random_labels(model, distorted(k), k) for k in range(8)]
    found = fit_last_layer(model, labelled, LastLayerSettings(energy_noise=0.1, forces_noise=0.1))
    spreads = []
    for factor in (1.0, 0.9, 0.8, 0.7):
        structure = molecule()
        shrunk = Structure(structure.atomic_numbers, structure.positions * factor)
        spreads.append(float(found.predict(model.graph(shrunk, ("energy",)), ("energy",)).spread.energy))
    assert spreads == sorted(spreads)
    assert spreads[-1] > 3 * spreads[0]


def distorted(seed: int) -> Structure:
    structure = molecule()
    noise = 0.03 * torch.randn(5, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).numpy()
    return Structure(structure.atomic_numbers, structure.positions + noise)


def replace_labels(example: LabelledExample, *kept: str) -> LabelledExample:
    return replace(example, counts={name: 1 for name in kept})


def test_random_directions_stand_for_all() -> None:
    model = shared_model(operator=False)
    labelled = [random_labels(model, distorted(k), k) for k in range(40)]
    all_of_them = LastLayerSettings(energy_noise=0.1, forces_noise=0.1, prior=1.0)
    some = all_of_them.model_copy(update={"directions": 14})
    graph = model.graph(molecule(3), ("energy",))
    exact, drawn = (
        float(fit_last_layer(model, labelled, settings).predict(graph, ("energy",)).spread.energy)
        for settings in (all_of_them, some)
    )
    assert drawn == pytest.approx(exact, rel=0.2)
    assert drawn != exact


def test_stress_labels_count_each_of_nine_numbers() -> None:
    model = shared_model(operator=False)
    graph = model.graph(crystal(), ("stress",))
    example = LabelledExample(graph, {"stress": torch.zeros(1, 3, 3, dtype=torch.float64)}, {"stress": 9})
    found = fit_last_layer(model, [example], LastLayerSettings(stress_noise=0.01, prior=1.0))
    strain = torch.zeros_like(graph.cell).requires_grad_()
    history = model.node_features(graph, model.species(graph.atomic_numbers), graph.positions, graph.cell, strain)
    totals = model.energy_head.last_features(history).sum(0) * model.energy_head.scale
    rows = torch.stack([torch.autograd.grad(total, strain, retain_graph=True)[0].flatten() for total in totals], -1)
    rows = rows / torch.linalg.det(graph.cell[0]) / 0.01
    torch.testing.assert_close(
        found.posterior.precision, rows.mT @ rows + torch.eye(rows.shape[1], dtype=torch.float64)
    )


# ---------------------------------------------------------------- H


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_the_spread_of_h_is_that_of_its_draws(spin: Spin) -> None:
    """Draws of all last weights, whose blocks the head itself turns and averages with their partners."""
    if spin == "none":
        model = shared_model()
    else:
        model = small_model(small_config(l_max=1, pair_radius=3.0), S_P, spin=spin, baseline="two-center")
    labelled = [random_labels(model, molecule(k, (8, 6, 1)), k) for k in range(2)]
    found = fit_last_layer(model, labelled, LastLayerSettings(n_draws=300))
    graph = model.graph(molecule(9, (8, 6)), ("hamiltonian",))
    exact = found.predict(graph, ("hamiltonian",)).spread.hamiltonian
    with torch.no_grad():
        draws = [member(graph, ("hamiltonian",)).hamiltonian for member in found.members]
    for drawn, spread in (
        (torch.stack([blocks.onsite for blocks in draws]).std(0), exact.onsite),
        (torch.stack([blocks.pair for blocks in draws]).std(0), exact.pair),
    ):
        learned = spread > 1e-9 * spread.max()  # of what symmetry makes zero, rounding is left
        assert float(drawn[~learned].max()) < 1e-9 * drawn.max(), "what has no spread never changes"
        ratio = (drawn / spread)[learned]
        # 300 draws know a standard deviation to 1/√600 = 4 %; without the covariance with the partner it is 40 % off
        assert float(ratio.log().abs().max()) < 0.2
        assert float(ratio.log().abs().mean()) < 0.05
    torch.testing.assert_close(exact.onsite, exact.onsite.mT)
    torch.testing.assert_close(exact.pair, exact.pair[graph.pair_reverse].mT)


def test_padding_has_no_spread() -> None:
    model = shared_model()
    structure = molecule(9, (8, 6, 1))
    graph = model.graph(structure, ("hamiltonian",))
    spread = shared_posterior().predict(graph, ("hamiltonian",)).spread.hamiltonian
    orbitals = torch.from_numpy(model.operator_layout.orbital_mask(structure.atomic_numbers))
    onsite = orbitals[:, :, None] & orbitals[:, None, :]
    assert torch.equal(spread.onsite > 0, onsite)
    i, j = graph.pair_index
    assert torch.equal(spread.pair > 0, orbitals[i][:, :, None] & orbitals[j][:, None, :])


def test_labels_shrink_the_spread_of_h() -> None:
    """At the same noise, which is a label's and not the posterior's."""
    model = shared_model()
    graph = model.graph(molecule(9, (8, 6, 1)), ("hamiltonian",))
    few, many = (fit_last_layer(model, examples(model, n)).operator for n in (1, 6))
    as_noisy = OperatorPosterior(
        *(
            tuple(
                KindPosterior(a.posterior, b.noise)
                for a, b in zip(getattr(few, part), getattr(many, part), strict=True)
            )
            for part in ("onsite", "pair")
        )
    )
    before, after = as_noisy.spread(model, graph), many.spread(model, graph)
    assert float(before.pair.norm()) > 1.3 * float(after.pair.norm())
    assert float(before.onsite.norm()) > 1.3 * float(after.onsite.norm())


# ---------------------------------------------------------------- the linear family


def test_the_linear_family_goes_the_same_way() -> None:
    ace = LinearAceConfig(degrees=(4, 3))
    model = build_model(
        ModelConfig(family="linear-ace", cutoff=3.0, linear_ace=ace), ELEMENTS, dtype=torch.float64
    ).eval()
    with torch.no_grad():
        model.energy_head.weights.normal_(generator=torch.Generator().manual_seed(0))
        model.energy_head.noise.fill_(0.1)
    found = fit_last_layer(model, [random_labels(model, molecule(k), k) for k in range(3)])
    assert found.method == "linear"
    graph = model.graph(molecule(9), ("forces",))
    spread = found.predict(graph, ("forces",)).spread
    exact = exact_derivative_spread(model, graph, {"forces"}, found.posterior)["forces"]
    torch.testing.assert_close(spread.forces, exact)
    assert bool((exact > 0).all())


# ---------------------------------------------------------------- bad input


def test_a_posterior_of_another_model_is_refused() -> None:
    with pytest.raises(ModelError, match="a posterior of 3 weights"):
        LastLayer(shared_model(), Posterior.from_precision(torch.eye(3)))


def test_a_spread_without_its_posterior_is_refused() -> None:
    model = shared_model()
    found = LastLayer(model, shared_posterior().posterior)
    graph = model.graph(molecule(), ("hamiltonian",))
    with pytest.raises(ModelError, match="spread of the Hamiltonian"):
        found.predict(graph, ("hamiltonian",))
    with pytest.raises(ModelError, match="1 draw"):
        LastLayer(model, None, n_draws=1)


def test_a_training_set_without_labels_is_refused() -> None:
    example = random_labels(shared_model(), molecule())
    with pytest.raises(LabelError, match="labels of nothing"):
        fit_last_layer(shared_model(), [replace_labels(example)])
