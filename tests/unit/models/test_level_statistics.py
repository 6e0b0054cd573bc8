"""Means of each level of theory: sharp where its structures are labelled at the main level as well."""

from dataclasses import replace

import pytest
import torch

from adiabat.models.model import Model, build_model
from adiabat.models.statistics import fit_statistics
from small_models import ELEMENTS, P_BASIS, LabelledExample, molecule, random_labels, small_config, small_model

NUMBERS = (6, 8, 1, 1, 6, 8)
OFFSET = 0.25


def two_levels(spin: str = "none") -> Model:
    reference = small_model(small_config(), P_BASIS, spin=spin).reference
    config = small_config().model_copy(update={"fidelities": ("high", "low")})
    return build_model(config, ELEMENTS, reference, dtype=torch.float64)


def at_level(model: Model, example: LabelledExample, level: int) -> LabelledExample:
    """The same structure and labels at another level; at the high one, all diagonal elements lie higher."""
    values = dict(example.values)
    if level == 0:
        shift = OFFSET * torch.eye(values["onsite"].shape[-1]).double()
        values["onsite"] = values["onsite"] + shift * (values["onsite"].diagonal(dim1=-2, dim2=-1) != 0)[..., None]
    graph = replace(example.graph, fidelity_index=torch.tensor([level]))
    return replace(example, graph=graph, values=values)


def mean_blocks(model: Model) -> torch.Tensor:
    """(2, 3, n, n) mean blocks of each level and element."""
    head = model.operator_head.onsite
    n = model.operator_layout.n_padded
    return (head.mean @ head.to_block).unflatten(0, (2, 3)).unflatten(-1, (n, n))


@pytest.mark.parametrize("paired", [True, False])
def test_means_of_few_labels_are_those_of_many_and_of_the_difference(paired: bool) -> None:
    model = two_levels()
    examples = [random_labels(model, molecule(seed, NUMBERS), seed) for seed in range(30)]
    others = examples[:2] if paired else [random_labels(model, molecule(s, NUMBERS), s) for s in range(40, 42)]
    fit_statistics(model, [at_level(model, e, 0) for e in others] + [at_level(model, e, 1) for e in examples])
    high, low = mean_blocks(model)
    difference = (high - low).diagonal(dim1=-2, dim2=-1)
    orbitals = torch.from_numpy(model.operator_layout.orbital_mask(torch.tensor(ELEMENTS).numpy()))
    error = (difference - OFFSET)[orbitals].abs().max()
    assert (error < 1e-12) == paired, "unpaired, two structures say little: the negative control"


def test_every_level_has_the_scales_of_the_main_one_where_that_has_any() -> None:
    model = two_levels()
    wet = [random_labels(model, molecule(seed, (8, 1, 1)), seed) for seed in range(12)]
    organic = [random_labels(model, molecule(seed, NUMBERS), seed) for seed in range(3)]
    energies = [replace(e, counts={"hamiltonian": 1}) for e in wet]
    fit_statistics(model, [at_level(model, e, 1) for e in energies]
                   + [at_level(model, replace(e, counts={"hamiltonian": 1}), 0) for e in organic])  # fmt: skip
    scale = model.operator_head.onsite.scale.unflatten(0, (2, 3))
    amplitude = model.operator_head.pair.amplitude.unflatten(0, (2, 3, 3))
    assert torch.equal(scale[0, [0, 2]], scale[1, [0, 2]])
    assert scale[0, 1].any()  # carbon: only the costly level has seen it
    assert not scale[1, 1].any()
    assert torch.equal(amplitude[0, 0, 2], amplitude[1, 0, 2])
    assert amplitude[0, 1, 2].any()
    assert not amplitude[1, 1, 2].any()
