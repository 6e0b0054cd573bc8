"""The linear family under the laws that every model obeys, in float64, each with a model broken on purpose."""

from functools import cache

import numpy as np
import pytest
import torch

from adiabat.data.graph import collate
from adiabat.data.structure import Structure
from adiabat.models.model import Model
from linear_models import linear_config, linear_model
from small_models import crystal, molecule, orthogonal_matrix, relative_difference, turned

# rounding leaves some 1e-14
TOLERANCE = 1e-10
BROKEN = 1e-6
CUTOFF = 3.0
OUTPUTS = ("energy", "forces")


@cache
def shared_model() -> Model:
    return linear_model()


def predicted(model: Model, structure: Structure) -> dict[str, torch.Tensor]:
    """Energies without their constant references, beside which errors would vanish."""
    outputs = (*OUTPUTS, "stress") if structure.pbc.all() else OUTPUTS
    found = model(model.graph(structure, outputs), outputs)
    reference = model.energy_head.reference[model.species(torch.from_numpy(structure.atomic_numbers))].sum()
    values = {"energy": found.energy - reference, "forces": found.forces}
    return values if found.stress is None else {**values, "stress": found.stress[0]}


def violations(model: Model, structure: Structure, determinant: int) -> dict[str, float]:
    q = orthogonal_matrix(determinant)
    before, after, turn = predicted(model, structure), predicted(model, turned(structure, q)), torch.from_numpy(q)
    expected = {"energy": before["energy"], "forces": before["forces"] @ turn.T}
    if "stress" in before:
        expected["stress"] = turn @ before["stress"] @ turn.T
    return {name: relative_difference(after[name], value) for name, value in expected.items()}


@pytest.mark.parametrize("determinant", [1, -1], ids=["rotation", "reflection"])
@pytest.mark.parametrize("structure", [crystal(), molecule()], ids=["crystal", "molecule"])
def test_everything_turns_with_the_structure(structure: Structure, determinant: int) -> None:
    assert max(violations(shared_model(), structure, determinant).values()) < TOLERANCE


def test_a_component_in_the_wrong_place_is_noticed() -> None:
    model = linear_model()
    model.trunk.harmonic_index[model.trunk.n_radial[0]] = 2
    assert min(violations(model, crystal(), 1).values()) > BROKEN


def batch_violation(model: Model) -> float:
    """A batch is its structures, and two far structures in one are the sum: extensivity."""
    one, two = molecule(0), molecule(1, (8, 1, 6, 6))
    far = Structure(
        np.concatenate([one.atomic_numbers, two.atomic_numbers]), np.concatenate([one.positions, two.positions + 50.0])
    )
    alone = [model(model.graph(part, OUTPUTS), OUTPUTS) for part in (one, two)]
    energies, forces = (torch.cat([getattr(found, name) for found in alone]) for name in OUTPUTS)
    batch = model(collate([model.graph(part, OUTPUTS) for part in (one, two)]), OUTPUTS)
    both = model(model.graph(far, OUTPUTS), OUTPUTS)
    of_batch = max(relative_difference(batch.energy, energies), relative_difference(batch.forces, forces))
    of_sum = max(relative_difference(both.energy, energies.sum()), relative_difference(both.forces, forces))
    return max(of_batch, of_sum)


def test_parts_out_of_reach_add_up() -> None:
    assert batch_violation(shared_model()) < TOLERANCE


def test_features_that_know_of_all_atoms_do_not_add_up() -> None:
    model = linear_model()
    plain = model.trunk.products.forward
    model.trunk.products.forward = lambda sums: plain(sums) * (1 + 0.01 * len(sums))
    assert batch_violation(model) > BROKEN


def finite_difference(model: Model, structure: Structure, step: float = 1e-4) -> np.ndarray:
    forces = np.zeros_like(structure.positions)
    for place in np.ndindex(*structure.positions.shape):
        energies = []
        for sign in (1, -1):
            positions = structure.positions.copy()
            positions[place] += sign * step
            moved = Structure(structure.atomic_numbers, positions)
            energies.append(predicted(model, moved)["energy"].item())
        forces[place] = -(energies[0] - energies[1]) / (2 * step)
    return forces


def test_forces_are_the_derivative_of_the_energy() -> None:
    structure = molecule(0, (8, 1, 6))
    expected = finite_difference(shared_model(), structure)
    # the third derivative times step²/6, and rounding of the energy over the step
    assert relative_difference(predicted(shared_model(), structure)["forces"], expected) < 1e-6


def test_forces_that_forget_the_radial_functions_are_noticed() -> None:
    model = linear_model()
    plain = model.trunk.radial.forward
    model.trunk.radial.forward = lambda distances, pair: plain(distances.detach(), pair)
    structure = molecule(0, (8, 1, 6))
    assert relative_difference(predicted(model, structure)["forces"], finite_difference(model, structure)) > 1e-2


def test_products_in_pieces_have_the_same_second_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many atoms are multiplied a few at a time, and recomputed where they are differentiated."""
    from adiabat.models import linear_ace

    def force_constants() -> torch.Tensor:
        model = linear_model().train()
        graph = model.graph(molecule(0, (8, 1, 6)), OUTPUTS)
        weights = model.energy_head.weights
        forces = model(graph, OUTPUTS).forces
        return torch.autograd.grad(forces.square().sum(), weights)[0]

    whole = force_constants()
    monkeypatch.setattr(linear_ace, "_VALUES_AT_ONCE", 1)
    assert relative_difference(force_constants(), whole) < 1e-12


def at_distance(distance: float) -> Structure:
    return Structure(np.array([8, 1, 6]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.1], [0.0, 0.0, -distance]]))


def powers_at_the_cutoff(model: Model) -> tuple[float, float]:
    """By what power of the distance to the cutoff the energy and the force of the third atom vanish there."""
    model.energy_head.reference.zero_()
    outside = model(model.graph(at_distance(CUTOFF + 1e-3), OUTPUTS), OUTPUTS)
    assert not outside.forces[2].any()
    inside = [model(model.graph(at_distance(CUTOFF - depth), OUTPUTS), OUTPUTS) for depth in (2e-3, 1e-3)]
    energies = [(found.energy - outside.energy).abs().item() for found in inside]
    forces = [float(found.forces[2].abs().max()) for found in inside]
    return float(np.log2(energies[0] / energies[1])), float(np.log2(forces[0] / forces[1]))


def test_energy_vanishes_with_two_derivatives_at_the_cutoff() -> None:
    energy_power, force_power = powers_at_the_cutoff(linear_model(linear_config(cutoff=CUTOFF)))
    # the next power enters with a relative weight of some depth / cutoff, times the functions' slopes of about ten
    assert energy_power == pytest.approx(3, abs=0.05)
    assert force_power == pytest.approx(2, abs=0.05)


def test_a_hard_envelope_is_noticed() -> None:
    model = linear_model(linear_config(cutoff=CUTOFF))
    model.trunk.radial.envelope.forward = lambda distances: (distances < CUTOFF).to(distances)
    assert powers_at_the_cutoff(model)[0] < 0.5


@pytest.mark.parametrize("distance", [0.2, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_close_contacts_give_finite_numbers(distance: float, dtype: torch.dtype) -> None:
    model = linear_model(dtype=dtype)
    structure = Structure(np.array([8, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, distance]]))
    found = model(model.graph(structure, OUTPUTS), OUTPUTS)
    assert found.energy.isfinite().all()
    assert found.forces.isfinite().all()
