"""Start a model from the weights of another: everything that fits is carried over, and what does not is told."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from adiabat.core.errors import ModelError
from adiabat.models.level_statistics import LabelledGraph
from adiabat.models.model import Model
from adiabat.physics.reference_energies import least_squares

PARTS: Final = ("trunk", "energy_head", "operator_head")
"""Parts of a model that can be carried over apart from the others."""

_BY_ELEMENT = ("species_weights", "species_scalars", "energy_head.reference", "onsite.species", "onsite.scale",
               "onsite.mean")  # fmt: skip
_BY_PAIR = ("radial.species", "pair.species", "pair.amplitude", "pair.decay")
_FITTED = ("onsite.linear.", "pair.baseline.", "overlap_table.")
"""Fitted to data by least squares; carried over whole or not at all."""
_MODULES = (
    "energy_head", "energy_head.more_linear", "energy_head.more_weights", "operator_head",
    *(f"operator_head.{part}{rest}" for part in ("onsite", "pair") for rest in ("", ".corrections", ".linear",
                                                                                ".baseline")),
    "overlap_table",
)  # fmt: skip
"""Modules that stand for their tensors in a log; what holds others first."""
_MAX_STRUCTURES = 500
"""About how many structures the means of errors are taken over."""


@dataclass(frozen=True)
class CarriedOver:
    """What became of the weights of another model.

    Attributes:
        n_carried: number of values that were taken over.
        partly: tensors of which only some rows were: those of the elements and levels that both models know.
        new: tensors that stay as they were, for the other model has none that fit.
        dropped: tensors of the other model that found no place.
    """

    n_carried: int
    partly: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def lines(self) -> list[str]:
        """For a log: what was not carried over, module by module."""
        found = [f"{self.n_carried} values carried over"]
        for words, names in (
            ("only for the elements and levels that both know", self.partly),
            ("new, not in the other model", self.new),
            ("not used of the other model", self.dropped),
        ):
            if names:
                found.append(f"{words}: {', '.join(names)}")
        return found


def carry_over(source: Model, target: Model, parts: Collection[str] = PARTS) -> CarriedOver:
    """Copy weights and statistics into a model that may know other elements, levels of theory, heads or bases.

    A level that only the target has starts where the source predicts: one of a single-level source, else the source's
    own target level. An operator head is carried over where both are of one basis, spin layout and baseline.

    Args:
        source: a trained model.
        target: changed in place.
        parts: what to carry over of ``trunk``, ``energy_head`` and ``operator_head``.

    Raises:
        ModelError: the trunks are of different kinds or sizes.
    """
    _check_trunks(source, target)
    theirs = source.state_dict()
    same_operator = _same_operator(source, target)
    partly, new = list[str](), list[str]()
    used: set[str] = set()
    n_carried = 0
    for name, value in target.state_dict().items():
        part = name.partition(".")[0].replace("overlap_table", "operator_head")
        if name not in theirs or part not in parts or (part == "operator_head" and not same_operator):
            new.append(name)
            continue
        taken = _fitting(name, theirs[name].to(value), value, source, target)
        if taken is None:
            new.append(name)
            continue
        used.add(name)
        rows, whole = taken
        value.copy_(rows)
        n_carried += value.numel()
        if not whole:
            partly.append(name)
    dropped = [name for name in theirs if name not in used]
    ours = target.state_dict()
    return CarriedOver(n_carried, _grouped(partly, ours), _grouped(new, ours), _grouped(dropped, theirs))


def refit_means(model: Model, examples: Sequence[LabelledGraph], *, energies: bool = True) -> None:
    """Move reference energies, and mean on-site blocks, by the mean errors of a model on labelled structures.

    Another level of theory differs from the one that the weights are from by more in these than in all else.

    Args:
        model: changed in place.
        examples: labelled structures, of every level that is to be moved.
        energies: move the reference energies; else only mean blocks.
    """
    training = model.training
    model.eval()
    for level in range(max(1, len(model.config.fidelities))):
        own = [example for example in examples if int(example.graph.fidelity_index) == level]
        if energies:
            _refit_energies(model, [example for example in own if "energy" in example.counts], level)
        if model.operator_head is not None:
            _refit_onsite(model, [example for example in own if "hamiltonian" in example.counts], level)
    model.train(training)


def _refit_energies(model: Model, labelled: Sequence[LabelledGraph], level: int) -> None:
    if model.energy_head is None or not labelled:
        return
    chosen = labelled[:: -(-len(labelled) // _MAX_STRUCTURES)]
    with torch.no_grad():
        errors = [float(example.values["energy"] - model(example.graph, {"energy"}).energy) for example in chosen]
    numbers = [example.graph.atomic_numbers.cpu().numpy() for example in chosen]
    shift = least_squares(numbers, np.array(errors))
    rows = model.energy_head.reference if not model.config.fidelities else model.energy_head.reference[level]
    for index, z in enumerate(model.atomic_numbers):
        rows[index] += shift.values.get(z, 0.0)


def _refit_onsite(model: Model, labelled: Sequence[LabelledGraph], level: int) -> None:
    assert model.operator_head is not None
    head = model.operator_head.onsite
    if not labelled:
        return
    chosen = labelled[:: -(-len(labelled) // _MAX_STRUCTURES)]
    with torch.no_grad():
        errors = [
            (example.values["onsite"].double() - model(example.graph, {"hamiltonian"}).hamiltonian.onsite.double())
            for example in chosen
        ]
    coefficients = torch.cat(errors).flatten(1) @ head.to_block.double().mT
    species = torch.cat([model.species(example.graph.atomic_numbers) for example in chosen])
    n_scalars = head.n_natural[0]
    for index in range(head.n_species):
        own = species == index
        if bool(own.any()):
            row = head.mean[level * head.n_species + index]
            learned = head.scale[level * head.n_species + index, :n_scalars] > 0
            row[:n_scalars] += torch.where(learned, coefficients[own, :n_scalars].mean(0).to(row), 0)


def _check_trunks(source: Model, target: Model) -> None:
    ours, theirs = (
        {name: value.shape for name, value in model.trunk.state_dict().items() if "species" not in name}
        for model in (target, source)
    )
    ours.pop("fidelity_scalars", None)
    theirs.pop("fidelity_scalars", None)
    if ours != theirs or source.config.cutoff != target.config.cutoff:
        keys = ("family", "cutoff", "channels", "l_max", "layers", "order", "n_bessel", "hidden", "linear_ace")
        differing = [key for key in keys if getattr(source.config, key) != getattr(target.config, key)]
        sizes = [
            ", ".join(f"{key} {getattr(model.config, key)}" for key in differing)
            or f"the elements {', '.join(model.symbols)} in every weight"
            for model in (source, target)
        ]
        raise ModelError(
            f"a model to start from whose trunk has {sizes[0]}",
            expected=f"{sizes[1]}, as the new model",
            suggestion="leave these keys out of the model section: they are then taken from training.init_model",
        )


def _same_operator(source: Model, target: Model) -> bool:
    ours, theirs = target.references, source.references
    if ours is None or theirs is None or source.operator_layout is None or target.operator_layout is None:
        return False
    same = all(getattr(ours, key) == getattr(theirs, key) for key in ("basis", "spin", "baseline"))
    return same and source.operator_layout.shells == target.operator_layout.shells


def _fitting(name: str, theirs: Tensor, ours: Tensor, source: Model, target: Model) -> tuple[Tensor, bool] | None:
    """What a tensor of the target becomes, and whether all of it is the source's; None if nothing fits."""
    if source.atomic_numbers == target.atomic_numbers and source.config.fidelities == target.config.fidelities:
        return (theirs, True) if theirs.shape == ours.shape else None
    if any(part in name for part in _FITTED):
        return None
    if "fidelity_scalars" in name or "correction" in name:
        return _by_level(theirs, ours, source, target, dim=1 if "fidelity_scalars" in name else 0)
    if name.endswith((*_BY_PAIR, *_BY_ELEMENT)):
        tail = 0 if name.endswith("energy_head.reference") else theirs.ndim - 1
        return _by_row(theirs, ours, source, target, pairs=name.endswith(_BY_PAIR), tail=tail)
    return (theirs, True) if theirs.shape == ours.shape else None


