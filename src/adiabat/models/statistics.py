"""What a model takes from the training data before the first step: reference energies, scales, neighbor counts.

With them the networks start near unit-variance targets, whatever the chemistry and the units of the labels' spread.

Of several levels of theory, each has its own reference energies and its own mean blocks. The level with the most labels
is the main one, and another whose structures are all labelled at the main level too is referred to it: the mean of a
difference of two levels is sharp where the mean of ten structures is not. Scales are common, for they say how far one
surface varies, which all levels describe.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adiabat.data.graph import Graph
from adiabat.models.level_statistics import (
    LabelledGraph,
    common_structures,
    fit_references,
    identity,
    main_level,
    reference_total,
    share_scales,
)
from adiabat.models.model import Model
from adiabat.models.onsite_head import OnsiteHead
from adiabat.models.operator_head import OperatorHead
from adiabat.models.pair_head import PairHead
from adiabat.models.two_center import NEGLIGIBLE, exponential_fit
from adiabat.physics.reference_energies import ReferenceEnergies

_MAX_STRUCTURES = 500
"""About how many structures the operator's scales are read from."""


def fit_statistics(
    model: Model,
    examples: Sequence[LabelledGraph],
    reference_energies: ReferenceEnergies | Mapping[str, ReferenceEnergies] | None = None,
) -> dict[str, Any]:
    """Set every scale and shift of a model from its training data.

    Args:
        model: changed in place.
        examples: the training set.
        reference_energies: energy of each element in eV, by fidelity where the model has several; least squares over
            the training set where not given.

    Returns: what was set, as plain JSON values, for logs and provenance.

    Raises:
        LabelError: an element, or a level of theory, without reference energies.
    """
    n_edges = sum(example.graph.n_edges for example in examples)
    n_atoms = sum(example.graph.n_atoms for example in examples)
    model.trunk.n_neighbors.fill_(max(1.0, n_edges / n_atoms))
    summary: dict[str, Any] = {"neighbors_per_atom": n_edges / n_atoms}
    if model.energy_head is not None and any("energy" in example.counts for example in examples):
        summary["reference_energies"] = fit_references(model, examples, reference_energies)
    if model.energy_head is not None:
        summary["energy_scale"] = _fit_energy_scale(model, examples)
    if model.operator_head is not None:
        labelled = [example for example in examples if "hamiltonian" in example.counts]
        labelled = _of_each_level(labelled, len(model.config.fidelities))
        if labelled:
            _fit_onsite(model, model.operator_head.onsite, labelled)
            _fit_pairs(model, model.operator_head, labelled)
    return summary


def _fit_energy_scale(model: Model, examples: Sequence[LabelledGraph]) -> float:
    """Root mean square of the force components, else spread of the energies per atom: eV(/Å) per unit output."""
    assert model.energy_head is not None
    forces = [example.values["forces"].double() for example in examples if "forces" in example.counts]
    if forces:
        scale = float(torch.cat(forces).square().mean().sqrt())
    else:
        residuals = [
            (example.values["energy"] - reference_total(model, example.graph)) / example.graph.n_atoms**0.5
            for example in examples
            if "energy" in example.counts
        ]
        scale = float(torch.cat(residuals).square().mean().sqrt()) if residuals else 1.0
    model.energy_head.scale.fill_(max(scale, 1e-3))
    return float(model.energy_head.scale)


