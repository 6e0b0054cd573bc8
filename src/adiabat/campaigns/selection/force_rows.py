"""What forces are linear in: derivatives of the last layer's features, one row a force component."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from adiabat.campaigns.selection.ace_rows import StructureRows
from adiabat.core.errors import ModelError
from adiabat.data.graph import build_graph, collate
from adiabat.data.structure import Structure
from adiabat.models.energy_head import EnergyHead
from adiabat.models.layers import pieces
from adiabat.models.linear_ace import LinearEnergyHead
from adiabat.models.model import Model
from adiabat.uncertainty.derivatives import gradients
from adiabat.uncertainty.energy_posterior import energy_features, structure_sums

FloatArray = npt.NDArray[np.float64]

_ATOMS_AT_ONCE = 300
_BASIS_STRUCTURES = 12
"""Structures whose forces decide which combinations of features are kept."""


def trunk_force_rows(model: Model, structures: Sequence[Structure], n_features: int | None = None) -> list[FloatArray]:
    """Rows Φ with forces = Φ w for the last layer's weights w: −∂(Σ_i features_i)/∂r times the head's scale.

    Args:
        model: with an energy head.
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
        rows = np.concatenate([found.forces for found in _rows(model, sample, combinations)])
        _, vectors = np.linalg.eigh(rows.T @ rows)
        combinations = vectors[:, ::-1][:, :n_features].copy()
    return [found.forces for found in _rows(model, structures, combinations)]


def trunk_rows(model: Model, structures: Sequence[Structure]) -> list[StructureRows]:
    """Rows of energies and forces in all features of the last layer: what they change by per unit of its weights.

    Raises:
        ModelError: a model without an energy head.
    """
    return _rows(model, structures, np.eye(len(_head(model).last_weights))) if structures else []


def trunk_features(model: Model, structures: Sequence[Structure]) -> FloatArray:
    """(n_structures, n_features · n_elements) mean of the last layer's features over the atoms of each element."""
    n_species = len(model.atomic_numbers)
    means: list[FloatArray] = []
    for structure in structures:
        graph = model.graph(structure, {"energy"})
        with torch.no_grad():
            species = model.species(graph.atomic_numbers)
            features = energy_features(model, graph, graph.positions, graph.cell, None).double()
        sums = features.new_zeros(n_species, features.shape[1]).index_add(0, species, features)
        means.append((sums / structure.n_atoms).flatten().numpy())
    return np.stack(means)


def _rows(model: Model, structures: Sequence[Structure], combinations: FloatArray) -> list[StructureRows]:
    scale = float(_head(model).scale)
    mixing = torch.as_tensor(combinations, dtype=model.dtype)
    largest = max(structure.n_atoms for structure in structures)
    found: list[StructureRows] = []
    for part in pieces(len(structures), max(1, _ATOMS_AT_ONCE // largest)):
        graph = collate([build_graph(structure, model.cutoff, dtype=model.dtype) for structure in structures[part]])
        with torch.enable_grad():
            positions = graph.positions.clone().requires_grad_()
            features = energy_features(model, graph, positions, graph.cell, None) @ mixing
            # A structure's features depend on its own atoms alone, so one backward pass serves the whole piece.
            slopes = gradients(features.sum(dim=0), [positions])[0]
        energies = scale * structure_sums(features.detach(), graph).double().numpy()
        forces = -scale * slopes.permute(1, 2, 0).double().flatten(0, 1).numpy()
        cuts = np.cumsum([3 * structure.n_atoms for structure in structures[part]])[:-1]
        found += [StructureRows(*rows) for rows in zip(energies, np.split(forces, cuts), strict=True)]
    return found


def _head(model: Model) -> EnergyHead | LinearEnergyHead:
    if model.energy_head is None:
        raise ModelError(
            "a model without an energy head",
            expected="a model that predicts energies, whose last layer says what forces are linear in",
            suggestion="train with model.energy: true, or choose without a model",
        )
    return model.energy_head
