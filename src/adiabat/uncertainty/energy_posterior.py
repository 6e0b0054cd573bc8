"""The posterior of an energy's last layer: E = E_ref + scale · Φ·w, Φ = Σ_i φ_i, and all of its derivatives.

    var E = scale² Φᵀ Λ⁻¹ Φ,    var F_c = scale² (∂Φ/∂r_c)ᵀ Λ⁻¹ (∂Φ/∂r_c),    and stress likewise

Each needs the derivative of all features. That is exact in one forward pass a coordinate; or the forces of K draws of w
are had in one backward pass each, whose mean square is the same but for its own statistical error, 1/√(2K).
Source: [bigi2024].
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from adiabat.core.voigt import VOIGT
from adiabat.data.graph import Graph
from adiabat.models.linear_ace import LinearEnergyHead
from adiabat.models.model import Model, differentiable_geometry, stress_of
from adiabat.models.posterior import Posterior
from adiabat.uncertainty.derivatives import (
    coordinate_directions,
    directional_derivatives,
    gradients,
    local_atom_index,
    strain_directions,
)
from adiabat.uncertainty.linear import linear_spread


@dataclass(frozen=True, eq=False)
class EnergyPosterior:
    """Gaussian over the weights of the last layer, with the draws that stand for it.

    Attributes:
        posterior: of the weights.
        draws: (K, n_features) draws of w − w̄, whose mean is zero.
    """

    posterior: Posterior
    draws: Tensor

    @classmethod
    def drawn(cls, posterior: Posterior, n_draws: int, generator: torch.Generator) -> "EnergyPosterior":
        """Draw, and move the draws so that their mean is that of the posterior; their variance over K − 1 is its."""
        draws = posterior.sample(n_draws, generator)
        return cls(posterior, draws - draws.mean(0))

    def spread(self, model: Model, graph: Graph, outputs: set[str]) -> dict[str, Tensor]:
        """Standard deviations of ``energy`` and ``atomic_energies``, and of ``forces`` and ``stress`` if asked for."""
        assert model.energy_head is not None
        posterior = self.posterior.to(graph.positions.device)
        if isinstance(model.energy_head, LinearEnergyHead):
            return linear_spread(model, posterior, graph, outputs)
        scale = float(model.energy_head.scale)
        derivatives = bool({"forces", "stress"} & outputs)
        exact = derivatives and self._exact_is_cheaper(graph, outputs)
        with torch.set_grad_enabled(derivatives and not exact):
            wanted = outputs if derivatives and not exact else ()
            positions, cell, strain = differentiable_geometry(graph, model.dtype, wanted)
            features = energy_features(model, graph, positions, cell, strain)
            totals = structure_sums(features, graph)
        found = {
            "energy": scale * posterior.variance(totals.detach()).sqrt(),
            "atomic_energies": scale * posterior.variance(features.detach()).sqrt(),
        }
        if exact:
            found |= exact_derivative_spread(model, graph, outputs, posterior)
        elif derivatives:
            found |= self._drawn_derivative_spread(totals, positions, strain, graph, scale)
        return {name: value for name, value in found.items() if name not in ("forces", "stress") or name in outputs}

    def _exact_is_cheaper(self, graph: Graph, outputs: set[str]) -> bool:
        n_largest = int(torch.bincount(graph.structure_index).max())
        return 3 * n_largest + (6 if "stress" in outputs else 0) <= len(self.draws)

    def _drawn_derivative_spread(
        self, totals: Tensor, positions: Tensor, strain: Tensor | None, graph: Graph, scale: float
    ) -> dict[str, Tensor]:
        draws = self.draws.to(totals.device, totals.dtype)
        with torch.enable_grad():
            energies = (totals @ draws.mT).sum(0) * scale
            found = gradients(energies, [positions] if strain is None else [positions, strain])
        spreads = [(part.square().sum(0) / (len(draws) - 1)).sqrt() for part in found]
        result = {"forces": spreads[0]}
        if strain is not None:
            result["stress"] = stress_of(spreads[1], graph)
        return result


def exact_derivative_spread(model: Model, graph: Graph, outputs: set[str], posterior: Posterior) -> dict[str, Tensor]:
    """Standard deviations of forces and, if asked for, stress from the derivatives of all features."""
    assert model.energy_head is not None
    moves = coordinate_directions(graph, model.dtype)
    strains = strain_directions(graph, model.dtype) if "stress" in outputs else None
    deviations = float(model.energy_head.scale) * posterior.variance(feature_rows(model, graph, moves, strains)).sqrt()
    of_moves = deviations[: len(moves)].unflatten(0, (-1, 3))
    result = {"forces": of_moves[local_atom_index(graph), :, graph.structure_index].to(model.dtype)}
    if strains is not None:
        stress = deviations.new_zeros(graph.n_structures, 3, 3)
        for row, (a, b) in zip(deviations[len(moves) :], VOIGT, strict=True):
            stress[:, a, b] = stress[:, b, a] = row
        result["stress"] = stress_of(stress.to(model.dtype), graph)
    return result


def feature_rows(model: Model, graph: Graph, moves: Tensor, strains: Tensor | None = None) -> Tensor:
    """Derivatives of each structure's features Φ: (n_moves + n_strains, n_structures, n_features).

    Args:
        model: with an energy head.
        graph: the batch.
        moves: (n_moves, n_atoms, 3).
        strains: (n_strains, n_structures, 3, 3).
    """
    positions, cell, _ = differentiable_geometry(graph, model.dtype, ())
    none = torch.zeros_like(cell)
    if strains is None:
        strains = none.unsqueeze(0)[:0]
    of_positions = torch.cat([moves, moves.new_zeros(len(strains), *moves.shape[1:])])
    of_strain = torch.cat([strains.new_zeros(len(moves), *strains.shape[1:]), strains])

    def totals(at: Tensor, strain: Tensor) -> Tensor:
        return structure_sums(energy_features(model, graph, at, cell, strain), graph)

    return directional_derivatives(totals, positions, none, of_positions, of_strain)


def energy_features(model: Model, graph: Graph, positions: Tensor, cell: Tensor, strain: Tensor | None) -> Tensor:
    """(n_atoms, n_features): what the atomic energies are linear in, differentiable by positions and strain."""
    species = model.species(graph.atomic_numbers)
    history = model.node_features(graph, species, positions, cell, strain)
    if isinstance(model.energy_head, LinearEnergyHead):
        return model.energy_head.last_features(history, species)
    assert model.energy_head is not None
    return model.energy_head.last_features(history)


def structure_features(model: Model, graph: Graph) -> Tensor:
    """(n_structures, n_features) what the energies are linear in, float64."""
    with torch.no_grad():
        positions, cell, _ = differentiable_geometry(graph, model.dtype, ())
        return structure_sums(energy_features(model, graph, positions, cell, None), graph).double()


def structure_sums(features: Tensor, graph: Graph) -> Tensor:
    """(n_structures, n_features) sums over each structure's atoms."""
    return features.new_zeros(graph.n_structures, features.shape[1]).index_add(0, graph.structure_index, features)
