"""Fit the posterior of the operator head's last layers to the Hamiltonians of a training set.

Labels are taken in as the standardised coefficients that the head gives. The noise s_k of a column is what training
left of it, weighted as in eV; the prior of each kind is the most plausible one of its trained weights ([mackay1992]).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adiabat.data.graph import collate
from adiabat.models.level_statistics import LabelledGraph
from adiabat.models.model import Model
from adiabat.models.onsite_head import OnsiteHead
from adiabat.models.pair_head import PairHead
from adiabat.models.posterior import Posterior, evidence_prior
from adiabat.uncertainty.operator_posterior import KindPosterior, OperatorPosterior, operator_features
from adiabat.uncertainty.training_batches import batches

_EDGES_AT_ONCE = 4096
_SMALLEST_NOISE = 1e-9
"""In units of a coefficient; smaller, and a column is one of which nothing is learned."""


class _KindSums:
    """Σ φφᵀ of one kind, and the squared residuals of its columns, in eV and as weights."""

    def __init__(self, weights: Tensor) -> None:
        n_features, n_columns = weights.shape
        self.weights = weights.detach().double()
        self.gram = self.weights.new_zeros(n_features, n_features)
        self.squares = self.weights.new_zeros(n_columns)
        self.scales = self.weights.new_zeros(n_columns)
        self.n_rows = 0

    def add(self, features: Tensor, residuals: Tensor, scales: Tensor) -> None:
        """Take in features (n, m, n_features), residuals [eV] and scales [eV] (n, m, n_columns)."""
        flat = features.double().flatten(0, 1)
        self.gram += flat.mT @ flat
        self.squares += residuals.square().sum((0, 1))
        self.scales += scales.square().sum((0, 1))
        self.n_rows += len(flat)

    def fitted(self) -> tuple[KindPosterior, dict[str, Any]]:
        """The posterior, and what was found."""
        learned = (self.scales > 0) & (self.squares > 0)
        noise = torch.where(learned, (self.squares / self.scales.where(learned, 1)).sqrt(), 0)
        learned = noise > _SMALLEST_NOISE
        noise = torch.where(learned, noise, 0)
        columns = self.weights[:, learned] / noise[learned]
        prior, determined = evidence_prior(self.gram, columns)
        eye = torch.eye(len(self.gram), dtype=torch.float64, device=self.gram.device)
        found = {
            "n_rows": self.n_rows, "n_weights": len(self.gram), "n_columns": int(learned.sum()), "prior": prior,
            "n_determined": determined, "noise": float(noise[learned].square().mean().sqrt()) if learned.any() else 0.0,
        }  # fmt: skip
        return KindPosterior(Posterior.from_precision(self.gram + prior * eye), noise), found


def fit_operator_posterior(model: Model, examples: Sequence[LabelledGraph]) -> tuple[OperatorPosterior, dict[str, Any]]:
    """The posterior of the last layers of a trained operator head.

    Args:
        model: with an operator head; not changed.
        examples: those of its training set that have a Hamiltonian.

    Returns: the posterior, and what was found as plain JSON values.
    """
    head = model.operator_head
    assert head is not None
    onsite, pair = ([_KindSums(weights) for weights in part.last_weights] for part in (head.onsite, head.pair))
    for batch in batches(examples, _EDGES_AT_ONCE):
        graph = collate([example.graph for example in batch])
        features = operator_features(model, graph)
        species, vectors = model.species(graph.atomic_numbers), model.pair_vectors(graph)
        with torch.no_grad():
            predicted = model(graph, {"hamiltonian"}).hamiltonian
        assert predicted is not None
        errors = [
            torch.cat([example.values[name] for example in batch]).double() - getattr(predicted, name).double()
            for name in ("onsite", "pair")
        ]
        onsite_errors = errors[0].flatten(1) @ head.onsite.to_block.double().mT
        onsite_scale = head.onsite.scale.index_select(0, head.onsite.kind(graph, species)).double()
        _add(head.onsite, onsite, features[0], onsite_errors, onsite_scale)
        pair_errors = head.pair_coefficients(errors[1], vectors.double())
        pair_scale = head.pair.scale(graph, species, vectors.to(model.dtype)).double()
        _add(head.pair, pair, features[1], pair_errors, pair_scale)
    fitted = [[sums.fitted() for sums in kinds] for kinds in (onsite, pair)]
    posterior = OperatorPosterior(*(tuple(kind for kind, _ in part) for part in fitted))
    summary = {name: [found for _, found in part] for name, part in zip(("onsite", "pair"), fitted, strict=True)}
    return posterior, summary


def _add(
    head: OnsiteHead | PairHead, kinds: Sequence[_KindSums], features: Sequence[Tensor], errors: Tensor, scale: Tensor
) -> None:
    start = 0
    for sums, rows, weights in zip(kinds, features, head.last_weights, strict=True):
        shape = (rows.shape[1], weights.shape[1])
        columns = slice(start, start + shape[0] * shape[1])
        start = columns.stop
        sums.add(rows, errors[:, columns].detach().unflatten(1, shape), scale[:, columns].unflatten(1, shape))
