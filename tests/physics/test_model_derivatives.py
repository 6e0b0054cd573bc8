"""Forces and stress as derivatives of the energy, to second order; smoothness at the cutoff and at close contacts."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from adiabat.data.graph import Graph
from adiabat.data.structure import Structure
from adiabat.models.layers import PolynomialEnvelope
from adiabat.models.model import Model
from small_models import ELEMENTS, crystal, molecule, relative_difference, small_config, small_model

CUTOFF = 3.5
FORCES, STRESS = ("energy", "forces"), ("energy", "forces", "stress")


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model(small_config(operator=False))


@pytest.fixture(scope="module")
def tiny_operator_model() -> Model:
    return small_model(small_config(l_max=1, pair_radius=4.0))


def energy_of_positions(model: Model, graph: Graph) -> Callable[[Tensor], Tensor]:
    return lambda positions: model(replace(graph, positions=positions), ("energy",)).energy


def energy_of_strain(model: Model, graph: Graph, *, cell_too: bool = True) -> Callable[[Tensor], Tensor]:
    """Energy per volume of the unstrained cell after r → r (1 + (ε + εᵀ)/2), of the cell as well."""
    volume = torch.linalg.det(graph.cell[0]).abs()

    def energy(strain: Tensor) -> Tensor:
        deformation = torch.eye(3, dtype=torch.float64) + (strain + strain.mT) / 2
        cell = graph.cell @ deformation if cell_too else graph.cell
        strained = replace(graph, positions=graph.positions @ deformation, cell=cell)
        return model(strained, ("energy",)).energy / volume

    return energy


# ---------------------------------------------------------------- forces


def test_energy_has_two_right_derivatives_in_the_positions(model: Model) -> None:
    graph = model.graph(molecule(0, (8, 1, 6)), FORCES)
    positions = graph.positions.clone().requires_grad_()
    energy = energy_of_positions(model, graph)
    assert torch.autograd.gradcheck(energy, positions)
    assert torch.autograd.gradgradcheck(energy, positions)
    (gradient,) = torch.autograd.grad(energy(positions).sum(), positions)
    assert relative_difference(model(graph, FORCES).forces, -gradient) < 1e-12


def finite_difference_forces(model: Model, structure: Structure, step: float = 1e-5) -> np.ndarray:
    def energy(positions: np.ndarray) -> float:
        graph = model.graph(Structure(structure.atomic_numbers, positions, structure.cell, structure.pbc), FORCES)
        return model(graph, ("energy",)).energy.item()

    forces = np.zeros_like(structure.positions)
    for place in np.ndindex(*forces.shape):
        moved = np.zeros_like(forces)
        moved[place] = step
        forces[place] = (energy(structure.positions - moved) - energy(structure.positions + moved)) / (2 * step)
    return forces


@pytest.mark.parametrize("structure", [molecule(0, (8, 1, 6)), crystal()], ids=["molecule", "crystal"])
def test_forces_are_what_the_energy_of_a_new_graph_says(model: Model, structure: Structure) -> None:
    forces = model(model.graph(structure, FORCES), FORCES).forces
    # the third derivative times step²/6, and rounding of the energy over the step, each some 1e-8
    assert relative_difference(forces, finite_difference_forces(model, structure)) < 1e-6


def test_forces_that_forget_a_message_are_noticed(model: Model) -> None:
    """Negative control: distances without their gradient, as a radial function under no_grad would give."""
    broken = small_model(small_config(operator=False))
    plain = broken.trunk.radial.forward
    broken.trunk.radial.forward = lambda distances, pair: plain(distances.detach(), pair)
    structure = molecule(0, (8, 1, 6))
    forces = broken(broken.graph(structure, FORCES), FORCES).forces
    assert relative_difference(forces, finite_difference_forces(broken, structure)) > 1e-2


def test_net_force_and_torque_are_zero(model: Model) -> None:
    graph = model.graph(molecule(), FORCES)
    forces = model(graph, FORCES).forces
    torque = torch.linalg.cross(graph.positions, forces).sum(0)
    assert forces.sum(0).abs().max() < 1e-12 * forces.abs().max()
    assert torque.abs().max() < 1e-12 * forces.abs().max() * graph.positions.abs().max()


@pytest.mark.parametrize("outputs", [FORCES, STRESS], ids=["forces", "stress"])
def test_training_on_derivatives_has_right_gradients(outputs: tuple[str, ...]) -> None:
    """∂F/∂w and ∂σ/∂w, second derivatives of the energy, along a random direction of all weights."""
    model = small_model(small_config(l_max=1, operator=False)).train()
    graph = model.graph(crystal(), outputs)
    names = [name for name, _ in model.named_parameters()]

    def derivative(*weights: Tensor) -> Tensor:
        prediction = functional_call(model, dict(zip(names, weights, strict=True)), (graph, outputs))
        return getattr(prediction, outputs[-1])

    weights = tuple(parameter.detach().clone().requires_grad_() for parameter in model.parameters())
    assert torch.autograd.gradcheck(derivative, weights, fast_mode=True)


def test_evaluation_without_gradients_leaves_no_graph_behind(tiny_operator_model: Model) -> None:
    outputs = ("energy", "forces", "hamiltonian")
    with torch.no_grad():
        prediction = tiny_operator_model(tiny_operator_model.graph(molecule(), outputs), outputs)
    blocks = prediction.hamiltonian
    for value in (prediction.energy, prediction.atomic_energies, prediction.forces, blocks.onsite, blocks.pair):
        assert not value.requires_grad


# ---------------------------------------------------------------- stress


def test_stress_is_the_strain_derivative_of_the_energy(model: Model) -> None:
    """In a skewed, left-handed cell that is smaller than the cutoff."""
    graph = model.graph(crystal(), STRESS)
    zero = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    energy = energy_of_strain(model, graph)
    assert torch.autograd.gradcheck(energy, zero)
    assert torch.autograd.gradgradcheck(energy, zero)
    (gradient,) = torch.autograd.grad(energy(zero).sum(), zero)
    stress = model(graph, STRESS).stress[0]
    assert relative_difference(stress, gradient) < 1e-12
    assert torch.equal(stress, stress.mT)


def finite_strain_stress(model: Model, structure: Structure, *, cell_too: bool, step: float = 1e-5) -> np.ndarray:
    def energy(strain: np.ndarray) -> float:
        deformation = np.eye(3) + (strain + strain.T) / 2
        cell = structure.cell @ deformation if cell_too else structure.cell
        strained = Structure(structure.atomic_numbers, structure.positions @ deformation, cell, structure.pbc)
        return model(model.graph(strained, STRESS), ("energy",)).energy.item()

    stress = np.zeros((3, 3))
    for place in np.ndindex(3, 3):
        strain = np.zeros((3, 3))
        strain[place] = step
        stress[place] = (energy(strain) - energy(-strain)) / (2 * step)
    return stress / abs(np.linalg.det(structure.cell))


def test_stress_is_what_strained_cells_say(model: Model) -> None:
    stress = model(model.graph(crystal(), STRESS), STRESS).stress[0]
    # rounding of an energy of some 100 eV over a step of 1e-5 in strain
    assert relative_difference(stress, finite_strain_stress(model, crystal(), cell_too=True)) < 1e-6


def test_straining_the_atoms_without_the_cell_is_noticed(model: Model) -> None:
    stress = model(model.graph(crystal(), STRESS), STRESS).stress[0]
    assert relative_difference(stress, finite_strain_stress(model, crystal(), cell_too=False)) > 1e-2


def test_the_hamiltonian_can_be_differentiated_by_positions(tiny_operator_model: Model) -> None:
    """∂H/∂R is exact as well, through the bonds' frames."""
    model = tiny_operator_model
    graph = model.graph(molecule(0, (1, 6)), {"hamiltonian"})

    def blocks(positions: Tensor) -> Tensor:
        hamiltonian = model(replace(graph, positions=positions), ("hamiltonian",)).hamiltonian
        return torch.cat([hamiltonian.onsite.flatten(), hamiltonian.pair.flatten()])

    assert torch.autograd.gradcheck(blocks, graph.positions.clone().requires_grad_(), fast_mode=True)


