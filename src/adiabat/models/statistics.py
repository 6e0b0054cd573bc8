"""What a model takes from the training data before the first step: reference energies, scales, neighbor counts.

With them the networks start near unit-variance targets, whatever the chemistry and the units of the labels' spread.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adiabat.data.graph import Graph
from adiabat.models.model import Model
from adiabat.models.onsite_head import OnsiteHead
from adiabat.models.operator_head import OperatorHead
from adiabat.models.pair_head import PairHead
from adiabat.models.two_center import NEGLIGIBLE, exponential_fit
from adiabat.physics.reference_energies import ReferenceEnergies, least_squares

_MAX_STRUCTURES = 500
"""About how many structures the operator's scales are read from."""


class LabelledGraph(Protocol):
    """What statistics are taken from: one structure's graph and labels."""

    @property
    def graph(self) -> Graph:
        """Its graph."""
        ...

    @property
    def values(self) -> Mapping[str, Tensor]:
        """``energy`` (1,), ``forces`` (n_atoms, 3), and the padded ``onsite`` and ``pair`` blocks of ΔH."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of labels by target; a target without a label is absent."""
        ...


def fit_statistics(
    model: Model, examples: Sequence[LabelledGraph], reference_energies: ReferenceEnergies | None = None
) -> dict[str, Any]:
    """Set every scale and shift of a model from its training data.

    Args:
        model: changed in place.
        examples: the training set.
        reference_energies: energy of each element in eV; least squares over the training set if not given.

    Returns: what was set, as plain JSON values, for logs and provenance.
    """
    n_edges = sum(example.graph.n_edges for example in examples)
    n_atoms = sum(example.graph.n_atoms for example in examples)
    model.trunk.n_neighbors.fill_(max(1.0, n_edges / n_atoms))
    summary: dict[str, Any] = {"neighbors_per_atom": n_edges / n_atoms}
    if model.energy_head is not None and any("energy" in example.counts for example in examples):
        summary["reference_energies"] = _fit_reference(model, examples, reference_energies)
    if model.energy_head is not None:
        summary["energy_scale"] = _fit_energy_scale(model, examples)
    if model.operator_head is not None:
        labelled = _representative([example for example in examples if "hamiltonian" in example.counts])
        if labelled:
            _fit_onsite(model, model.operator_head.onsite, labelled)
            _fit_pairs(model, model.operator_head, labelled)
    return summary


def _fit_reference(model: Model, examples: Sequence[LabelledGraph], given: ReferenceEnergies | None) -> dict[str, Any]:
    assert model.energy_head is not None
    labelled = [example for example in examples if "energy" in example.counts]
    reference = given or least_squares(
        [example.graph.atomic_numbers.cpu().numpy() for example in labelled],
        np.array([example.values["energy"].item() for example in labelled]),
    )
    values = [reference.total([z]) for z in model.atomic_numbers]
    model.energy_head.reference.copy_(torch.tensor(values, dtype=torch.float64))
    return reference.to_json()


def _fit_energy_scale(model: Model, examples: Sequence[LabelledGraph]) -> float:
    """Root mean square of the force components, else spread of the energies per atom: eV(/Å) per unit output."""
    assert model.energy_head is not None
    forces = [example.values["forces"].double() for example in examples if "forces" in example.counts]
    if forces:
        scale = float(torch.cat(forces).square().mean().sqrt())
    else:
        residuals = [
            (example.values["energy"] - model.energy_head.reference[model.species(example.graph.atomic_numbers)].sum())
            / example.graph.n_atoms**0.5
            for example in examples
            if "energy" in example.counts
        ]
        scale = float(torch.cat(residuals).square().mean().sqrt()) if residuals else 1.0
    model.energy_head.scale.fill_(max(scale, 1e-3))
    return float(model.energy_head.scale)


