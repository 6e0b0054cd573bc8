from math import cos, sin

import pytest
import torch

from adiabat.equivariant.bond_blocks import BondBlockBasis, bond_block_basis
from adiabat.equivariant.wigner import wigner_d_all

SHELLS = [(0,), (0, 1), (1, 2), (0, 0, 1, 1, 2, 3)]
ROUNDING = 1e-13


def orbital_rotation(shells: tuple[int, ...], rotation: torch.Tensor) -> torch.Tensor:
    d = wigner_d_all(max(shells), rotation)
    return torch.block_diag(*[d[l] for l in shells])


def transformed(basis: BondBlockBasis, coefficients: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    block = (coefficients @ basis.matrix).unflatten(-1, turn.shape)
    return (turn @ block @ turn.T).flatten() @ basis.matrix.T


def pairs_of(basis: BondBlockBasis, coefficients: torch.Tensor) -> list[tuple[int, torch.Tensor, torch.Tensor]]:
    sizes = [2 * n for n in basis.n_pairs]
    parts = coefficients[basis.n_even + basis.n_odd :].split(sizes)
    return [(m, *part.chunk(2)) for m, part in enumerate(parts, start=1)]


def random_coefficients(basis: BondBlockBasis) -> torch.Tensor:
    return torch.randn(len(basis.matrix), dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shells", SHELLS)
def test_orthogonal_and_complete(shells: tuple[int, ...]) -> None:
    basis = bond_block_basis(shells)
    n_orb = sum(2 * l + 1 for l in shells)
    assert basis.matrix.shape == (n_orb**2, n_orb**2)
    assert basis.n_even + basis.n_odd + 2 * sum(basis.n_pairs) == n_orb**2
    unity = torch.eye(n_orb**2, dtype=torch.float64)
    torch.testing.assert_close(basis.matrix @ basis.matrix.T, unity, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("shells", SHELLS)
def test_coefficients_turn_with_their_m_about_the_bond(shells: tuple[int, ...]) -> None:
    basis = bond_block_basis(shells)
    before = random_coefficients(basis)
    angle = 0.7
    turn = torch.tensor([[cos(angle), -sin(angle), 0], [sin(angle), cos(angle), 0], [0, 0, 1]], dtype=torch.float64)
    after = transformed(basis, before, orbital_rotation(shells, turn))
    n_fixed = basis.n_even + basis.n_odd
    torch.testing.assert_close(after[:n_fixed], before[:n_fixed], atol=ROUNDING, rtol=0)
    for (m, c, s), (_, c_after, s_after) in zip(pairs_of(basis, before), pairs_of(basis, after), strict=True):
        torch.testing.assert_close(c_after, cos(m * angle) * c - sin(m * angle) * s, atol=ROUNDING, rtol=0)
        torch.testing.assert_close(s_after, sin(m * angle) * c + cos(m * angle) * s, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("shells", SHELLS)
def test_a_mirror_that_holds_the_bond_changes_the_sign_of_odd_ones(shells: tuple[int, ...]) -> None:
    basis = bond_block_basis(shells)
    before = random_coefficients(basis)
    mirror = orbital_rotation(shells, torch.diag(torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)))
    after = transformed(basis, before, mirror)
    even, odd = before[: basis.n_even], before[basis.n_even : basis.n_even + basis.n_odd]
    torch.testing.assert_close(after[: basis.n_even], even, atol=ROUNDING, rtol=0)
    torch.testing.assert_close(after[basis.n_even : basis.n_even + basis.n_odd], -odd, atol=ROUNDING, rtol=0)
    for (_, c, s), (_, c_after, s_after) in zip(pairs_of(basis, before), pairs_of(basis, after), strict=True):
        torch.testing.assert_close(c_after, c, atol=ROUNDING, rtol=0)
        torch.testing.assert_close(s_after, -s, atol=ROUNDING, rtol=0)


def test_slater_koster_integrals_of_two_p_shells() -> None:
    """A two-centre p-p block is diag(π, σ, π) in order (y, z, x): two even M = 0 coefficients and nothing else."""
    basis = bond_block_basis((1,))
    coefficients = torch.diag(torch.tensor([-0.5, 2.0, -0.5], dtype=torch.float64)).flatten() @ basis.matrix.T
    expected = torch.tensor([2.0, -0.5 * 2**0.5], dtype=torch.float64)
    torch.testing.assert_close(coefficients[: basis.n_even], expected, atol=ROUNDING, rtol=0)
    torch.testing.assert_close(coefficients[basis.n_even :], torch.zeros(7).double(), atol=ROUNDING, rtol=0)
