"""Energy, forces, stress and Hamiltonian under O(3), translation, permutation, partition and batching, in float64.

Each law is a number that is zero for a right model; each is held against a model that was broken on purpose.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adiabat.core.operators import BlockOperator
from adiabat.data.graph import collate
from adiabat.data.structure import Structure
from adiabat.equivariant.grid_products import SphereCurl
from adiabat.models.model import Model
from small_models import (
    F_BASIS,
    crystal,
    molecule,
    orthogonal_matrix,
    relative_difference,
    small_config,
    small_model,
    turned,
    turned_operator,
)

# what the issue asks for; rounding leaves some 1e-14
TOLERANCE = 1e-10
# a broken law must be seen from far
BROKEN = 1e-6
PAIR_RADIUS = 4.0
EVERYTHING = ("energy", "forces", "stress", "hamiltonian")
SIZES = [(l_max, layers) for l_max in (1, 2, 3) for layers in (1, 2)]


@cache
def shared_model(l_max: int = 2, layers: int = 2, pair_radius: float | None = PAIR_RADIUS) -> Model:
    """Never changed by a test; those that break a model make their own."""
    return small_model(small_config(l_max=l_max, layers=layers, pair_radius=pair_radius))


def broken_model(l_max: int = 2) -> Model:
    return small_model(small_config(l_max=l_max, pair_radius=PAIR_RADIUS))


def predicted(model: Model, structure: Structure) -> dict[str, Tensor | BlockOperator]:
    """All that the model gives; energies without their constant references, beside which errors would vanish."""
    outputs = EVERYTHING if structure.pbc.all() else ("energy", "forces", "hamiltonian")
    graph = model.graph(structure, outputs)
    prediction = model(graph, outputs)
    assert model.energy_head is not None
    reference = model.energy_head.reference[model.species(graph.atomic_numbers)].sum()
    found = {"energy": prediction.energy - reference, "forces": prediction.forces}
    if prediction.stress is not None:
        found["stress"] = prediction.stress[0]
    return {**found, "hamiltonian": model.delta_hamiltonian(structure)}


def violations(model: Model, structure: Structure, determinant: int) -> dict[str, float]:
    """Relative difference of each output of the turned structure to the turned output."""
    q = orthogonal_matrix(determinant)
    before, after = predicted(model, structure), predicted(model, turned(structure, q))
    turn = torch.from_numpy(q)
    expected = {"energy": before["energy"], "forces": before["forces"] @ turn.T}
    if "stress" in before:
        expected["stress"] = turn @ before["stress"] @ turn.T
    found = {name: relative_difference(after[name], value) for name, value in expected.items()}
    operator = turned_operator(before["hamiltonian"], structure, F_BASIS, q)
    return {**found, "hamiltonian": relative_difference(after["hamiltonian"].values, operator.values)}


# ---------------------------------------------------------------- O(3)


@pytest.mark.parametrize("determinant", [1, -1], ids=["rotation", "reflection"])
@pytest.mark.parametrize(("l_max", "layers"), SIZES)
def test_everything_of_a_crystal_turns_with_it(l_max: int, layers: int, determinant: int) -> None:
    found = violations(shared_model(l_max, layers), crystal(), determinant)
    assert set(found) == set(EVERYTHING)
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("determinant", [1, -1], ids=["rotation", "reflection"])
@pytest.mark.parametrize(("l_max", "layers"), [(1, 2), (3, 1)])
def test_everything_of_a_molecule_turns_with_it(l_max: int, layers: int, determinant: int) -> None:
    found = violations(shared_model(l_max, layers, None), molecule(), determinant)
    assert max(found.values()) < TOLERANCE, found


def test_scalars_alone_turn_too() -> None:
    """With l_max = 0 the head sees distances only; its blocks must still turn."""
    found = violations(small_model(small_config(l_max=0, pair_radius=PAIR_RADIUS)), crystal(), -1)
    assert max(found.values()) < TOLERANCE, found


def test_a_weight_that_depends_on_m_breaks_every_output() -> None:
    model = broken_model()
    model.trunk.layers[0].from_products.l_of_component[1] = 2
    found = violations(model, crystal(), 1)
    assert min(found.values()) > BROKEN, found


class WithCurl(nn.Module):
    """Adds a feature of the other parity to the products, which only a mirror can tell."""

    def __init__(self, product: nn.Module, l_max: int, channels: int) -> None:
        super().__init__()
        self.product, self.channels = product, channels
        torch.set_default_dtype(torch.float64)  # in which the curl keeps its constants
        self.curl = SphereCurl(l_max, l_max)
        torch.set_default_dtype(torch.float32)

    def forward(self, factors: Tensor) -> Tensor:
        products = self.product(factors)
        odd = self.curl(factors[..., : 2 * self.channels])
        return products + nn.functional.pad(odd, (0, products.shape[-1] - odd.shape[-1]))


def test_mixing_the_parities_breaks_reflections_only() -> None:
    model = broken_model()
    for layer in model.trunk.layers:
        layer.product = WithCurl(layer.product, 2, layer.channels)
    assert max(violations(model, crystal(), 1).values()) < TOLERANCE
    assert min(violations(model, crystal(), -1).values()) > 1e-2


def test_scales_that_differ_between_cosine_and_sine_break_the_hamiltonian_only() -> None:
    model = broken_model()
    assert model.operator_head is not None
    model.operator_head.pair.amplitude[:, -1] *= 2
    found = violations(model, crystal(), 1)
    assert found["hamiltonian"] > BROKEN
    assert max(found["energy"], found["forces"], found["stress"]) < TOLERANCE


def test_the_wrong_order_of_p_orbitals_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import small_models

    ours = small_models.wigner_d_all

    def in_x_y_z(l_max: int, rotation: Tensor) -> list[Tensor]:
        d = ours(l_max, rotation)
        return [d[0], rotation, *d[2:]]

    monkeypatch.setattr(small_models, "wigner_d_all", in_x_y_z)
    assert violations(shared_model(), crystal(), 1)["hamiltonian"] > BROKEN


# ---------------------------------------------------------------- translation and permutation


def translation_violation(model: Model) -> float:
    structure = crystal()
    moved = Structure(
        structure.atomic_numbers, structure.positions + np.array([3.1, -7.7, 11.0]), structure.cell, structure.pbc
    )
    before, after = predicted(model, structure), predicted(model, moved)
    errors = [relative_difference(after[name], before[name]) for name in EVERYTHING[:3]]
    return max(*errors, relative_difference(after["hamiltonian"].values, before["hamiltonian"].values))


def permutation_violation(model: Model) -> float:
    structure = molecule()
    order = np.array([3, 0, 4, 2, 1])
    shuffled = Structure(structure.atomic_numbers[order], structure.positions[order])
    before, after = predicted(model, structure), predicted(model, shuffled)
    orbitals = [[] for _ in order]
    start = 0
    for atom, n in enumerate(F_BASIS.n_orbitals(structure.atomic_numbers)):
        orbitals[atom] = list(range(start, start + n))
        start += n
    new = [orbital for atom in order for orbital in orbitals[atom]]
    return max(
        relative_difference(after["energy"], before["energy"]),
        relative_difference(after["forces"], before["forces"][torch.from_numpy(order)]),
        relative_difference(after["hamiltonian"].to_dense(), before["hamiltonian"].to_dense()[np.ix_(new, new)]),
    )


def test_a_crystal_may_be_moved() -> None:
    assert translation_violation(shared_model()) < TOLERANCE


def test_a_model_that_knows_where_the_origin_is_fails() -> None:
    model = broken_model()

    def looks_at_first_atom(_module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        species, edge_index, distances, harmonics, *rest = arguments
        return species, edge_index, distances * (1 + 1e-3 * torch.sin(origin[0])), harmonics, *rest

    origin = [torch.tensor(0.0)]
    model.trunk.register_forward_pre_hook(looks_at_first_atom)
    plain = model.graph

    def remembers(structure: Structure, outputs: tuple[str, ...]) -> object:
        origin[0] = torch.tensor(structure.positions[0, 0])
        return plain(structure, outputs)

    model.graph = remembers
    assert translation_violation(model) > BROKEN


def test_atoms_have_no_names() -> None:
    assert permutation_violation(shared_model(pair_radius=None)) < TOLERANCE


def test_a_model_that_counts_atoms_off_fails() -> None:
    model = small_model(small_config())

    def index_dependent(_module: nn.Module, _arguments: object, output: Tensor) -> Tensor:
        return output * (1 + 0.1 * torch.arange(len(output)))[:, None, None]

    model.trunk.layers[0].to_factors.register_forward_hook(index_dependent)
    assert permutation_violation(model) > BROKEN


# ---------------------------------------------------------------- extensivity and batches


def mean_field_of_the_batch(model: Model) -> Model:
    """Break a model: normalise by the neighbors that happen to be in the batch."""

    def count(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        model.trunk.n_neighbors.fill_(1 + arguments[1].shape[1] / len(arguments[0]))

    model.trunk.register_forward_pre_hook(count)
    return model


def extensivity_violation(model: Model) -> float:
    one, other = molecule(1), molecule(2, (8, 1, 1))
    both = Structure(
        np.concatenate([one.atomic_numbers, other.atomic_numbers]),
        np.concatenate([one.positions, other.positions + np.array([60.0, 0.0, 0.0])]),
    )
    parts, whole = [predicted(model, one), predicted(model, other)], predicted(model, both)
    n = len(parts[0]["hamiltonian"].to_dense())
    dense = whole["hamiltonian"].to_dense()
    assert np.isfinite(dense).all()
    return max(
        relative_difference(whole["energy"], parts[0]["energy"] + parts[1]["energy"]),
        relative_difference(whole["forces"], torch.cat([part["forces"] for part in parts])),
        relative_difference(dense[:n, :n], parts[0]["hamiltonian"].to_dense()),
        relative_difference(dense[n:, n:], parts[1]["hamiltonian"].to_dense()),
    )


def batch_violation(model: Model) -> float:
    structures = [molecule(1), molecule(2, (8,)), molecule(3, (8, 1, 1))]
    outputs = ("energy", "forces", "hamiltonian")
    graphs = [model.graph(structure, outputs) for structure in structures]
    batch, singles = model(collate(graphs), outputs), [model(graph, outputs) for graph in graphs]
    return max(
        relative_difference(batch.energy, torch.cat([single.energy for single in singles])),
        relative_difference(batch.forces, torch.cat([single.forces for single in singles])),
        relative_difference(batch.hamiltonian.onsite, torch.cat([single.hamiltonian.onsite for single in singles])),
        relative_difference(batch.hamiltonian.pair, torch.cat([single.hamiltonian.pair for single in singles])),
    )


@pytest.mark.parametrize("law", [extensivity_violation, batch_violation])
def test_far_and_separate_molecules_do_not_feel_each_other(law: Callable[[Model], float]) -> None:
    assert law(shared_model(pair_radius=None)) < TOLERANCE


@pytest.mark.parametrize("law", [extensivity_violation, batch_violation])
def test_a_model_that_looks_at_the_whole_batch_fails(law: Callable[[Model], float]) -> None:
    assert law(mean_field_of_the_batch(small_model(small_config()))) > BROKEN


def test_a_crystal_and_a_batch_of_crystals() -> None:
    model = shared_model()
    graphs = [model.graph(crystal(seed), EVERYTHING) for seed in (0, 1)]
    batch, singles = model(collate(graphs), EVERYTHING), [model(graph, EVERYTHING) for graph in graphs]
    assert relative_difference(batch.stress, torch.cat([single.stress for single in singles])) < TOLERANCE
    pair = torch.cat([single.hamiltonian.pair for single in singles])
    assert relative_difference(batch.hamiltonian.pair, pair) < TOLERANCE


def test_a_doubled_cell_has_twice_the_energy_and_the_same_stress() -> None:
    model, one = shared_model(), crystal()
    two = Structure(
        np.tile(one.atomic_numbers, 2),
        np.concatenate([one.positions, one.positions + one.cell[1]]),
        one.cell * [[1], [2], [1]],
        one.pbc,
    )
    before, after = predicted(model, one), predicted(model, two)
    assert relative_difference(after["energy"], 2 * before["energy"]) < TOLERANCE
    assert relative_difference(after["forces"], before["forces"].repeat(2, 1)) < TOLERANCE
    assert relative_difference(after["stress"], before["stress"]) < TOLERANCE


# ---------------------------------------------------------------- one atom, no edges


def test_one_atom_and_atoms_out_of_reach() -> None:
    model = shared_model(pair_radius=None)
    alone = predicted(model, molecule(0, (8,)))
    assert torch.equal(alone["forces"], torch.zeros(1, 3, dtype=torch.float64))
    assert np.isfinite(alone["hamiltonian"].values).all()
    far = Structure(np.array([8, 8]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 50.0]]))
    apart = predicted(model, far)
    assert relative_difference(apart["energy"], 2 * alone["energy"]) < TOLERANCE
    assert not apart["forces"].any()


def test_one_atom_in_a_wide_cell_has_no_stress() -> None:
    wide = Structure(np.array([8]), np.zeros((1, 3)), 40 * np.eye(3), np.ones(3, dtype=bool))
    assert not predicted(shared_model(), wide)["stress"].any()


def test_a_free_atom_keeps_its_spherical_symmetry() -> None:
    """ΔH of one atom is diagonal in l and m, and the same for all m of a shell pair."""
    operator = shared_model(pair_radius=None).delta_hamiltonian(molecule(0, (8,)))
    for determinant in (1, -1):
        again = turned_operator(operator, molecule(0, (8,)), F_BASIS, orthogonal_matrix(determinant))
        assert relative_difference(again.values, operator.values) < TOLERANCE