def _of_each_level(labelled: Sequence[LabelledGraph], n_levels: int) -> list[LabelledGraph]:
    """Representative structures of each level; of the main level also those that stand for the others' structures."""
    if not n_levels or not labelled:
        return _representative(labelled)
    main = main_level(labelled, n_levels)
    chosen: list[LabelledGraph] = []
    for level in range(n_levels):
        own = [example for example in labelled if int(example.graph.fidelity_index) == level]
        if level != main and own:
            chosen += _representative(own)
    wanted = {identity(example.graph) for example in chosen}
    of_main = [example for example in labelled if int(example.graph.fidelity_index) == main]
    evenly = _representative(of_main)
    seen = {identity(example.graph) for example in evenly}
    return [*chosen, *evenly, *(e for e in of_main if identity(e.graph) in wanted - seen)]


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
    kinds = torch.cat([head.kind(example.graph, model.species(example.graph.atomic_numbers)) for example in examples])
    n_kinds, n_scalars = len(head.mean), head.n_natural[0]
    coefficients = blocks.flatten(1) @ head.to_block.double().mT
    for index in range(n_kinds):
        own = kinds == index
        if bool(own.any()):
            head.mean[index].zero_()
            head.mean[index, :n_scalars].copy_(coefficients[own, :n_scalars].mean(0))
    raw = coefficients.clone()
    coefficients -= head.mean.index_select(0, kinds)
    if head.linear is not None:
        coefficients = _less_linear_part(model, head, examples, coefficients, kinds)
    else:
        _refer_means(model, head, examples, raw)
    for index in range(n_kinds):
        own = coefficients[kinds == index]
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
    if head.n_levels:
        share_scales(head.scale, head.n_levels, main_level(examples, head.n_levels))


def _refer_means(model: Model, head: OnsiteHead, examples: Sequence[LabelledGraph], coefficients: Tensor) -> None:
    """Means of each level whose structures the main level has too: those of the main level and of the differences."""
    if not head.n_levels:
        return
    main, n_scalars = main_level(examples, head.n_levels), head.n_natural[0]
    parts = list(coefficients[:, :n_scalars].split([example.graph.n_atoms for example in examples]))
    for level in range(head.n_levels):
        matched = common_structures(examples, level, main)
        if level == main or not matched:
            continue
        difference = torch.cat([parts[ours] - parts[theirs] for ours, theirs in matched])
        species = torch.cat([model.species(examples[ours].graph.atomic_numbers) for ours, _ in matched])
        for index in range(head.n_species):
            own = species == index
            if bool(own.any()):
                mean = head.mean[main * head.n_species + index, :n_scalars]
                head.mean[level * head.n_species + index, :n_scalars].copy_(mean + difference[own].mean(0))


def _less_linear_part(
    model: Model, head: OnsiteHead, examples: Sequence[LabelledGraph], coefficients: Tensor, kinds: Tensor
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
    for index in range(len(head.mean)):
        own = kinds == index
        if bool(own.any()):
            centred[own, :, 0] -= features[own, :, 0].mean(0)
    head.linear.fit(centred, coefficients[:, :n_natural], kinds)
    left = coefficients.clone()
    left[:, :n_natural] -= head.linear(features, kinds)
    for index in range(len(head.mean)):
        own = kinds == index
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
    if pair.n_levels:
        share_scales(pair.amplitude, pair.n_levels, main_level(examples, pair.n_levels), along=pair.decay)


def _pair_coefficients(
    model: Model, head: OperatorHead, examples: Sequence[LabelledGraph]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Coefficients in the bonds' frames (n, n_coefficients), distances [Å], and rows of ``amplitude``."""
    coefficients, distances, kinds = [], [], []
    for example in examples:
        graph = example.graph
        species = model.species(graph.atomic_numbers)
        vectors = model.pair_vectors(graph).double()
        coefficients.append(head.pair_coefficients(example.values["pair"].double(), vectors))
        distances.append(vectors.norm(dim=-1))
        kinds.append(head.pair.kind(graph, species))
    return torch.cat(coefficients).cpu().numpy(), torch.cat(distances).cpu().numpy(), torch.cat(kinds).cpu().numpy()


def _mean_over_sides(squares: Tensor, head: PairHead) -> Tensor:
    """Give the cosine and the sine of one coefficient their common mean."""
    axial = head.n_even + head.n_odd
    parts = [squares[:, :axial]]
    for part in squares[:, axial:].split([2 * n for n in head.n_pairs], dim=1):
        parts.append(part.unflatten(1, (2, -1)).mean(1, keepdim=True).expand(-1, 2, -1).flatten(1))
    return torch.cat(parts, dim=1)
