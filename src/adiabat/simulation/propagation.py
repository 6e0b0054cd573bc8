"""The uncertainty of any property of a model: its spread over the members that are as likely as the model itself."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adiabat.core.errors import ModelError
from adiabat.data.structure import Structure
from adiabat.models.model import Model
from adiabat.simulation.elastic import elastic_tensor
from adiabat.simulation.electrons import predict_electrons
from adiabat.uncertainty.interface import UncertainModel

Array = npt.NDArray[np.float64]

Property = Callable[[Model], npt.ArrayLike]
"""A number, or an array of numbers, that follows from a model."""


@dataclass(frozen=True, eq=False)
class Propagated:
    """A property with its uncertainty.

    Attributes:
        mean: over the members, in the property's shape and unit.
        std: standard deviation over the members.
        values: (n_members, …) of each member.
    """

    mean: Array
    std: Array
    values: Array


def propagate(uncertain: UncertainModel, property_function: Property) -> Propagated:
    """Evaluate a property with each member.

    Correlations are kept: an energy difference is as certain as members agree on the difference, however little they
    agree on either energy. The spread is the members' own; a calibration of forces or energies says nothing of it.

    Args:
        uncertain: has members.
        property_function: for instance ``lambda model: elastic_tensor(model, crystal).gigapascal``.

    Raises:
        ModelError: fewer than two members, or values of different shapes.
    """
    values = [np.asarray(property_function(member), dtype=np.float64) for member in uncertain.members]
    shapes = {value.shape for value in values}
    if len(values) < 2 or len(shapes) > 1:
        raise ModelError(
            f"{len(values)} members that give values of shape {', '.join(map(str, sorted(shapes)))}",
            expected="two members or more, and one shape",
            suggestion="use more members; return the same number of values whatever the model",
        )
    stacked = np.stack(values)
    return Propagated(stacked.mean(axis=0), stacked.std(axis=0, ddof=1), stacked)


def gap(structure: Structure) -> Property:
    """The HOMO–LUMO gap of a molecule [eV]."""
    return lambda model: float(predict_electrons(model, structure).orbitals.gap)


def energy_difference(final: Structure, initial: Structure) -> Property:
    """E(final) − E(initial) [eV]."""
    return lambda model: energy(model, final) - energy(model, initial)


def elastic_constants(
    structure: Structure, *, strain: float = 2e-3, relax_cell: bool = False, relax_atoms: bool = True
) -> Property:
    """(6, 6) elastic constants [GPa]; with ``relax_cell``, each member at its own lattice constants."""
    return lambda model: (
        elastic_tensor(model, structure, strain=strain, relax_cell=relax_cell, relax_atoms=relax_atoms).gigapascal
    )


def energy(model: Model, structure: Structure) -> float:
    """Energy of one structure [eV]."""
    graph = model.graph(structure, ("energy",)).to(next(model.parameters()).device)
    with torch.no_grad():
        return float(model(graph, ("energy",)).energy)
