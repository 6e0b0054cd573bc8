"""What the labels of each frame are linear in, and what is left for the linear part to explain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adiabat.campaigns.selection.ace_rows import AceRows
from adiabat.campaigns.selection.force_rows import trunk_rows
from adiabat.core.errors import LabelError
from adiabat.data.record import Record
from adiabat.models.model import Model, to_numpy

FloatArray = npt.NDArray[np.float64]

_KEPT = 300
"""Combinations of the linear family's features that are kept, at most."""
_COMPOSITION = 10.0
"""eV; how far an element's own energy may be from what least squares finds."""


@dataclass(frozen=True, eq=False)
class LabelRows:
    """One frame's labels y ≈ Φ w, energy first where there is one, then forces.

    Attributes:
        rows: (n_labels, n_features) Φ, in eV or eV/Å per unit of w.
        values: (n_labels,) y, less what does not depend on w.
        n_energies: 1 with an energy, else 0.
        n_atoms: number of atoms.
    """

    rows: FloatArray
    values: FloatArray
    n_energies: int
    n_atoms: int

    @property
    def energy(self) -> slice:
        """The energy's row, if there is one."""
        return slice(0, self.n_energies)

    @property
    def forces(self) -> slice:
        """The rows of the forces."""
        return slice(self.n_energies, None)


def label_rows(records: Sequence[Record], model: Model | None = None, *, cutoff: float = 5.0) -> list[LabelRows]:
    """Rows of every frame: in the last layer of a trained model, or without one in the linear family's features.

    With a model, w is the change of the last layer's weights and the values are what the model leaves over.

    Args:
        records: labelled with energies, forces, or both.
        model: trained on them, or on others like them.
        cutoff: radius in Å of the linear family's features.

    Raises:
        LabelError: a frame with neither energy nor forces.
    """
    for index, record in enumerate(records):
        if not {"energy", "forces"} & set(record.labels):
            raise LabelError(
                f"frame {index} with labels {', '.join(sorted(record.labels)) or 'none'}",
                expected="an energy or forces on every frame",
                suggestion="leave it out, or label it with `adiabat label`",
            )
    structures = [record.structure for record in records]
    if model is not None:
        found = trunk_rows(model, structures)
        baselines = [_predicted(model, record) for record in records]
        own = [(rows.energy, rows.forces) for rows in found]
    else:
        elements = sorted({int(z) for structure in structures for z in structure.atomic_numbers})
        ace = AceRows(elements, cutoff)
        mixing = ace.mixing(structures, _KEPT)
        counts = np.array([[(s.atomic_numbers == z).sum() for z in elements] for s in structures], dtype=np.float64)
        references = counts @ _element_energies(records, counts)
        baselines = [(energy, np.zeros((s.n_atoms, 3))) for energy, s in zip(references, structures, strict=True)]
        size = ace.force_scale(structures, mixing)
        own = [
            (np.append(rows.energy / size, _COMPOSITION * count), np.pad(rows.forces / size, ((0, 0), (0, len(count)))))
            for rows, count in zip(ace.rows(structures, mixing), counts, strict=True)
        ]
    return [_frame(record, *rows, *baseline) for record, rows, baseline in zip(records, own, baselines, strict=True)]


def _frame(
    record: Record, energy_row: FloatArray, force_rows: FloatArray, energy: float, forces: FloatArray
) -> LabelRows:
    rows, values = [], []
    if "energy" in record.labels:
        rows.append(energy_row[None])
        values.append(np.array([float(np.asarray(record.labels["energy"])) - energy]))
    if "forces" in record.labels:
        rows.append(force_rows)
        values.append((np.asarray(record.labels["forces"]) - forces).ravel())
    has_energy = int("energy" in record.labels)
    return LabelRows(np.concatenate(rows), np.concatenate(values), has_energy, record.structure.n_atoms)


def _predicted(model: Model, record: Record) -> tuple[float, FloatArray]:
    graph = model.graph(record.structure, {"forces"})
    with torch.no_grad():
        prediction = model(graph, {"energy", "forces"})
    assert prediction.energy is not None
    assert prediction.forces is not None
    return float(prediction.energy), to_numpy(prediction.forces)


def _element_energies(records: Sequence[Record], counts: FloatArray) -> FloatArray:
    """Energy of each element by least squares, twice, the second time without the frames that fit worst."""
    labelled = np.array(["energy" in record.labels for record in records])
    if not labelled.any():
        return np.zeros(counts.shape[1])
    energies = np.array([float(np.asarray(record.labels.get("energy", 0.0))) for record in records])[labelled]
    counts = counts[labelled]
    found = np.linalg.lstsq(counts, energies, rcond=None)[0]
    residual = np.abs(energies - counts @ found)
    kept = residual <= np.quantile(residual, 0.8)
    return np.linalg.lstsq(counts[kept], energies[kept], rcond=None)[0].astype(np.float64)
