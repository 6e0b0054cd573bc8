"""Spreads under O(3), batching and partition, in float64, for every method; each law is held against a broken model.

A standard deviation of one component does not turn as a vector, but the covariance does: what is invariant is the norm
over an atom's three components, over the stress, and over a block of H.
"""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from adiabat.core.operators import Spin
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.graph import collate
from adiabat.data.structure import Structure
from adiabat.models.model import Model
from adiabat.uncertainty.ensemble import DeepEnsemble
from adiabat.uncertainty.interface import UncertainModel
from adiabat.uncertainty.last_layer_fit import LastLayerSettings, fit_last_layer
from adiabat.uncertainty.out_of_distribution import trunk_features
from adiabat.uncertainty.shallow import ShallowEnsemble
from small_models import (
    crystal,
    molecule,
    orthogonal_matrix,
    random_labels,
    relative_difference,
    small_config,
    small_model,
    turned,
)

TOLERANCE = 1e-8  # rounding leaves 1e-11 of a spread, which is a root of differences of squares
BROKEN = 1e-4
S_P = OrbitalBasis("toy-sp", {1: (0,), 6: (0, 1), 8: (0, 0, 1)})
PAIR_RADIUS = 3.5


def make_model(seed: int = 0, heads: int = 1, spin: Spin = "none") -> Model:
    config = small_config(l_max=1, pair_radius=PAIR_RADIUS).model_copy(update={"ensemble": heads})
    return small_model(config, S_P, seed=seed, spin=spin)


@cache
def ensemble() -> UncertainModel:
    return DeepEnsemble([make_model(seed) for seed in range(3)])


@cache
def shallow() -> UncertainModel:
    return ShallowEnsemble(make_model(heads=3))


@cache
def last_layer(n_draws: int = 4, spin: Spin = "none") -> UncertainModel:
    model = make_model(spin=spin)
    labelled = [random_labels(model, molecule(k, (8, 6, 1, 6)), k) for k in range(3)]
    return fit_last_layer(model, labelled, LastLayerSettings(n_draws=n_draws))


METHODS = {
    "ensemble": ensemble,
    "shallow": shallow,
    "last-layer-drawn": last_layer,
    "last-layer-exact": lambda: last_layer(40),
}


def invariants(uncertain: UncertainModel, structure: Structure) -> dict[str, Tensor]:
    """What may not change when a structure turns."""
    outputs = {"energy", "forces", "hamiltonian"} | ({"stress"} if structure.pbc.all() else set())
    spread = uncertain.predict(uncertain.model.graph(structure, outputs), outputs).spread
    found = {"energy": spread.energy, "atomic_energies": spread.atomic_energies, "forces": spread.forces.norm(dim=-1)}
    if spread.stress is not None:
        found["stress"] = spread.stress.flatten(1).norm(dim=-1)
    if spread.hamiltonian is not None:
        found["onsite"] = spread.hamiltonian.onsite.flatten(1).norm(dim=-1)
        found["pair"] = spread.hamiltonian.pair.flatten(1).norm(dim=-1)
    return found


def violations(uncertain: UncertainModel, structure: Structure, determinant: int) -> dict[str, float]:
    before = invariants(uncertain, structure)
    after = invariants(uncertain, turned(structure, orthogonal_matrix(determinant)))
    assert all(float(value.min()) >= 0 for value in before.values())
    assert all(float(value.max()) > 0 for value in before.values())
    return {name: relative_difference(after[name], value) for name, value in before.items()}


@pytest.mark.parametrize("determinant", [1, -1], ids=["rotation", "reflection"])
@pytest.mark.parametrize("method", METHODS)
def test_spreads_turn_with_the_structure(method: str, determinant: int) -> None:
    for structure in (molecule(), crystal()):
        found = violations(METHODS[method](), structure, determinant)
        assert max(found.values()) < TOLERANCE, found


def test_a_weight_that_depends_on_m_breaks_every_spread() -> None:
    model = make_model()
    model.trunk.layers[0].from_products.l_of_component[1] = 0
    labelled = [random_labels(model, molecule(k, (8, 6, 1, 6)), k) for k in range(3)]
    found = violations(fit_last_layer(model, labelled), crystal(), 1)
    assert min(found.values()) > BROKEN, found


