"""The last layer's posterior: one trained model, and a Gaussian over the weights that its outputs are linear in.

Made by ``last_layer_fit.fit_last_layer`` from a model and its training set, without training anything.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import torch
from torch import Tensor

from adiabat.core.errors import ModelError
from adiabat.data.graph import Graph
from adiabat.models.model import Model
from adiabat.models.operator_layout import OperatorBlocks
from adiabat.models.posterior import Posterior
from adiabat.uncertainty.energy_posterior import EnergyPosterior
from adiabat.uncertainty.interface import Spread, UncertainModel, UncertainPrediction
from adiabat.uncertainty.operator_posterior import OperatorPosterior
from adiabat.uncertainty.shared_weights import with_parameters

_PosteriorType = TypeVar("_PosteriorType", EnergyPosterior, OperatorPosterior)

N_DRAWS: Final = 16
"""Draws of the weights, if not said otherwise: a spread of forces is then known to 18 %, of an atom's to 10 %."""


class LastLayer(UncertainModel):
    """A model whose last layers' weights are Gaussian around those that it was trained to.

    The spread of energies and of H is exact for that Gaussian. That of forces and stress is exact for structures with
    no more coordinates than there are draws, and over the draws for larger ones, each at the price of a prediction.

    Args:
        model: its weights are the posterior's mean.
        energy: posterior of the energy's last layer, in the order of ``last_weights``; needed with an energy head.
        operator: posterior of the operator's last layers; needed for the spread of H.
        n_draws: number of draws, and of members.
        seed: of the draws.
        method: ``last-layer``, or ``linear`` where the model is linear in its weights.
        summary: what the fit found, as plain JSON values.

    Raises:
        ModelError: a posterior of another number of weights than the model has, or fewer than two draws.
    """

    def __init__(
        self, model: Model, energy: Posterior | None, operator: OperatorPosterior | None = None, *,
        n_draws: int = N_DRAWS, seed: int = 0, method: Literal["last-layer", "linear"] = "last-layer",
        summary: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        _check(model, energy, n_draws)
        self._model, self._method = model.eval(), method
        self.posterior, self.operator = energy, operator
        self.n_draws, self.seed = n_draws, seed
        self.summary: dict[str, Any] = dict(summary or {})
        self._members: tuple[Model, ...] | None = None
        self._energy = None
        if energy is not None:
            self._energy = EnergyPosterior.drawn(energy, n_draws, torch.Generator().manual_seed(seed))

    @property
    def method(self) -> str:
        """``last-layer`` or ``linear``."""
        return self._method

    @property
    def model(self) -> Model:
        """The trained model; its prediction is the mean."""
        return self._model

    @property
    def members(self) -> Sequence[Model]:
        """The draws as models over one trunk; their mean is the trained model, for outputs linear in the weights."""
        if self._members is None:
            self._members = self._draw_members()
        return self._members

    def _draw_members(self) -> tuple[Model, ...]:
        moved = [dict[str, Tensor]() for _ in range(self.n_draws)]
        if self._energy is not None:
            assert self._model.energy_head is not None
            for own, change in zip(moved, self._energy.draws, strict=True):
                parameters = self._model.energy_head.moved(change.to(self._model.energy_head.scale.device))
                own |= {f"energy_head.{name}": tensor for name, tensor in parameters.items()}
        if self.operator is not None:
            generator = torch.Generator().manual_seed(self.seed + 1)
            for own, parameters in zip(moved, self.operator.moved(self._model, self.n_draws, generator), strict=True):
                own |= parameters
        return tuple(with_parameters(self._model, parameters).eval() for parameters in moved)

    def predict(self, graph: Graph, outputs: Collection[str]) -> UncertainPrediction:
        """The trained model's prediction, and the posterior's spread.

        Raises:
            ModelError: an output without a head, or without a posterior.
            StructureError: an element that the model was not trained on.
        """
        with torch.no_grad():
            mean = self._model(graph, outputs)
            return UncertainPrediction(mean, self.spread(graph, outputs))

    def spread(self, graph: Graph, outputs: Collection[str]) -> Spread:
        """The spread alone; arguments and errors as of :meth:`predict`."""
        self._model.check(outputs)
        found: dict[str, Tensor | OperatorBlocks] = {}
        if {"energy", "forces", "stress"} & set(outputs):
            found |= self._require(self._energy, "energy").spread(self._model, graph, set(outputs))
        if "hamiltonian" in outputs:
            found["hamiltonian"] = self._require(self.operator, "Hamiltonian").spread(self._model, graph)
        return Spread(**found)  # pyright: ignore[reportArgumentType]

    def _require(self, posterior: _PosteriorType | None, name: str) -> _PosteriorType:
        if posterior is None:
            raise ModelError(
                f"a request for the spread of the {name}, of which there is no posterior",
                expected=f"a posterior that was fitted to labels of the {name}",
                suggestion=f"fit it again with labels of the {name} among the training set",
            )
        return posterior


def _check(model: Model, energy: Posterior | None, n_draws: int) -> None:
    if n_draws < 2:
        raise ModelError(
            f"{n_draws} draw", expected="two draws or more, between which there is a spread", suggestion="take 16"
        )
    n_weights = None if model.energy_head is None else len(model.energy_head.last_weights)
    if energy is not None and energy.size != n_weights:
        raise ModelError(
            f"a posterior of {energy.size} weights for a model with {n_weights or 'no'} in its energy's last layer",
            expected="the posterior of this very model",
            suggestion="fit the posterior again, with this model",
        )
