"""Distances of atoms to a training set, against formulas written out and a structure that is clearly another."""

from functools import cache

import pytest
import torch
from torch import Tensor

from adiabat.core.errors import LabelError
from adiabat.data.graph import Graph
from adiabat.data.structure import Structure
from adiabat.models.model import Model
from adiabat.uncertainty.out_of_distribution import FeatureReference, leave_one_out, shrinkage, trunk_features
from small_models import molecule, small_config, small_model


@cache
def shared_model() -> Model:
    return small_model(small_config(operator=False))


def distorted(seed: int, size: float = 0.03) -> Graph:
    structure = molecule()
    noise = size * torch.randn(5, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).numpy()
    return shared_model().graph(Structure(structure.atomic_numbers, structure.positions + noise), ("energy",))


@cache
def reference() -> FeatureReference:
    return FeatureReference.of(shared_model(), [distorted(k) for k in range(60)])


def normal(n: int, d: int) -> Tensor:
    generator = torch.Generator().manual_seed(n + d)
    spread = torch.linspace(0.1, 2.0, d, dtype=torch.float64)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) * spread


def test_leaving_one_out_is_what_refitting_without_it_gives() -> None:
    """Means and covariances of the others, with λ and the isotropic part kept."""
    rows, shrink = normal(12, 4), 0.3
    scatter = (rows - rows.mean(0)).mT @ (rows - rows.mean(0))
    isotropic = shrink * 0.7 * torch.eye(4, dtype=torch.float64)
    metric = (1 - shrink) * scatter / 11 + isotropic
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(metric), (rows - rows.mean(0)).mT, upper=False).mT
    found = leave_one_out(white, shrink)
    for k in range(12):
        others = torch.cat([rows[:k], rows[k + 1 :]])
        centred = others - others.mean(0)
        without = (1 - shrink) * centred.mT @ centred / 11 + isotropic
        difference = rows[k] - others.mean(0)
        expected = (difference @ torch.linalg.solve(without, difference)).sqrt()
        torch.testing.assert_close(found[k], expected)
        assert float(found[k]) > float(white[k].norm())


def test_shrinkage_falls_with_the_number_of_rows() -> None:
    few, many = (shrinkage(rows - rows.mean(0)) for rows in (normal(10, 20), normal(2000, 20)))
    assert 0 < many < 0.05 < few <= 1


def test_training_atoms_are_inside_and_compressed_ones_are_not() -> None:
    inside = [reference().familiarity(shared_model(), distorted(k)) for k in range(100, 110)]
    shares = torch.stack([found.outside.double() for found in inside])
    assert float(shares.mean()) < 0.2  # of 1 % each by two distances, from 60 frames
    structure = molecule()
    shrunk = Structure(structure.atomic_numbers, 0.85 * structure.positions)
    found = reference().familiarity(shared_model(), shared_model().graph(shrunk, ("energy",)))
    assert bool(found.outside.all())
    assert float(found.excess.min()) > 2


def test_a_training_atom_is_its_own_nearest() -> None:
    found = reference().familiarity(shared_model(), distorted(17))
    assert found.frame.tolist() == [17] * 5
    assert found.atom.tolist() == [0, 1, 2, 3, 4]
    assert float(found.nearest.max()) < 1e-6
    assert found.describe(4).endswith("nearest: frame 17, atom 4")


def test_distances_are_those_of_the_elements_own_metric() -> None:
    graph = distorted(200)
    found = reference().familiarity(shared_model(), graph)
    features = trunk_features(shared_model(), graph)
    for atom, z in enumerate(graph.atomic_numbers.tolist()):
        element = reference().elements[z]
        metric = element.factor @ element.factor.mT
        difference = features[atom] - element.mean
        torch.testing.assert_close(
            found.mahalanobis[atom] ** 2, difference @ torch.linalg.solve(metric, difference), rtol=1e-6, atol=0
        )


def test_an_element_that_was_never_seen_is_infinitely_far() -> None:
    only = FeatureReference({6: reference().elements[6]}, 0.99)
    found = only.familiarity(shared_model(), distorted(0))
    carbon = distorted(0).atomic_numbers == 6
    assert bool(found.outside[~carbon].all())
    assert bool(found.excess[~carbon].isinf().all())
    assert bool(found.excess[carbon].isfinite().all())


def test_few_references_are_kept_and_the_thresholds_hold() -> None:
    graphs = [distorted(k) for k in range(60)]
    few = FeatureReference.of(shared_model(), graphs, max_references=10)
    assert all(len(element.references) == 10 for element in few.elements.values())
    assert few.elements[8].alone > reference().elements[8].alone, "the nearest of ten is further than of sixty"
    strict = FeatureReference.of(shared_model(), graphs, quantile=0.5)
    assert strict.elements[8].far < reference().elements[8].far


def test_state_makes_the_same_again() -> None:
    again = FeatureReference.from_state(*reference().state())
    ours, theirs = (one.familiarity(shared_model(), distorted(300)) for one in (reference(), again))
    torch.testing.assert_close(ours.excess, theirs.excess, rtol=1e-9, atol=0)  # sums over another memory layout
    assert torch.equal(ours.frame, theirs.frame)


def test_too_few_structures_are_refused() -> None:
    with pytest.raises(LabelError, match="H in 2 of 2 structures"):
        FeatureReference.of(shared_model(), [distorted(0), distorted(1)])
