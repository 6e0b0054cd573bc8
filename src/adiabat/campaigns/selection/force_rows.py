"""What forces are linear in: derivatives of the last layer's features, one row a force component."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adiabat.core.errors import ModelError
from adiabat.data.graph import Graph, build_graph, collate
from adiabat.data.structure import Structure
from adiabat.models.config import ModelConfig
from adiabat.models.energy_head import EnergyHead
from adiabat.models.layers import pieces
from adiabat.models.linear_ace import LinearEnergyHead
from adiabat.models.model import Model, build_model

FloatArray = npt.NDArray[np.float64]

_ATOMS_AT_ONCE = 300
_BASIS_STRUCTURES = 12
"""Structures whose forces decide which combinations of features are kept."""


def trunk_force_rows(model: Model, structures: Sequence[Structure], n_features: int | None = None) -> list[FloatArray]:
    """Rows Φ with forces = Φ w for the last layer's weights w: −∂(Σ_i features_i)/∂r times the head's scale.

    Args:
        model: with an energy head; trained or not.
        structures: any.
        n_features: keep this many combinations of the features, those that carry most of the forces' variance under
            weights of equal variance; all by default. The cost is one backward pass a combination.

    Returns: (3 n_atoms, n_features) a structure, in eV/Å per unit of weight.

    Raises:
        ModelError: a model without an energy head.
    """
    if not structures:
        return []
    width = len(_head(model).last_weights)
    combinations = np.eye(width)
    if n_features is not None and n_features < width:
        sample = structures[:: max(1, len(structures) // _BASIS_STRUCTURES)][:_BASIS_STRUCTURES]
        rows = np.concatenate(_rows(model, sample, combinations))
        _, vectors = np.linalg.eigh(rows.T @ rows)
        combinations = vectors[:, ::-1][:, :n_features].copy()
    return _rows(model, structures, combinations)


def trunk_features(model: Model, structures: Sequence[Structure]) -> FloatArray:
    """(n_structures, n_features · n_elements) mean of the last layer's features over the atoms of each element."""
    n_species = len(model.atomic_numbers)
    means: list[FloatArray] = []
    for structure in structures:
        graph = model.graph(structure, {"energy"})
        with torch.no_grad():
            species = model.species(graph.atomic_numbers)
            features = _features(model, graph, graph.positions).double()
        sums = features.new_zeros(n_species, features.shape[1]).index_add(0, species, features)
        means.append((sums / structure.n_atoms).flatten().numpy())
    return np.stack(means)


def untrained_model(structures: Sequence[Structure], cutoff: float, seed: int) -> Model:
    """A trunk with random weights: its features are random functions of the surroundings, and need no training."""
    elements = sorted({int(z) for structure in structures for z in structure.atomic_numbers})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = ModelConfig.model_validate({"cutoff": cutoff, "channels": 32, "l_max": 2, "hidden": 64})
        model = build_model(config, elements)
    edges = [build_graph(structure, cutoff).n_edges / structure.n_atoms for structure in structures[:20]]
    model.trunk.n_neighbors.fill_(max(1.0, float(np.mean(edges))))
    return model.eval()


def _rows(model: Model, structures: Sequence[Structure], combinations: FloatArray) -> list[FloatArray]:
    head = _head(model)
    mixing = torch.as_tensor(combinations, dtype=model.dtype)
    largest = max(structure.n_atoms for structure in structures)
    found: list[FloatArray] = []
    for part in pieces(len(structures), max(1, _ATOMS_AT_ONCE // largest)):
        graph = collate([build_graph(structure, model.cutoff, dtype=model.dtype) for structure in structures[part]])
        with torch.enable_grad():
            positions = graph.positions.clone().requires_grad_()
            totals = (_features(model, graph, positions) @ mixing).sum(dim=0)
            # A structure's features depend on its own atoms alone, so one backward pass serves the whole piece.
            gradients = [torch.autograd.grad(total, positions, retain_graph=True)[0] for total in totals]
        rows = (-torch.stack(gradients, dim=-1).double() * head.scale).flatten(0, 1).numpy()
        cuts = np.cumsum([3 * structure.n_atoms for structure in structures[part]])[:-1]
        found += np.split(rows, cuts)
    return found


def _head(model: Model) -> EnergyHead | LinearEnergyHead:
    if model.energy_head is None:
        raise ModelError(
            "a model without an energy head",
            expected="a model that predicts energies, whose last layer says what forces are linear in",
            suggestion="train with model.energy: true, or choose without a model",
        )
    return model.energy_head


def _features(model: Model, graph: Graph, positions: Tensor) -> Tensor:
    """(n_atoms, n_features) of the last layer."""
    species, head = model.species(graph.atomic_numbers), _head(model)
    history = model.node_features(graph, species, positions, graph.cell.to(positions.dtype), None)
    return head.last_features(history, species) if isinstance(head, LinearEnergyHead) else head.last_features(history)
