"""Reference energies of each level of theory, and how the levels of one data set belong together."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from adiabat.core.errors import LabelError
from adiabat.data.graph import Graph
from adiabat.models.model import Model
from adiabat.physics.reference_energies import ReferenceEnergies, least_squares


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


def fit_references(
    model: Model,
    examples: Sequence[LabelledGraph],
    given: ReferenceEnergies | Mapping[str, ReferenceEnergies] | None,
) -> dict[str, Any]:
    """Set the reference energies of a model, and return them as plain JSON values, by fidelity if there are several.

    Args:
        model: changed in place.
        examples: the training set.
        given: by fidelity if there are several; least squares where not given.

    Raises:
        LabelError: an element, or a level of theory, without reference energies.
    """
    assert model.energy_head is not None
    labelled = [example for example in examples if "energy" in example.counts]
    if not model.config.fidelities:
        assert not isinstance(given, Mapping)
        reference = given or _own(labelled)
        model.energy_head.reference.copy_(_values(model, reference))
        return reference.to_json()
    found: dict[str, ReferenceEnergies] = {}
    main = main_level(labelled, len(model.config.fidelities))
    order = sorted(range(len(model.config.fidelities)), key=lambda level: level != main)
    for level in order:
        name = model.config.fidelities[level]
        if isinstance(given, Mapping) and name in given:
            found[name] = given[name]
        else:
            found[name] = _of_level(labelled, level, main, name, found.get(model.config.fidelities[main]))
        try:
            model.energy_head.reference[level].copy_(_values(model, found[name]))
        except LabelError as error:
            raise error.at(f"the labels of fidelity {name!r}") from error
    return {name: found[name].to_json() for name in model.config.fidelities}


def _of_level(
    labelled: Sequence[LabelledGraph], level: int, main: int, name: str, of_main: ReferenceEnergies | None
) -> ReferenceEnergies:
    own = [example for example in labelled if int(example.graph.fidelity_index) == level]
    if not own:
        raise LabelError(
            f"fidelity {name!r} without a single energy label, and without reference energies",
            expected="energies of some training frames of each fidelity, from which its reference energies are fitted",
            suggestion=f"label energies at this level, give data.reference_energies for {name!r}, or drop the fidelity",
        )
    matched = common_structures(labelled, level, main)
    if of_main is None or not matched:
        return _own(own)
    shift = least_squares(
        [_numbers(labelled[ours]) for ours, _ in matched],
        np.array([labelled[ours].values["energy"].item() - labelled[theirs].values["energy"].item()
                  for ours, theirs in matched]),
    )  # fmt: skip
    values = {z: of_main.values[z] + shift.values[z] for z in shift.values if z in of_main.values}
    return ReferenceEnergies(values, "least_squares", shift.note)


def _own(labelled: Sequence[LabelledGraph]) -> ReferenceEnergies:
    energies = np.array([example.values["energy"].item() for example in labelled])
    return least_squares([_numbers(example) for example in labelled], energies)


def _numbers(example: LabelledGraph) -> Any:
    return example.graph.atomic_numbers.cpu().numpy()


def _values(model: Model, reference: ReferenceEnergies) -> Tensor:
    return torch.tensor([reference.total([z]) for z in model.atomic_numbers], dtype=torch.float64)


def reference_total(model: Model, graph: Graph) -> Tensor:
    """Sum of the reference energies of one structure in eV, shape ()."""
    assert model.energy_head is not None
    species = model.species(graph.atomic_numbers)
    if not model.config.fidelities:
        return model.energy_head.reference[species].sum()
    return model.energy_head.reference[int(graph.fidelity_index), species].sum()


def main_level(examples: Sequence[LabelledGraph], n_levels: int) -> int:
    """The level of theory with the most examples; the earlier of two with as many."""
    counts = [0] * n_levels
    for example in examples:
        counts[int(example.graph.fidelity_index)] += 1
    return counts.index(max(counts))


def common_structures(examples: Sequence[LabelledGraph], level: int, main: int) -> list[tuple[int, int]]:
    """Indices of each example of a level and of the same structure at the main level; none unless all have one."""
    places = {
        identity(example.graph): index
        for index, example in enumerate(examples)
        if int(example.graph.fidelity_index) == main
    }
    matched = [
        (index, places.get(identity(example.graph)))
        for index, example in enumerate(examples)
        if int(example.graph.fidelity_index) == level
    ]
    found = [(ours, theirs) for ours, theirs in matched if theirs is not None]
    return found if len(found) == len(matched) else []


def identity(graph: Graph) -> bytes:
    """Equal for graphs of one structure."""
    parts = (graph.atomic_numbers, graph.positions, graph.cell, graph.pbc)
    return b"".join(part.cpu().numpy().tobytes() for part in parts)


def share_scales(scale: Tensor, n_levels: int, main: int, *, along: Tensor | None = None) -> None:
    """Give every level the scales of the main one, in place, where the main one has any.

    Args:
        scale: (n_levels · n_kinds, …), zero where nothing was found.
        n_levels: number of levels.
        main: level with the most labels.
        along: what belongs to the scale, of the same shape.
    """
    by_level = scale.unflatten(0, (n_levels, -1))
    known = by_level[main] > 0
    for values in [scale] if along is None else [along, scale]:
        parts = values.unflatten(0, (n_levels, -1))
        has_labels = (by_level > 0).flatten(2).any(-1)
        for level in range(n_levels):
            taken = known & has_labels[level].view(-1, *(1,) * (known.ndim - 1))
            parts[level].copy_(torch.where(taken, parts[main], parts[level]))