def _representative(labelled: Sequence[LabelledGraph]) -> list[LabelledGraph]:
    """Evenly spaced structures, and the first with each element or pair of elements that these lack."""
    stride = -(-len(labelled) // _MAX_STRUCTURES)
    if stride <= 1:
        return list(labelled)
    chosen = list(labelled[::stride])
    seen: set[tuple[int, ...]] = set().union(*(_kinds(example.graph) for example in chosen))
    for example in labelled:
        kinds = _kinds(example.graph)
        if kinds - seen:
            chosen.append(example)
            seen |= kinds
    return chosen


def _kinds(graph: Graph) -> set[tuple[int, ...]]:
    """Elements, and pairs of elements, of which a structure has blocks."""
    pairs = graph.atomic_numbers[graph.pair_index].mT.tolist()
    return {(z,) for z in graph.atomic_numbers.tolist()} | {(z_i, z_j) for z_i, z_j in pairs}


def _fit_onsite(model: Model, head: OnsiteHead, examples: Sequence[LabelledGraph]) -> None:
    """Mean of the scalars, linear part, and spread of what is left of every irrep, for each element and shell pair."""
    blocks = torch.cat([example.values["onsite"].double() for example in examples])
    species = model.species(torch.cat([example.graph.atomic_numbers for example in examples]))
    coefficients = blocks.flatten(1) @ head.to_block.double().mT
    n_scalars = head.n_natural[0]
    for index in range(len(model.atomic_numbers)):
        own = species == index
        if bool(own.any()):
            head.mean[index].zero_()
            head.mean[index, :n_scalars].copy_(coefficients[own, :n_scalars].mean(0))
    coefficients -= head.mean.index_select(0, species)
    if head.linear is not None:
        coefficients = _less_linear_part(model, head, examples, coefficients, species)
    for index in range(len(model.atomic_numbers)):
        own = coefficients[species == index]
        if not len(own):
            head.scale[index].zero_()  # H stays the baseline where nothing was learned
            continue
        squares = own.square().mean(0)
        parts = []
        start = 0
        for l, count in [*enumerate(head.n_natural), *enumerate(head.n_unnatural)]:
            size = (2 * l + 1) * count
            over_m = squares[start : start + size].unflatten(0, (2 * l + 1, count)).mean(0)
            parts.append(over_m.sqrt().repeat(2 * l + 1))
            start += size
        scale = torch.cat(parts)
        head.scale[index].copy_(torch.where(scale > NEGLIGIBLE, scale, 0))


def _less_linear_part(
    model: Model, head: OnsiteHead, examples: Sequence[LabelledGraph], coefficients: Tensor, species: Tensor
) -> Tensor:
    """Fit the linear part, shift ``head.mean`` to what it leaves, and return what both leave of the coefficients."""
    assert head.linear is not None
    features = torch.cat(
        [
            head.linear_features(
                example.graph, model.species(example.graph.atomic_numbers), model.pair_vectors(example.graph)
            )
            for example in examples
        ]
    )
    n_natural = sum((2 * l + 1) * n for l, n in enumerate(head.n_natural))
    n_scalars = head.n_natural[0]
    centred = features.clone()
    for index in range(len(model.atomic_numbers)):
        own = species == index
        if bool(own.any()):
            centred[own, :, 0] -= features[own, :, 0].mean(0)
    head.linear.fit(centred, coefficients[:, :n_natural], species)
    left = coefficients.clone()
    left[:, :n_natural] -= head.linear(features, species)
    for index in range(len(model.atomic_numbers)):
        own = species == index
        if bool(own.any()):
            rest = left[own, :n_scalars].mean(0)
            head.mean[index, :n_scalars] += rest
            left[own, :n_scalars] -= rest
    return left


def _fit_pairs(model: Model, head: OperatorHead, examples: Sequence[LabelledGraph]) -> None:
    """Two-centre baseline, and amplitude and decay length of what is left of every coefficient.

    For each pair of elements: rms ≈ amplitude · exp(−decay · r).
    """
    coefficients, distances, kinds = _pair_coefficients(model, head, examples)
    pair = head.pair
    for kind in range(len(pair.amplitude)):
        members = np.flatnonzero(kinds == kind)
        if not len(members):
            pair.amplitude[kind].zero_()  # H stays the baseline where nothing was learned
            continue
        own, r = coefficients[members], distances[members]
        if pair.baseline is not None:
            means = own[:, : pair.n_even]
            pair.baseline.fit(kind, r, means, *exponential_fit(r, np.square(means)))
            with torch.no_grad():
                fitted = pair.baseline(torch.from_numpy(r)[:, None], torch.full((len(r),), kind))
            own[:, : pair.n_even] -= fitted.double().numpy()
        squares = _mean_over_sides(torch.from_numpy(np.square(own)), pair).numpy()
        amplitude, decay = exponential_fit(r, squares)
        pair.amplitude[kind].copy_(torch.from_numpy(amplitude))
        pair.decay[kind].copy_(torch.from_numpy(decay))


def _pair_coefficients(
    model: Model, head: OperatorHead, examples: Sequence[LabelledGraph]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Coefficients in the bonds' frames (n, n_coefficients), distances [Å], and pairs of elements."""
    coefficients, distances, kinds = [], [], []
    for example in examples:
        graph = example.graph
        species = model.species(graph.atomic_numbers)
        vectors = model.pair_vectors(graph).double()
        coefficients.append(head.pair_coefficients(example.values["pair"].double(), vectors))
        distances.append(vectors.norm(dim=-1))
        kinds.append(species[graph.pair_index[0]] * len(model.atomic_numbers) + species[graph.pair_index[1]])
    return torch.cat(coefficients).cpu().numpy(), torch.cat(distances).cpu().numpy(), torch.cat(kinds).cpu().numpy()


def _mean_over_sides(squares: Tensor, head: PairHead) -> Tensor:
    """Give the cosine and the sine of one coefficient their common mean."""
    axial = head.n_even + head.n_odd
    parts = [squares[:, :axial]]
    for part in squares[:, axial:].split([2 * n for n in head.n_pairs], dim=1):
        parts.append(part.unflatten(1, (2, -1)).mean(1, keepdim=True).expand(-1, 2, -1).flatten(1))
    return torch.cat(parts, dim=1)
