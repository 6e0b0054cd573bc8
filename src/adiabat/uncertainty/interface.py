"""One interface to every kind of uncertainty: a mean, its spread, and the models that the spread stands for."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import Tensor

from adiabat.data.graph import Graph
from adiabat.models.model import Model, Prediction
from adiabat.models.operator_layout import OperatorBlocks


@dataclass(frozen=True, eq=False)
class Spread:
    """Standard deviations of a prediction, one a number, in the number's unit; the rest is None.

    Attributes:
        energy: (n_structures,) in eV.
        atomic_energies: (n_atoms,) in eV, where an atom's own energy has one.
        forces: (n_atoms, 3) in eV/Å.
        stress: (n_structures, 3, 3) in eV/Å³.
        hamiltonian: padded blocks in eV.
    """

    energy: Tensor | None = None
    atomic_energies: Tensor | None = None
    forces: Tensor | None = None
    stress: Tensor | None = None
    hamiltonian: OperatorBlocks | None = None


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
    """A model that knows how far it may be off."""

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

    @abstractmethod
    def predict(self, graph: Graph, outputs: Collection[str]) -> UncertainPrediction:
        """Mean and spread for a batch; arguments and errors as of :meth:`Model.forward`. Gradients are not kept."""
