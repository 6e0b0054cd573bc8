"""The operator of one structure, predicted, and how far each of its elements may be off."""

import time
from dataclasses import dataclass

import numpy as np

from adiabat.core.operators import BlockOperator
from adiabat.data.structure import Structure
from adiabat.models.model import Model
from adiabat.uncertainty.interface import UncertainModel, central_model


@dataclass(frozen=True, eq=False)
class OperatorPrediction:
    """What the operator head gives for one structure.

    Attributes:
        mean: ΔH = H − H0 [eV], or H where the reference has no H0.
        spread: standard deviations [eV] in the same layout, of real and imaginary parts apart; None without any.
        seconds: time it took, neighbor lists included.
        central_seconds: time the central model takes alone; None for a plain model.
    """

    mean: BlockOperator
    spread: BlockOperator | None
    seconds: float
    central_seconds: float | None = None


def predict_operator(model: Model | UncertainModel, structure: Structure) -> OperatorPrediction:
    """Predict one structure's operator.

    Args:
        model: with an operator head.
        structure: with elements that it knows.
    """
    central = central_model(model)
    started = time.perf_counter()
    mean = central.delta_hamiltonian(structure)
    seconds = time.perf_counter() - started
    if not isinstance(model, UncertainModel):
        return OperatorPrediction(mean, None, seconds)
    started = time.perf_counter()
    graph = central.graph(structure, {"hamiltonian"})
    found = model.predict(graph.to(central.trunk.n_neighbors.device), {"hamiltonian"})
    assert found.mean.hamiltonian is not None
    mean = central.unpacked(found.mean.hamiltonian, graph)
    spread = found.spread.hamiltonian
    deviations = None if spread is None else _absolute(central.unpacked(spread, graph))
    return OperatorPrediction(mean, deviations, time.perf_counter() - started, seconds)


def _absolute(spread: BlockOperator) -> BlockOperator:
    """Each real number of a spinor's elements is one predicted number but for its sign, so their spreads are too."""
    values = spread.values
    if np.iscomplexobj(values):
        return spread.with_values(np.abs(np.real(values)) + 1j * np.abs(np.imag(values)))
    return spread.with_values(np.abs(values))
