"""Fit the last layer's posterior of a trained model to its training set.

    Λ = α + Σ_structures φφᵀ/(N σ_E²) + Σ_coordinates (∂φ/∂r)(∂φ/∂r)ᵀ/σ_F² + Σ_strains (∂φ/∂ε)(∂φ/∂ε)ᵀ/(V σ_S)²

with φ the sum of a structure's features times the energy's scale. The σ are the root mean square errors that training
left, of energies by the root of the number of atoms N, and α is the most plausible prior of the trained weights
([mackay1992]). The spread's overall size, which residuals of a training set cannot tell, is calibration's to set.
Source: [bigi2024].
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from adiabat.core.errors import LabelError
from adiabat.core.voigt import VOIGT
from adiabat.data.graph import Graph, collate
from adiabat.models.config import FrozenConfig
from adiabat.models.level_statistics import LabelledGraph
from adiabat.models.linear_ace import LinearEnergyHead
from adiabat.models.model import Model
from adiabat.models.posterior import Posterior, evidence_prior
from adiabat.uncertainty.derivatives import coordinate_directions, random_directions, strain_directions
from adiabat.uncertainty.energy_posterior import feature_rows, structure_features
from adiabat.uncertainty.last_layer import N_DRAWS, LastLayer
from adiabat.uncertainty.linear import linear_posterior
from adiabat.uncertainty.operator_fit import fit_operator_posterior
from adiabat.uncertainty.training_batches import batches

_EDGES_AT_ONCE = 4096
"""Edges of the structures that are differentiated together."""
_SMALLEST_NOISE = 1e-6
"""eV and eV/Å: no label is taken to be more exact."""


class LastLayerSettings(FrozenConfig):
    """How a last layer's posterior is fitted. What is null is found from the training set."""

    energy_noise: float | None = Field(
        default=None, gt=0, description="σ_E in eV an atom's root; null: training residuals"
    )
    forces_noise: float | None = Field(default=None, gt=0, description="σ_F in eV/Å; null: training residuals")
    stress_noise: float | None = Field(default=None, gt=0, description="σ_S in eV/Å³; null: training residuals")
    prior: float | None = Field(default=None, gt=0, description="α, precision of the weights; null: the most plausible")
    directions: int = Field(
        default=96,
        ge=1,
        description="of the atoms' moves for which forces are taken in; random ones where there are more",
    )
    n_draws: int = Field(default=N_DRAWS, ge=2, description="draws of the weights, and members")
    seed: int = Field(default=0, ge=0, description="of draws and random directions")


@dataclass(eq=False)
class _Sums:
    """What is summed over the training set.

    Attributes:
        energy: Σ φφᵀ/N over structures with an energy.
        forces: Σ (∂φ/∂r)(∂φ/∂r)ᵀ.
        stress: Σ (∂φ/∂ε)(∂φ/∂ε)ᵀ/V².
        squares: sum of squared residuals by target; of energies, of each over N.
        counts: number of them.
    """

    energy: Tensor
    forces: Tensor
    stress: Tensor
    squares: dict[str, float] = field(default_factory=lambda: {"energy": 0.0, "forces": 0.0, "stress": 0.0})
    counts: dict[str, int] = field(default_factory=lambda: {"energy": 0, "forces": 0, "stress": 0})

    def noise(self, target: str, given: float | None) -> float:
        """Root mean square residual, if not given."""
        if given is not None or not self.counts[target]:
            return given or 1.0
        return max((self.squares[target] / self.counts[target]) ** 0.5, _SMALLEST_NOISE)


def fit_last_layer(
    model: Model, examples: Sequence[LabelledGraph], settings: LastLayerSettings | None = None
) -> LastLayer:
    """The posterior of a trained model's last layers.

    Args:
        model: trained; not changed.
        examples: its training set. Energies, forces, stress and blocks are taken in where they are labelled.
        settings: noise, prior and draws.

    Raises:
        LabelError: no label that any head of the model is for.
    """
    settings = settings or LastLayerSettings()
    model = model.eval()
    targets = {target for example in examples for target in example.counts}
    has_energy = model.energy_head is not None and bool(targets & {"energy", "forces", "stress"})
    has_operator = model.operator_head is not None and "hamiltonian" in targets
    if not (has_energy or has_operator):
        raise LabelError(
            f"{len(examples)} structures with labels of {', '.join(sorted(targets)) or 'nothing'}",
            expected="labels of what the model predicts",
            suggestion="give the store that the model was trained on",
        )
    summary: dict[str, Any] = {"n_structures": len(examples)}
    energy = operator = None
    if isinstance(model.energy_head, LinearEnergyHead):
        energy = linear_posterior(model, examples)
    elif has_energy:
        energy, summary["energy"] = _fit_energy(model, examples, settings)
    if has_operator:
        labelled = [example for example in examples if "hamiltonian" in example.counts]
        operator, summary["hamiltonian"] = fit_operator_posterior(model, labelled)
    return LastLayer(
        model, energy, operator, n_draws=settings.n_draws, seed=settings.seed, summary=summary,
        method="linear" if model.config.family == "linear-ace" else "last-layer",
    )  # fmt: skip


