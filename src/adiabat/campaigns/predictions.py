"""Energies, forces and stress of many structures, a batch at a time."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adiabat.data.graph import collate
from adiabat.data.record import Record
from adiabat.models.model import Model, to_numpy


@dataclass(frozen=True, eq=False)
class SurfacePrediction:
    """One structure on the predicted potential-energy surface.

    Attributes:
        index: of the record in the list that was given.
        energy: [eV].
        forces: (n_atoms, 3) [eV/Å], if asked.
        stress: (3, 3) [eV/Å³], if asked.
        seconds: its share of the batch's time, neighbor lists included.
    """

    index: int
    energy: float
    forces: npt.NDArray[np.float64] | None
    stress: npt.NDArray[np.float64] | None
    seconds: float


def predict_surfaces(
    model: Model, records: Sequence[Record], outputs: Mapping[int, frozenset[str]], *, batch_size: int
) -> Iterator[SurfacePrediction]:
    """Predict in batches; structures that want the same outputs share them, so the order is not kept.

    Args:
        model: with an energy head.
        records: their structures may be of any size.
        outputs: for the index of each record wanted: ``energy`` and any of ``forces`` and ``stress``.
        batch_size: structures in a batch.
    """
    alike: dict[frozenset[str], list[int]] = {}
    for index, names in outputs.items():
        alike.setdefault(names, []).append(index)
    for names, members in alike.items():
        for start in range(0, len(members), batch_size):
            yield from _predict_batch(model, records, members[start : start + batch_size], names)


def _predict_batch(
    model: Model, records: Sequence[Record], members: Sequence[int], outputs: frozenset[str]
) -> Iterator[SurfacePrediction]:
    started = time.perf_counter()
    structures = [records[index].structure for index in members]
    graph = collate([model.graph(structure, outputs) for structure in structures])
    with torch.no_grad():
        prediction = model(graph.to(next(model.parameters()).device), outputs)
    starts = np.cumsum([structure.n_atoms for structure in structures])[:-1]
    energies = to_numpy(prediction.energy)
    forces = np.split(to_numpy(prediction.forces), starts) if "forces" in outputs else None
    stress = to_numpy(prediction.stress) if "stress" in outputs else None
    seconds = (time.perf_counter() - started) / len(members)
    for place, index in enumerate(members):
        yield SurfacePrediction(
            index=index,
            energy=float(energies[place]),
            forces=None if forces is None else forces[place],
            stress=None if stress is None else stress[place],
            seconds=seconds,
        )
