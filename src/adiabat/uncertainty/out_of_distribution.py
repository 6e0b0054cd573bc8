"""Has the model seen such an atom? Distances in the space of the trunk's features, element by element.

Two distances in the metric of an element's own training atoms, Σ = (1 − λ) S + λ (tr S/d) 1, S their covariance:

    Mahalanobis   d² = (x − μ)ᵀ Σ⁻¹ (x − μ)          how far from all of them
    nearest       d² = min_a (x − x_a)ᵀ Σ⁻¹ (x − x_a)   how far from the one most like it, and which one that is

λ is the shrinkage of [ledoit2004], which keeps a direction that training atoms hardly vary in from counting for nothing
or for everything. The threshold of each is a quantile of the training atoms' own distances, each from the others.
Sources: [lee2018] for the Mahalanobis distance; [ledoit2004].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from ase.data import chemical_symbols
from torch import Tensor

from adiabat.core.errors import LabelError
from adiabat.data.graph import Graph
from adiabat.models.model import Model, differentiable_geometry

MAX_REFERENCES: Final = 2000
"""Atoms of an element that are kept, for the nearest to be found among."""
QUANTILE: Final = 0.99
_SMALLEST_METRIC: Final = 1e-12


@dataclass(frozen=True, eq=False)
class Element:
    """What was seen of one element.

    Attributes:
        mean: (n_features,) μ.
        factor: (n_features, n_features) lower Cholesky factor of Σ.
        references: (n_references, n_features) features of training atoms, whitened by ``factor``.
        frames: (n_references,) the structure of the training set that each is of.
        atoms: (n_references,) its number there.
        far: Mahalanobis distance that the quantile of training atoms is within.
        alone: distance to the nearest of another structure, likewise.
    """

    mean: Tensor
    factor: Tensor
    references: Tensor
    frames: Tensor
    atoms: Tensor
    far: float
    alone: float

    def whitened(self, features: Tensor) -> Tensor:
        """L⁻¹ (x − μ)."""
        centred = features.double() - self.mean
        return torch.linalg.solve_triangular(self.factor, centred.mT, upper=False).mT


@dataclass(frozen=True, eq=False)
class Familiarity:
    """How well each atom of a batch is known; distances are in standard deviations of the training atoms.

    Attributes:
        mahalanobis: (n_atoms,) distance to the mean of the element's training atoms.
        nearest: (n_atoms,) distance to the nearest training atom that was kept.
        frame: (n_atoms,) the structure of the training set that it is of.
        atom: (n_atoms,) its number there.
        excess: (n_atoms,) the larger of the two distances over their thresholds; above 1 an atom is out of the
            distribution.
    """

    mahalanobis: Tensor
    nearest: Tensor
    frame: Tensor
    atom: Tensor
    excess: Tensor

    @property
    def outside(self) -> Tensor:
        """(n_atoms,) whether the atom is unlike the training set's."""
        return self.excess > 1

    def describe(self, atom: int) -> str:
        """One atom in words."""
        return (
            f"{float(self.excess[atom]):.2f} times the threshold; nearest: frame {int(self.frame[atom])},"
            f" atom {int(self.atom[atom])}"
        )