def _fit_energy(
    model: Model, examples: Sequence[LabelledGraph], settings: LastLayerSettings
) -> tuple[Posterior, dict[str, Any]]:
    assert model.energy_head is not None
    weights = model.energy_head.last_weights.detach().double()
    generator = torch.Generator().manual_seed(settings.seed)
    energy, forces, stress = (weights.new_zeros(len(weights), len(weights)) for _ in range(3))
    sums = _Sums(energy, forces, stress)
    for batch in batches(examples, _EDGES_AT_ONCE):
        _add_residuals(sums, model, batch)
        _add_rows(sums, model, batch, settings.directions, generator)
    noise = {
        "energy": sums.noise("energy", settings.energy_noise),
        "forces": sums.noise("forces", settings.forces_noise),
        "stress": sums.noise("stress", settings.stress_noise),
    }
    gram = sum(
        (getattr(sums, name) / noise[name] ** 2 for name in noise if sums.counts[name]), torch.zeros_like(sums.energy)
    )
    prior, determined = evidence_prior(gram, weights)
    if settings.prior is not None:
        prior = settings.prior
    posterior = Posterior.from_precision(gram + prior * torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    summary: dict[str, Any] = {f"{name}_noise": noise[name] for name in noise if sums.counts[name]}
    labels = {f"n_{name}": count for name, count in sums.counts.items() if count}
    return posterior, {
        **summary, **labels, "prior": prior, "n_weights": len(weights), "n_determined": determined,
    }  # fmt: skip


def _add_residuals(sums: _Sums, model: Model, batch: Sequence[LabelledGraph]) -> None:
    graph = collate([example.graph for example in batch])
    labelled = {name for example in batch for name in example.counts}
    outputs = labelled & {"energy", "forces", "stress"}
    if not outputs:
        return
    with torch.no_grad():
        prediction = model(graph, outputs)
    atom = 0
    for index, example in enumerate(batch):
        n_atoms = example.graph.n_atoms
        atoms = slice(atom, atom + n_atoms)
        atom += n_atoms
        if "energy" in example.counts:
            error = prediction.energy[index] - example.values["energy"]
            sums.squares["energy"] += float(error.square() / n_atoms)
            sums.counts["energy"] += 1
        for name, where in (("forces", atoms), ("stress", slice(index, index + 1))):
            if name in example.counts:
                error = getattr(prediction, name)[where] - example.values[name]
                sums.squares[name] += float(error.double().square().sum())
                sums.counts[name] += error.numel()


def _add_rows(
    sums: _Sums, model: Model, batch: Sequence[LabelledGraph], n_directions: int, generator: torch.Generator
) -> None:
    assert model.energy_head is not None
    scale = float(model.energy_head.scale)
    graph = collate([example.graph for example in batch])
    device = graph.positions.device
    has = {
        name: torch.tensor([float(name in example.counts) for example in batch], device=device).double()
        for name in ("energy", "forces", "stress")
    }
    n_atoms = torch.bincount(graph.structure_index, minlength=graph.n_structures).double()
    if bool(has["energy"].any()):
        sums.energy += _gram(scale * structure_features(model, graph), has["energy"] / n_atoms)
    if bool(has["forces"].any()):
        moves = _moves(model, graph, n_directions, generator)
        sums.forces += _gram(scale * feature_rows(model, graph, moves), has["forces"])
    if bool(has["stress"].any()):
        none = torch.zeros(0, graph.n_atoms, 3, dtype=model.dtype, device=device)
        rows = scale * feature_rows(model, graph, none, strain_directions(graph, model.dtype))
        # Off the diagonal two of a label's nine numbers are one of the six directions.
        counts = torch.tensor([1.0 if a == b else 2.0 for a, b in VOIGT], device=device).double()
        volume = torch.linalg.det(graph.cell.double()).abs().clamp(min=torch.finfo(torch.float64).tiny)
        sums.stress += _gram(rows, counts[:, None] * has["stress"] / volume**2)


def _moves(model: Model, graph: Graph, n_directions: int, generator: torch.Generator) -> Tensor:
    n_coordinates = 3 * int(torch.bincount(graph.structure_index).max())
    if n_coordinates <= n_directions:
        return coordinate_directions(graph, model.dtype)
    return random_directions(graph, n_directions, model.dtype, generator)


def _gram(rows: Tensor, weights: Tensor) -> Tensor:
    """Σ weight · row rowᵀ over rows (…, n_structures, n_features) with weights that broadcast to (…, n_structures)."""
    rows = rows.double() * weights.sqrt().unsqueeze(-1)
    flat = rows.flatten(0, -2)
    return flat.mT @ flat
