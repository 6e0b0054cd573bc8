"""What a model takes from its training data: references, scales, neighbor counts, and the size of every coefficient."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from adiabat.core.errors import LabelError
from adiabat.data.structure import Structure
from adiabat.models import statistics
from adiabat.models.model import Model, build_model
from adiabat.models.operator_head import orbital_frame
from adiabat.models.statistics import fit_statistics
from adiabat.physics.reference_energies import ReferenceEnergies
from small_models import ELEMENTS, P_BASIS, LabelledExample, molecule, random_labels, small_config, small_model

NUMBERS = (6, 8, 1, 1, 6, 8)


def unfitted(*, operator: bool = True) -> Model:
    reference = small_model(small_config(), P_BASIS).reference if operator else None
    return build_model(small_config(operator=operator), ELEMENTS, reference, dtype=torch.float64)


def examples(model: Model, n: int = 40, decay: float = 1.3) -> list[LabelledExample]:
    return [random_labels(model, molecule(seed, NUMBERS), seed, decay) for seed in range(n)]


# ---------------------------------------------------------------- energies


def test_reference_energies_are_the_least_squares_of_the_labels() -> None:
    model = unfitted(operator=False)
    exact = {1: -13.5, 6: -1030.25, 8: -2040.125}
    compositions = [(1, 1, 8), (6, 8), (6, 1, 1, 1, 1), (6, 8, 8)]
    data = []
    for numbers in compositions:
        example = random_labels(model, molecule(0, numbers))
        energy = torch.tensor([sum(exact[z] for z in numbers)], dtype=torch.float64)
        data.append(replace(example, values={**example.values, "energy": energy}))
    summary = fit_statistics(model, data)
    assert model.energy_head.reference.tolist() == pytest.approx(list(exact.values()), abs=1e-9)
    assert summary["reference_energies"]["source"] == "least_squares"


def test_given_reference_energies_are_taken_as_they_are() -> None:
    model = unfitted(operator=False)
    given = ReferenceEnergies({1: -1.0, 6: -2.0, 8: -3.0}, "given")
    fit_statistics(model, examples(model, 2), given)
    assert model.energy_head.reference.tolist() == [-1.0, -2.0, -3.0]


def test_an_element_without_a_reference_energy_is_named() -> None:
    model = unfitted(operator=False)
    with pytest.raises(LabelError, match="C"):
        fit_statistics(model, [random_labels(model, molecule(0, (1, 8, 1)))])


def test_energy_scale_is_the_size_of_the_forces() -> None:
    model = unfitted(operator=False)
    data = examples(model, 5)
    fit_statistics(model, data)
    forces = torch.cat([example.values["forces"] for example in data])
    assert float(model.energy_head.scale) == pytest.approx(float(forces.square().mean().sqrt()))


def test_without_forces_the_energies_give_the_scale() -> None:
    model = unfitted(operator=False)
    data = [replace(example, counts={"energy": 1}) for example in examples(model, 30)]
    fit_statistics(model, data)
    # energies of −100 ± 1 eV, whose spread is shared among six atoms
    assert float(model.energy_head.scale) == pytest.approx(1 / len(NUMBERS) ** 0.5, rel=0.3)


def test_neighbors_are_counted_and_never_less_than_one() -> None:
    model = unfitted(operator=False)
    data = examples(model, 3)
    fit_statistics(model, data)
    expected = sum(example.graph.n_edges for example in data) / sum(example.graph.n_atoms for example in data)
    assert float(model.trunk.n_neighbors) == pytest.approx(expected)
    atoms = [random_labels(model, molecule(0, (z,))) for z in ELEMENTS]
    fit_statistics(model, atoms)
    assert float(model.trunk.n_neighbors) == 1


# ---------------------------------------------------------------- operator


def test_standardised_onsite_coefficients_are_of_size_one() -> None:
    model = unfitted()
    data = examples(model)
    fit_statistics(model, data)
    head = model.operator_head.onsite
    blocks = torch.cat([example.values["onsite"] for example in data])
    species = model.species(torch.cat([example.graph.atomic_numbers for example in data]))
    deviation = blocks.flatten(1) @ head.to_block.mT - head.mean[species]
    for index in range(len(ELEMENTS)):
        scale = head.scale[index]
        learned = scale > 0
        rms = (deviation[species == index][:, learned] / scale[learned]).square().mean(0).sqrt()
        assert rms.mean() == pytest.approx(1, abs=0.05)
        assert rms.min() > 0.6
        assert rms.max() < 1.5


def standardised_pairs(model: Model, data: list[LabelledExample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Coefficients over the scale that the model gives them, and distances [Å]."""
    head = model.operator_head.pair
    found, distances = [], []
    for example in data:
        vectors = model.pair_vectors(example.graph)
        turn = orbital_frame(vectors, model.operator_layout)
        species = model.species(example.graph.atomic_numbers)
        kind = species[example.graph.pair_index[0]] * len(ELEMENTS) + species[example.graph.pair_index[1]]
        coefficients = (turn @ example.values["pair"] @ turn.mT).flatten(1) @ head.to_block.mT
        distance = vectors.norm(dim=-1)
        scale = head.amplitude[kind] * torch.exp(-head.decay[kind] * distance[:, None])
        found.append(torch.where(scale > 0, coefficients / scale, torch.nan))
        distances.append(distance)
    return torch.cat(found), torch.cat(distances)


