"""One interface to every kind of uncertainty: a mean, its spread, and the models that the spread stands for."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import torch

from adiabat.data.graph import Graph
from adiabat.models.model import Model, Prediction
from adiabat.uncertainty.calibration import Calibration
from adiabat.uncertainty.out_of_distribution import FeatureReference
from adiabat.uncertainty.spread import Spread


@dataclass(frozen=True, eq=False)
class UncertainPrediction:
    """What is predicted, and how far it may be off.

    Attributes:
        mean: the prediction.
        spread: its standard deviations.
    """

    mean: Prediction
    spread: Spread


class UncertainModel(ABC):
    """A model that knows how far it may be off.

    Attributes:
        out_of_distribution: what the training set's atoms look like to the central model, if that was kept.
    """

    out_of_distribution: FeatureReference | None = None

    @property
    @abstractmethod
    def method(self) -> str:
        """How the spread is found: ``ensemble``, ``shallow-ensemble``, ``last-layer``, ``linear``."""

    @property
    @abstractmethod
    def model(self) -> Model:
        """The central model, whose cutoff, elements and heads all members share."""

    @property
    @abstractmethod
    def members(self) -> Sequence[Model]:
        """Models as likely as the central one. Any property's uncertainty is its spread over these."""

    @property
    def parts(self) -> Sequence[Model]:
        """The central model and the members: all that has weights. Some may share them."""
        return (self.model, *self.members)

    def to(self, device: torch.device | str) -> Self:
        """Move all weights to a device, in place."""
        for part in self.parts:
            part.to(device)
        return self

    @property
    def calibration(self) -> Calibration:
        """What the spreads of :meth:`predict` were calibrated with; those of the members are not."""
        return Calibration()

    @abstractmethod
    def predict(self, graph: Graph, outputs: Collection[str]) -> UncertainPrediction:
        """Mean and spread for a batch; arguments and errors as of :meth:`Model.forward`. Gradients are not kept."""


def central_model(model: Model | UncertainModel) -> Model:
    """The model itself, or the one that an uncertain model is built around."""
    return model.model if isinstance(model, UncertainModel) else model
