"""Shallow ensembles: several energy heads over one trunk, trained together on draws of the training set.

The trunk, which is nearly all of the cost of an energy, is run once; each head adds one backward pass for its forces.
Source: [kellner2024].
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch

from adiabat.core.errors import ModelError
from adiabat.data.graph import Graph
from adiabat.models.energy_head import EnergyHead
from adiabat.models.model import Model, Prediction, differentiable_geometry, stress_of
from adiabat.uncertainty.derivatives import gradients
from adiabat.uncertainty.interface import UncertainModel, UncertainPrediction
from adiabat.uncertainty.moments import moments
from adiabat.uncertainty.spread import Spread


class ShallowEnsemble(UncertainModel):
    """A model with several energy heads; their mean is its prediction, their standard deviation the spread.

    The Hamiltonian has one head, and no spread: it is predicted with ``spread.hamiltonian`` None.

    Args:
        model: trained with ``model.ensemble`` of two or more.

    Raises:
        ModelError: a model with fewer heads.
    """

    def __init__(self, model: Model) -> None:
        head = model.energy_head
        if not isinstance(head, EnergyHead) or head.n_heads < 2:
            raise ModelError(
                f"a shallow ensemble of {head.n_heads if isinstance(head, EnergyHead) else 'no'} energy head",
                expected="a model with two energy heads or more",
                suggestion="train with model.ensemble: 8",
            )
        self._model, self._head = model.eval(), head
        self._members = tuple(model.member(k) for k in range(head.n_heads))

    @property
    def method(self) -> str:
        """``shallow-ensemble``."""
        return "shallow-ensemble"

    @property
    def model(self) -> Model:
        """The model, which predicts the mean of its heads."""
        return self._model

    @property
    def members(self) -> Sequence[Model]:
        """The model as each of its heads has it."""
        return self._members

    def predict(self, graph: Graph, outputs: Collection[str]) -> UncertainPrediction:
        """Mean and spread over the heads, from one pass through the trunk."""
        model, head = self._model, self._head
        model.check(outputs)
        found = UncertainPrediction(Prediction(), Spread())
        if {"energy", "forces", "stress"} & set(outputs):
            derivatives = bool({"forces", "stress"} & set(outputs))
            with torch.set_grad_enabled(derivatives):
                species = model.species(graph.atomic_numbers)
                positions, cell, strain = differentiable_geometry(graph, model.dtype, outputs)
                history = model.node_features(graph, species, positions, cell, strain)
                atomic = head.all_heads(history, species, model.fidelity_of_atoms(graph))
                energies = atomic.new_zeros(len(atomic), graph.n_structures).index_add(1, graph.structure_index, atomic)
                each = [Prediction(energy, own) for energy, own in zip(energies, atomic, strict=True)]
                if derivatives:
                    slopes = gradients(energies.sum(1), [positions] if strain is None else [positions, strain])
                    each = [replace(one, forces=-slope) for one, slope in zip(each, slopes[0], strict=True)]
                    if strain is not None:
                        stresses = stress_of(slopes[1], graph)
                        each = [replace(one, stress=stress) for one, stress in zip(each, stresses, strict=True)]
            found = moments(each)
        if "hamiltonian" in outputs:
            with torch.no_grad():
                hamiltonian = model(graph, {"hamiltonian"}).hamiltonian
            found = UncertainPrediction(replace(found.mean, hamiltonian=hamiltonian), found.spread)
        return found
