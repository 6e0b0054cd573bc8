import math

import pytest
import torch

from adiabat.core.errors import ElectronicError
from adiabat.electronic.eigenproblem import solve_generalized
from adiabat.electronic.similarity import coefficient_cosine, orbital_similarity

OVERLAP = torch.tensor([[1.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 1.0]], dtype=torch.float64)
ENERGIES = torch.tensor([-2.0, -1.0, 3.0], dtype=torch.float64)


def orthonormal_orbitals() -> torch.Tensor:
    return solve_generalized(torch.diag(ENERGIES), OVERLAP).coefficients


def mixed(coefficients: torch.Tensor, angle: float) -> torch.Tensor:
    """Rotate the first two orbitals into each other."""
    c, s = math.cos(angle), math.sin(angle)
    first, second, third = coefficients.unbind(1)
    return torch.stack([c * first + s * second, c * second - s * first, third], dim=1)


def test_an_orbital_is_itself_whatever_its_sign() -> None:
    orbitals = orthonormal_orbitals()
    signs = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    ones = torch.ones(2, dtype=torch.float64)
    torch.testing.assert_close(orbital_similarity(orbitals * signs, orbitals, ENERGIES, OVERLAP, 2), ones)
    torch.testing.assert_close(coefficient_cosine(orbitals * signs, orbitals, 2), ones)


def test_mixing_distinct_orbitals_costs_the_cosine() -> None:
    orbitals = orthonormal_orbitals()
    similarity = orbital_similarity(mixed(orbitals, 0.5), orbitals, ENERGIES, OVERLAP, 2)
    assert similarity.tolist() == pytest.approx([math.cos(0.5)] * 2, abs=1e-12)


def test_mixing_degenerate_orbitals_costs_nothing() -> None:
    orbitals = orthonormal_orbitals()
    degenerate = torch.tensor([-2.0, -2.0 + 1e-5, 3.0], dtype=torch.float64)
    similarity = orbital_similarity(mixed(orbitals, 0.5), orbitals, degenerate, OVERLAP, 2)
    torch.testing.assert_close(similarity, torch.ones(2, dtype=torch.float64))
    assert (coefficient_cosine(mixed(orbitals, 0.5), orbitals, 2) < 0.95).all()


@pytest.mark.parametrize("n_occupied", [0, 4])
def test_a_count_that_cannot_be_is_refused(n_occupied: int) -> None:
    with pytest.raises(ElectronicError, match="occupied"):
        orbital_similarity(OVERLAP, OVERLAP, ENERGIES, OVERLAP, n_occupied)
