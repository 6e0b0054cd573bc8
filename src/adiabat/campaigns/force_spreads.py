"""The spread of forces that an uncertain model states for many structures."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from adiabat.core.errors import ModelError
from adiabat.data.graph import collate
from adiabat.data.structure import Structure
from adiabat.models.layers import pieces
from adiabat.uncertainty.interface import UncertainModel

BATCH: Final = 16
"""Structures predicted at once."""

_OUTPUTS: Final = ("energy", "forces")


def force_spreads(model: UncertainModel, structures: Sequence[Structure]) -> list[Tensor]:
    """(n_atoms, 3) standard deviations of the forces on each structure, in eV/Å, float64, on the CPU.

    Raises:
        ModelError: this kind of uncertainty has none for forces.
    """
    central = model.model
    device = next(central.parameters()).device
    found: list[Tensor] = []
    for part in pieces(len(structures), BATCH):
        graph = collate([central.graph(structure, _OUTPUTS) for structure in structures[part]])
        with torch.no_grad():
            spread = model.predict(graph.to(device), _OUTPUTS).spread.forces
        if spread is None:
            raise ModelError(
                f"an uncertain model ({model.method}) that gives none for forces",
                expected="a standard deviation of each force component",
                suggestion="use an ensemble or a model with a posterior for forces, or choose structures without one",
            )
        found += spread.double().cpu().split([structure.n_atoms for structure in structures[part]])
    return found
