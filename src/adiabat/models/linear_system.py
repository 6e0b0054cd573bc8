"""The rows and labels of a linear fit, structure by structure, in units in which forces are about one.

A row of an energy is divided by the root of the number of atoms. Stress is taken times v^(2/3), v the volume of an
atom: as forces on the faces of that volume, numbers of the size of forces, whatever the cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adiabat.core.voigt import VOIGT_COLUMNS, VOIGT_ROWS
from adiabat.data.graph import Graph
from adiabat.models.level_statistics import LabelledGraph
from adiabat.models.linear_ace import LinearEnergyHead
from adiabat.models.linear_rows import RowBuilder
from adiabat.models.model import Model

Array = npt.NDArray[np.float64]

KINDS = ("energy", "forces", "stress")
"""Labels that a linear fit learns from; the numbers of :attr:`LabelledRows.kinds`."""


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Rows and labels of one structure, all divided by the head's scale.

    Attributes:
        rows: (n_rows, n_weights); the energy's is divided by the root of the number of atoms, as its label is.
        labels: (n_rows,) less the reference energies.
        kinds: (n_rows,) 0 for the energy, 1 for forces, 2 for stress.
    """

    rows: Array
    labels: Array
    kinds: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.labels)

    def thinned(self, n_rows: int, seed: int) -> "LabelledRows":
        """All rows but those of forces, and so many of these, drawn at random, as make it ``n_rows``; at least one."""
        forces = np.flatnonzero(self.kinds == 1)
        n_forces = min(len(forces), max(1, n_rows - (len(self) - len(forces))))
        drawn = np.random.default_rng(seed).choice(forces, n_forces, replace=False)
        kept = np.sort(np.concatenate([np.flatnonzero(self.kinds != 1), drawn]))
        return LabelledRows(self.rows[kept], self.labels[kept], self.kinds[kept])


class LinearSystem:
    """All training structures as rows.

    Args:
        model: of the family linear-ace, with its reference energies and scale set.
        examples: what is learned from.
    """

    def __init__(self, model: Model, examples: Sequence[LabelledGraph]) -> None:
        self.builder = RowBuilder(model)
        self.model, self.examples = model, examples

    @property
    def n_weights(self) -> int:
        """Number of weights."""
        return self.builder.n_weights

    @property
    def n_rows(self) -> int:
        """Number of labels, of all structures."""
        return sum(n_labels(example) for example in self.examples)

    def of(self, example: LabelledGraph) -> LabelledRows:
        """Rows of one structure with the labels that it has."""
        assert isinstance(self.model.energy_head, LinearEnergyHead)
        graph = in_float64(example.graph)
        scale = float(self.model.energy_head.scale)
        found = self.builder.rows(graph, example.counts)
        rows: list[Array] = []
        labels: list[Array] = []
        kinds: list[int] = []
        if "energy" in example.counts:
            species = self.model.species(graph.atomic_numbers)
            reference = float(self.model.energy_head.reference[species].sum())
            weight = 1 / (scale * graph.n_atoms**0.5)
            rows.append(found.energy[None] * weight)
            labels.append(np.array([(float(example.values["energy"]) - reference) * weight]))
            kinds.append(0)
        if "forces" in example.counts:
            assert found.forces is not None
            rows.append(found.forces / scale)
            labels.append(example.values["forces"].double().cpu().numpy().ravel() / scale)
            kinds += [1] * (3 * graph.n_atoms)
        if "stress" in example.counts:
            assert found.stress is not None
            area = float(graph.cell[0].det().abs() / graph.n_atoms) ** (2 / 3)
            stress = example.values["stress"][0].double().cpu().numpy()
            rows.append(found.stress * (area / scale))
            labels.append(stress[VOIGT_ROWS, VOIGT_COLUMNS] * (area / scale))
            kinds += [2] * 6
        return LabelledRows(np.concatenate(rows), np.concatenate(labels), np.array(kinds, dtype=np.int64))


def in_float64(graph: Graph) -> Graph:
    """The graph on the CPU; its positions as they were stored."""
    return graph.to("cpu", torch.float64)


def n_labels(example: LabelledGraph) -> int:
    """Rows that one structure gives."""
    sizes = {"energy": 1, "forces": 3 * example.graph.n_atoms, "stress": 6}
    return sum(size for name, size in sizes.items() if name in example.counts)