def test_standardised_pair_coefficients_are_of_size_one_near_and_far() -> None:
    model = unfitted()
    data = examples(model, decay=1.3)
    fit_statistics(model, data)
    assert float(model.operator_head.pair.decay[model.operator_head.pair.amplitude > 0].mean()) == pytest.approx(
        1.3, abs=0.1
    )
    scaled, distances = standardised_pairs(model, data)
    for near, far in ((0.0, 1.5), (1.5, 2.5), (2.5, 4.0)):
        rms = scaled[(distances > near) & (distances < far)].square().nanmean().sqrt()
        assert float(rms) == pytest.approx(1, abs=0.2)


def test_cosine_and_sine_have_one_scale() -> None:
    """Else the Hamiltonian would not turn with the molecule."""
    model = unfitted()
    fit_statistics(model, examples(model, 5))
    head = model.operator_head.pair
    for values in (head.amplitude, head.decay):
        for part in values[:, head.n_even + head.n_odd :].split([2 * n for n in head.n_pairs], dim=1):
            assert torch.equal(*part.chunk(2, dim=1))


def test_padding_and_what_the_data_never_shows_are_zero_exactly() -> None:
    """Padding, elements and pairs of elements without a label, and coefficients below the reference code's noise."""
    model = unfitted()
    data = []
    for seed in range(10):
        example = random_labels(model, molecule(seed, (8, 1, 1)), seed)
        quiet = {key: example.values[key] * 1e-7 for key in ("pair",)}
        data.append(replace(example, values={**example.values, **quiet}, counts={"hamiltonian": 1}))
    fit_statistics(model, data)
    assert not model.operator_head.pair.amplitude.any()
    carbon = Structure(np.array([6, 6, 8]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.2], [0.0, 0.9, -0.8]]))
    graph = model.graph(carbon, {"hamiltonian"})
    blocks = model(graph, {"hamiltonian"}).hamiltonian
    assert not blocks.pair.any()
    assert not blocks.onsite[:2].any()
    oxygen = blocks.onsite[2].detach().numpy()
    mask = model.operator_layout.orbital_mask(np.array([8]))[0]
    assert not oxygen[~mask].any()
    assert not oxygen[:, ~mask].any()
    assert oxygen[np.ix_(mask, mask)].any()


@pytest.mark.parametrize("spread", [0.0, 1e-5, 1e-2])
def test_a_narrow_range_of_distances_extrapolates_safely(spread: float) -> None:
    """Bonds of nearly one length tell no decay; scales must stay sane from close contact to far apart, in float32."""
    model = unfitted()
    random = np.random.default_rng(0)
    data = []
    for seed in range(30):
        length = 1.1 + spread * random.standard_normal()
        structure = Structure(np.array([6, 8]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, length]]))
        data.append(random_labels(model, structure, seed))
    fit_statistics(model, [replace(example, counts={"hamiltonian": 1}) for example in data])
    head = model.operator_head.pair
    at_bond = (head.amplitude * torch.exp(-head.decay * 1.1)).max()
    for distance in (0.1, 0.6, 20.0, 200.0):
        scale = head.amplitude.float() * torch.exp(-head.decay.float() * distance)
        assert scale.isfinite().all()
        # at most five per Å nearer
        assert float(scale.max()) < 1.01 * float(at_bond) * np.exp(max(0.0, 5 * (1.1 - distance)))
        # and nothing out of nothing for atoms far apart, which no data has shown
        assert distance < 10 or float(scale.max()) < 1e-3 * float(at_bond)


def test_scales_are_read_from_all_of_a_long_trajectory_and_no_pair_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_MAX_STRUCTURES", 5)
    model = unfitted()
    data = [random_labels(model, molecule(seed, (8, 1, 1)), seed) for seed in range(20)]
    data[13] = random_labels(model, molecule(13, (8, 6, 1)), 13)
    fit_statistics(model, [replace(example, counts={"hamiltonian": 1}) for example in data])
    amplitude = model.operator_head.pair.amplitude.unflatten(0, (3, 3)).amax(-1) > 0
    # rows and columns H, C, O: there is neither C–C nor O–O
    assert amplitude.tolist() == [[True, True, True], [True, False, True], [True, True, False]]