class FeatureReference:
    """The training set's atoms in the trunk's feature space.

    Args:
        elements: by atomic number.
        quantile: of the training atoms' own distances, that the thresholds are.
    """

    def __init__(self, elements: Mapping[int, Element], quantile: float) -> None:
        self.elements = dict(elements)
        self.quantile = quantile

    @classmethod
    def of(
        cls, model: Model, graphs: Sequence[Graph], *, quantile: float = QUANTILE, max_references: int = MAX_REFERENCES
    ) -> "FeatureReference":
        """Look at a training set.

        Args:
            model: whose trunk's features are taken.
            graphs: one for each structure; atoms are known by their places in this list and in the structure.
            quantile: of the training atoms that are to be inside.
            max_references: atoms of each element that are kept, evenly spaced.

        Raises:
            LabelError: an element with fewer than three structures, of which no distance can be told.
        """
        features, numbers, frames, atoms = [], [], [], []
        for index, graph in enumerate(graphs):
            features.append(trunk_features(model, graph))
            numbers.append(graph.atomic_numbers)
            frames.append(torch.full_like(graph.atomic_numbers, index))
            atoms.append(torch.arange(graph.n_atoms, device=graph.atomic_numbers.device))
        seen, all_frames, all_atoms = torch.cat(numbers), torch.cat(frames), torch.cat(atoms)
        all_features = torch.cat(features)
        elements: dict[int, Element] = {}
        for z in seen.unique().tolist():
            own = seen == z
            if len(all_frames[own].unique()) < 3:
                raise LabelError(
                    f"{chemical_symbols[z]} in {len(all_frames[own].unique())} of {len(graphs)} structures",
                    expected="each element in three structures or more, to tell how far apart its atoms are",
                    suggestion="give the whole training set",
                )
            elements[z] = _look_at(all_features[own], all_frames[own], all_atoms[own], quantile, max_references)
        return cls(elements, quantile)

    def familiarity(self, model: Model, graph: Graph) -> Familiarity:
        """Judge every atom of a batch; one of an element that was never seen is infinitely far from all.

        Args:
            model: the one whose features the reference holds.
            graph: the batch.
        """
        features = trunk_features(model, graph)
        n = len(features)
        far, near = (torch.full((n,), torch.inf, dtype=torch.float64, device=features.device) for _ in range(2))
        frame, atom = (torch.full((n,), -1, device=features.device) for _ in range(2))
        excess = far.clone()
        for z, element in self.elements.items():
            own = (graph.atomic_numbers == z).nonzero().squeeze(-1)
            if not len(own):
                continue
            white = element.whitened(features[own])
            far[own] = white.norm(dim=-1)
            near[own], which = torch.cdist(white, element.references).min(dim=-1)
            frame[own], atom[own] = element.frames[which], element.atoms[which]
            excess[own] = torch.maximum(far[own] / element.far, near[own] / element.alone)
        return Familiarity(far, near, frame, atom, excess)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors, and plain JSON values, from which :meth:`from_state` makes the same again."""
        tensors = {
            f"{z}.{name}": getattr(element, name).cpu().contiguous()
            for z, element in self.elements.items()
            for name in ("mean", "factor", "references", "frames", "atoms")
        }
        thresholds = {str(z): [element.far, element.alone] for z, element in self.elements.items()}
        return tensors, {"quantile": self.quantile, "thresholds": thresholds}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], described: Mapping[str, Any]) -> "FeatureReference":
        """Inverse of :meth:`state`."""
        names = ("mean", "factor", "references", "frames", "atoms")
        elements = {
            int(z): Element(*(tensors[f"{z}.{name}"] for name in names), far=far, alone=alone)
            for z, (far, alone) in described["thresholds"].items()
        }
        return cls(elements, described["quantile"])


def trunk_features(model: Model, graph: Graph) -> Tensor:
    """(n_atoms, n_features) invariant features of every layer, float64."""
    with torch.no_grad():
        positions, cell, _ = differentiable_geometry(graph, model.dtype, ())
        history = model.node_features(graph, model.species(graph.atomic_numbers), positions, cell, None)
    return torch.cat([features[:, 0] for features in history], dim=-1).double()


def shrinkage(centred: Tensor) -> float:
    """λ of [ledoit2004], by which the mean of squared errors of the covariance is least, from rows (n, d)."""
    n, d = centred.shape
    covariance = centred.mT @ centred / n
    scale = covariance.trace() / d
    distance = (covariance - scale * torch.eye(d, dtype=centred.dtype, device=centred.device)).square().sum()
    spread = (centred.square().sum(1).square().sum() / n - covariance.square().sum()) / n
    return float((spread / distance.clamp(min=_SMALLEST_METRIC)).clamp(0, 1))


def _look_at(features: Tensor, frames: Tensor, atoms: Tensor, quantile: float, max_references: int) -> Element:
    n, d = features.shape
    mean = features.mean(0)
    centred = features - mean
    shrink = shrinkage(centred)
    scatter = centred.mT @ centred
    scale = max(float(scatter.trace()) / ((n - 1) * d), _SMALLEST_METRIC)
    metric = (1 - shrink) * scatter / (n - 1)
    # a constant of the size of rounding keeps Σ positive where λ is zero
    metric.diagonal().add_(shrink * scale + 1e-9 * scale)
    factor = torch.linalg.cholesky(metric)
    element = Element(mean, factor, features, frames, atoms, 1.0, 1.0)
    white = element.whitened(features)
    kept = torch.linspace(0, n - 1, min(n, max_references), device=features.device).round().long()
    alone = torch.cdist(white, white[kept])
    alone = alone.masked_fill(frames[:, None] == frames[kept][None, :], torch.inf).min(1).values
    return Element(
        mean, factor, white[kept], frames[kept], atoms[kept],
        far=float(torch.quantile(leave_one_out(white, shrink), quantile)),
        alone=float(torch.quantile(alone, quantile)),
    )  # fmt: skip


def leave_one_out(whitened: Tensor, shrink: float) -> Tensor:
    """(n,) Mahalanobis distance of each row to mean and covariance of the others, λ kept.

    With q the squared distance to all, b = (1 − λ) n/(n − 1)² of the scatter that leaves with the row:
    d² = (n/(n − 1))² q/(1 − b q), by the Sherman–Morrison formula.
    """
    n = len(whitened)
    squares = whitened.square().sum(1)
    left = (1 - (1 - shrink) * n / (n - 1) ** 2 * squares).clamp(min=_SMALLEST_METRIC)
    return n / (n - 1) * (squares / left).sqrt()