def test_a_covariance_without_its_off_diagonal_breaks_single_entries_only_in_sum() -> None:
    """The spread along a bond's own axes does not depend on how the molecule lies: d covariance dᵀ."""
    uncertain = last_layer(40)
    structure = molecule(0, (8, 6))
    axis = torch.from_numpy(structure.positions[1] - structure.positions[0])
    q = orthogonal_matrix(1)
    onto_x = _turn_to_x(axis.numpy())
    graphs = [
        uncertain.model.graph(turned(structure, m), ("forces",)) for m in (onto_x, _turn_to_x(q @ axis.numpy()) @ q)
    ]
    along, again = (uncertain.predict(graph, ("forces",)).spread.forces[:, 0] for graph in graphs)
    torch.testing.assert_close(along, again, rtol=TOLERANCE, atol=0)
    lying = uncertain.predict(uncertain.model.graph(structure, ("forces",)), ("forces",)).spread.forces
    naive = (lying * (axis / axis.norm())).norm(dim=-1)  # what independent components would give
    assert relative_difference(naive, along) > 0.01


def _turn_to_x(axis: np.ndarray) -> np.ndarray:
    x = axis / np.linalg.norm(axis)
    rest = np.linalg.svd(x[None])[2][1:]
    q = np.vstack([x, rest])
    return q * np.array([1.0, 1.0, np.linalg.det(q)])[:, None]


@pytest.mark.parametrize("spin", ["collinear", "spinor"])
def test_spreads_of_h_with_spin_turn_too(spin: Spin) -> None:
    uncertain = last_layer(4, spin)
    found = violations(uncertain, molecule(2, (8, 6, 1)), 1)
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("method", METHODS)
def test_batch_is_single(method: str) -> None:
    uncertain = METHODS[method]()
    outputs = ("energy", "forces", "stress", "hamiltonian")
    structures = [crystal(0), molecule(1, (6, 8)), crystal(2)]
    graphs = [uncertain.model.graph(structure, outputs) for structure in structures]
    together = uncertain.predict(collate(graphs), outputs).spread
    starts = np.cumsum([0, *(graph.n_atoms for graph in graphs)])
    pairs = np.cumsum([0, *(len(graph.pair_reverse) for graph in graphs)])
    for k in (0, 2):
        alone = uncertain.predict(graphs[k], outputs).spread
        atoms, own_pairs = slice(starts[k], starts[k + 1]), slice(pairs[k], pairs[k + 1])
        assert relative_difference(together.energy[k], alone.energy[0]) < TOLERANCE
        assert relative_difference(together.forces[atoms], alone.forces) < TOLERANCE
        assert relative_difference(together.stress[k], alone.stress[0]) < TOLERANCE
        if alone.hamiltonian is not None:
            assert relative_difference(together.hamiltonian.onsite[atoms], alone.hamiltonian.onsite) < TOLERANCE
            assert relative_difference(together.hamiltonian.pair[own_pairs], alone.hamiltonian.pair) < TOLERANCE
    assert bool(together.stress[1].isnan().all())


@pytest.mark.parametrize("method", METHODS)
def test_copies_far_apart_know_as_much_as_one(method: str) -> None:
    """Forces and atoms' own energies do not see them; the error of one is that of the other, so that energies add."""
    uncertain = METHODS[method]()
    one = molecule()
    two = Structure(np.tile(one.atomic_numbers, 2), np.concatenate([one.positions, one.positions + 50.0]))
    n = one.n_atoms
    outputs = ("energy", "forces")
    single, double = (
        uncertain.predict(uncertain.model.graph(structure, outputs), outputs).spread for structure in (one, two)
    )
    assert relative_difference(double.atomic_energies[n:], single.atomic_energies) < TOLERANCE
    assert relative_difference(double.energy, 2 * single.energy) < TOLERANCE
    if method != "last-layer-exact":  # thirty coordinates are no longer
        assert relative_difference(double.forces[n:], single.forces) < TOLERANCE


def test_features_of_an_atom_are_invariant() -> None:
    model = make_model()
    structure = crystal()
    before, after = (
        trunk_features(model, model.graph(one, ("energy",)))
        for one in (structure, turned(structure, orthogonal_matrix(-1)))
    )
    assert relative_difference(after, before) < TOLERANCE