# ---------------------------------------------------------------- the cutoff


def at_distance(distance: float) -> Structure:
    """An atom at ``distance`` from one atom of a pair, out of reach of the other."""
    return Structure(np.array([8, 1, 6]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.1], [0.0, 0.0, -distance]]))


def fall_at_the_cutoff(model: Model) -> tuple[float, float]:
    """By what power of the distance to the cutoff the energy and the force of the third atom vanish there."""
    outputs = ("energy", "forces")
    outside = model(model.graph(at_distance(CUTOFF + 1e-3), outputs), outputs)
    assert not outside.forces[2].any()
    energies, forces = [], []
    for depth in (2e-3, 1e-3):
        inside = model(model.graph(at_distance(CUTOFF - depth), outputs), outputs)
        energies.append((inside.energy - outside.energy).abs().item())
        forces.append(float(inside.forces[2].abs().max()))
    return float(np.log2(energies[0] / energies[1])), float(np.log2(forces[0] / forces[1]))


@pytest.mark.parametrize("layers", [1, 2])
def test_energy_vanishes_with_two_derivatives_at_the_cutoff(layers: int) -> None:
    """It falls as (cutoff − r)³, so that value, force and force constant are all continuous."""
    model = small_model(small_config(layers=layers, cutoff=CUTOFF, operator=False))
    assert model.energy_head is not None
    model.energy_head.reference.zero_()  # digits for the small differences
    energy_power, force_power = fall_at_the_cutoff(model)
    # the next power enters with a relative weight of some depth / cutoff, times the envelope's factor of ten
    assert energy_power == pytest.approx(3, abs=0.05)
    assert force_power == pytest.approx(2, abs=0.05)


