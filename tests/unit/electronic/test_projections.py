"""Shares of orbitals in states."""

import numpy as np
import pytest
import torch

from adiabat.core.errors import ElectronicError
from adiabat.electronic.bands import solve_bands
from adiabat.electronic.crystal import Crystal, crystal_from_matrices
from adiabat.electronic.projections import grouped_weights, orbital_weights, spin_expectation
from known_crystals import changed_basis, graphene, random_change, random_matrices, spin_orbit_crystal

K = np.random.default_rng(0).random((4, 3))
CELL = np.diag([2.0, 3.0, 0.0])


def non_orthogonal() -> Crystal:
    return changed_basis(random_matrices(3, 0), np.zeros((3, 3)), random_change(3, 1), CELL)[0]


@pytest.mark.parametrize("kind", ["mulliken", "loewdin"])
@pytest.mark.parametrize("crystal", [non_orthogonal(), spin_orbit_crystal(), graphene(overlap=0.1, mass=0.2)])
def test_shares_add_up_to_one(crystal: Crystal, kind: str) -> None:
    states = solve_bands(crystal, K, coefficients=True)
    weights = orbital_weights(states, crystal, kind)  # type: ignore[arg-type]
    assert weights.shape == (1, 4, crystal.n_orb, crystal.n_basis)
    torch.testing.assert_close(weights.sum(2), torch.ones_like(states.energies), atol=1e-12, rtol=0)
    # Without the overlap they would not.
    assert states.coefficients is not None
    bare = states.coefficients.abs().square().sum(2)
    assert float((bare - 1).abs().max()) > 1e-2


def test_shares_follow_the_state_from_one_sublattice_to_the_other() -> None:
    # At K the two atoms of graphene do not couple: −mass is all on the second atom.
    crystal = graphene(mass=0.3)
    states = solve_bands(crystal, np.array([[1 / 3, -1 / 3, 0.0]]), coefficients=True)
    weights = orbital_weights(states, crystal)[0, 0]
    torch.testing.assert_close(weights, torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64), atol=1e-12, rtol=0)


def test_groups_are_added_up() -> None:
    crystal = non_orthogonal()
    weights = orbital_weights(solve_bands(crystal, K, coefficients=True), crystal)
    grouped = grouped_weights(weights, np.array([1, -1, 1]), 2)
    torch.testing.assert_close(grouped[:, :, 1], weights[:, :, 0] + weights[:, :, 2])
    assert not grouped[:, :, 0].any()
    with pytest.raises(ElectronicError, match="2 group labels for 3 orbitals"):
        grouped_weights(weights, np.array([0, 1]))


def test_spins_of_a_rotated_field_point_along_it() -> None:
    # One orbital in a field b·σ: the lower state's spin is −b.
    field = np.array([0.3, -0.5, 0.8])
    x, y, z = field
    blocks = [np.array([z, x - 1j * y, x + 1j * y, -z]).reshape(4, 1, 1)]
    crystal = crystal_from_matrices([(0, 0, 0)], blocks, np.eye(3), 1.0, spin="spinor")
    spins = spin_expectation(solve_bands(crystal, K, coefficients=True), crystal)
    direction = torch.from_numpy(field / np.linalg.norm(field))
    torch.testing.assert_close(spins[0], torch.stack([-direction, direction]), atol=1e-12, rtol=0)


def test_spins_are_opposite_at_opposite_k() -> None:
    crystal = spin_orbit_crystal()
    here, there = (spin_expectation(solve_bands(crystal, k, coefficients=True), crystal) for k in (K, -K))
    torch.testing.assert_close(there, -here, atol=1e-11, rtol=0)
    assert float(here.norm(dim=-1).max()) <= 1 + 1e-12
    assert float(here.norm(dim=-1).max()) > 0.1
    with pytest.raises(ElectronicError, match="'none'"):
        spin_expectation(solve_bands(graphene(), K, coefficients=True), graphene())
