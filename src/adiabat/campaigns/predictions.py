"""Energies, forces and stress of many structures, a batch at a time, and how far they may be off."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adiabat.campaigns.levels import at_level
from adiabat.data.graph import Graph, collate
from adiabat.data.record import Record
from adiabat.models.model import Model, Prediction, to_numpy
from adiabat.uncertainty.interface import Spread, UncertainModel, central_model

COMPARED_BATCHES: Final = 3
"""Batches of each kind that an uncertain model's central model predicts as well, to compare their times."""


@dataclass(frozen=True, eq=False)
class SurfacePrediction:
    """One structure on the predicted potential-energy surface.

    Attributes:
        index: of the record in the list that was given.
        energy: [eV].
        forces: (n_atoms, 3) [eV/Å], if asked.
        stress: (3, 3) [eV/Å³], if asked.
        seconds: its share of the batch's time, neighbor lists included.
        energy_spread: standard deviation of the energy [eV], if the model gives one.
        forces_spread: (n_atoms, 3) [eV/Å], likewise.
        stress_spread: (3, 3) [eV/Å³], likewise.
        central_seconds: its share of the time that the central model takes alone, of the batches where it was asked.
    """

    index: int
    energy: float
    forces: npt.NDArray[np.float64] | None
    stress: npt.NDArray[np.float64] | None
    seconds: float
    energy_spread: float | None = None
    forces_spread: npt.NDArray[np.float64] | None = None
    stress_spread: npt.NDArray[np.float64] | None = None
    central_seconds: float | None = None


def predict_surfaces(
    model: Model | UncertainModel, records: Sequence[Record], outputs: Mapping[int, frozenset[str]], *, batch_size: int
) -> Iterator[SurfacePrediction]:
    """Predict in batches; structures that want the same outputs share them, so the order is not kept.

    Args:
        model: with an energy head; its spreads are predicted too if it is an uncertain one.
        records: their structures may be of any size.
        outputs: for the index of each record wanted: ``energy`` and any of ``forces`` and ``stress``.
        batch_size: structures in a batch.
    """
    alike: dict[frozenset[str], list[int]] = {}
    for index, names in outputs.items():
        alike.setdefault(names, []).append(index)
    for names, members in alike.items():
        for start in range(0, len(members), batch_size):
            compare = isinstance(model, UncertainModel) and start < COMPARED_BATCHES * batch_size
            yield from _predict_batch(model, records, members[start : start + batch_size], names, compare)


def _predict_batch(
    model: Model | UncertainModel,
    records: Sequence[Record],
    members: Sequence[int],
    outputs: frozenset[str],
    compare: bool,
) -> Iterator[SurfacePrediction]:
    central = central_model(model)
    structures = [records[index].structure for index in members]
    started = time.perf_counter()
    graph = collate([at_level(central, records[index]).graph(records[index].structure, outputs) for index in members])
    graph = graph.to(next(central.parameters()).device)
    built = time.perf_counter() - started
    central_seconds = None
    if compare:
        started = time.perf_counter()
        with torch.no_grad():
            central(graph, outputs)
        central_seconds = (built + time.perf_counter() - started) / len(members)
    started = time.perf_counter()
    prediction, spread = _predict(model, graph, outputs)
    energies = _numpy(prediction.energy)
    forces, stress = (_numpy(getattr(prediction, name) if name in outputs else None) for name in ("forces", "stress"))
    seconds = (built + time.perf_counter() - started) / len(members)
    assert energies is not None
    energy_spread = _numpy(spread.energy)
    forces_spread, stress_spread = (
        _numpy(getattr(spread, name) if name in outputs else None) for name in ("forces", "stress")
    )
    ends = np.cumsum([structure.n_atoms for structure in structures])
    for place, index in enumerate(members):
        atoms = slice(ends[place] - structures[place].n_atoms, ends[place])
        yield SurfacePrediction(
            index=index,
            energy=float(energies[place]),
            forces=None if forces is None else forces[atoms],
            stress=None if stress is None else stress[place],
            seconds=seconds,
            energy_spread=None if energy_spread is None else float(energy_spread[place]),
            forces_spread=None if forces_spread is None else forces_spread[atoms],
            stress_spread=None if stress_spread is None else stress_spread[place],
            central_seconds=central_seconds,
        )


def _numpy(values: Tensor | None) -> npt.NDArray[np.float64] | None:
    return None if values is None else to_numpy(values)


def _predict(model: Model | UncertainModel, graph: Graph, outputs: frozenset[str]) -> tuple[Prediction, Spread]:
    if isinstance(model, UncertainModel):
        found = model.predict(graph, outputs)
        return found.mean, found.spread
    with torch.no_grad():
        return model(graph, outputs), Spread()