def test_a_hard_envelope_is_noticed() -> None:
    model = small_model(small_config(cutoff=CUTOFF, operator=False))
    model.trunk.radial.envelope.forward = lambda distances: (distances < CUTOFF).to(distances)
    energy_power, _ = fall_at_the_cutoff(model)
    assert energy_power < 0.5


@pytest.mark.parametrize("order", [0, 1, 2])
def test_envelope_and_two_derivatives_are_zero_at_its_radius(order: int) -> None:
    envelope = PolynomialEnvelope(CUTOFF).double()
    distance = torch.tensor([CUTOFF - 1e-6, CUTOFF, CUTOFF + 1e-6], dtype=torch.float64, requires_grad=True)
    value = envelope(distance)
    for _ in range(order):
        (value,) = torch.autograd.grad(value.sum(), distance, create_graph=True)
    # the third derivative, some 60, times the distance to the radius
    assert value.abs().max() < 1e-3
    assert not value[1:].any()


def test_hamiltonian_is_continuous_where_a_pair_leaves_the_radius() -> None:
    """A block fades out before its pair is dropped; its neighbors' blocks feel no jump either."""
    radius = 4.0
    model = small_model(small_config(cutoff=CUTOFF, pair_radius=radius))

    def block(distance: float) -> float:
        operator = model.delta_hamiltonian(at_distance(distance))
        found = [b for pair, b in operator.blocks() if tuple(pair[3:]) == (0, 2)]
        return float(np.abs(found[0]).max()) if found else 0.0

    assert block(radius + 1e-6) == 0
    assert block(radius - 1e-3) < 1e-5 * block(radius / 2)


# ---------------------------------------------------------------- close contacts


@pytest.mark.parametrize("distance", [0.2, 0.4, 0.6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_close_contacts_give_finite_numbers(distance: float, dtype: torch.dtype) -> None:
    """Where no training data is, in the precision of production as well."""
    model = small_model(small_config(), dtype=dtype)
    base = molecule()
    for z in ELEMENTS:
        contact = base.positions[0] + [0.0, 0.0, distance]
        structure = Structure(np.append(base.atomic_numbers, z), np.concatenate([base.positions, contact[None]]))
        outputs = ("energy", "forces", "hamiltonian")
        prediction = model(model.graph(structure, outputs), outputs)
        assert prediction.energy.isfinite().all()
        assert prediction.forces.isfinite().all()
        assert prediction.hamiltonian.onsite.isfinite().all()
        assert prediction.hamiltonian.pair.isfinite().all()