def _levels(source: Model, target: Model) -> list[int]:
    """For each level of the target the level of the source that it starts from."""
    theirs, ours = source.config.fidelities, target.config.fidelities or (source.fidelity or "",)
    return [theirs.index(name) if name in theirs else 0 for name in ours]


def _by_level(theirs: Tensor, ours: Tensor, source: Model, target: Model, dim: int) -> tuple[Tensor, bool] | None:
    """Corrections, level by level; a level that the source lacks starts as its target level."""
    taken = theirs.index_select(dim, torch.tensor(_levels(source, target), device=theirs.device))
    known = all(name in source.config.fidelities for name in target.config.fidelities)
    return (taken, known) if taken.shape == ours.shape else None


def _by_row(
    theirs: Tensor, ours: Tensor, source: Model, target: Model, *, pairs: bool, tail: int
) -> tuple[Tensor, bool] | None:
    """Rows of elements, or ordered pairs of elements, of every level where there are several.

    Args:
        theirs: (n_levels · n_rows, …) or (n_levels, n_rows), of the source.
        ours: of the target.
        source: knows some of the elements.
        target: knows others as well.
        pairs: whether rows are of pairs.
        tail: number of axes that stand behind the rows.
    """
    tails = [tuple(value.shape[value.ndim - tail :]) for value in (theirs, ours)]
    if tails[0] != tails[1]:
        return None
    places = [source.atomic_numbers.index(z) if z in source.atomic_numbers else -1 for z in target.atomic_numbers]
    n = len(source.atomic_numbers)
    rows = torch.tensor(
        [a * n + b if min(a, b) >= 0 else -1 for a in places for b in places] if pairs else places, device=ours.device
    )
    known = rows >= 0
    by_level = theirs.reshape(-1, n**2 if pairs else n, *tails[0])
    mine = ours.reshape(-1, len(rows), *tails[1]).clone()
    for level, other in enumerate(_levels(source, target) if len(by_level) > 1 or len(mine) > 1 else [0]):
        mine[level, known] = by_level[other].index_select(0, rows[known])
    return mine.reshape(ours.shape), bool(known.all())


def _grouped(names: Sequence[str], of: Iterable[str]) -> tuple[str, ...]:
    """Names of tensors, or of the module all of whose tensors are among them, of a model with the tensors ``of``."""
    left, everything = list(names), list(of)
    found: list[str] = []
    for module in _MODULES:
        own = [name for name in everything if name.startswith(f"{module}.")]
        if own and set(own) <= set(left):
            found.append(module)
            left = [name for name in left if name not in own]
    return (*found, *left)
