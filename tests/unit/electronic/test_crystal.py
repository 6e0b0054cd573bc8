"""A crystal refuses what no electronic structure follows from, with the number."""

from dataclasses import replace

import numpy as np
import pytest

from adiabat.core.errors import ElectronicError, LabelError
from adiabat.core.operators import BlockOperator
from adiabat.electronic.bands import solve_bands
from adiabat.electronic.crystal import Crystal, crystal_from_matrices
from known_crystals import GRAPHENE_CELL, PLANE, chain, graphene, spin_orbit_crystal


def test_counts_follow_from_the_operators() -> None:
    plain, spinor = graphene(), spin_orbit_crystal()
    assert (plain.n_orb, plain.n_basis, plain.n_channels, plain.max_occupation) == (2, 2, 1, 2)
    assert (spinor.n_orb, spinor.n_basis, spinor.n_channels, spinor.max_occupation) == (2, 4, 1, 1)
    assert plain.orbital_atoms.tolist() == [0, 1]
    assert plain.measure == pytest.approx(1.5 * np.sqrt(3) * 1.42**2)


def test_a_hamiltonian_that_is_not_hermitian_is_refused_with_the_place_and_the_number() -> None:
    good = chain()
    values = good.hamiltonian.values.copy()
    values[-1] += 0.25
    with pytest.raises(ElectronicError, match=r"\[1, 0, 0, 0, 0\].*0\.25 eV|\[-1, 0, 0, 0, 0\].*0\.25 eV"):
        replace(good, hamiltonian=good.hamiltonian.with_values(values))


def test_values_that_are_not_numbers_are_refused() -> None:
    good = chain()
    with pytest.raises(ElectronicError, match="nan"):
        replace(good, hamiltonian=good.hamiltonian.with_values(good.hamiltonian.values * np.nan))


def test_a_pair_without_its_reverse_is_refused() -> None:
    pairs = np.array([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    one = BlockOperator.from_blocks(pairs, np.ones((2, 1, 1)), np.array([1]))
    with pytest.raises(LabelError, match="without their reverse"):
        Crystal(one, one, np.eye(3), np.array([True, False, False]), 1.0)


def test_an_overlap_with_spin_is_refused() -> None:
    good = chain()
    doubled = good.overlap.with_values(np.stack([good.overlap.values] * 2), "collinear")
    with pytest.raises(ElectronicError, match="collinear"):
        replace(good, overlap=doubled)


def test_other_pairs_and_other_orbitals_are_refused() -> None:
    with pytest.raises(ElectronicError, match="differ"):
        replace(chain(), overlap=chain().overlap.on_pairs(np.array([[0, 0, 0, 0, 0]])))
    with pytest.raises(ElectronicError, match="S with 2 on 2"):
        replace(chain(), overlap=graphene().overlap)


@pytest.mark.parametrize("n_electrons", [0.0, -1.0, 4.5, float("nan")])
def test_an_impossible_electron_count_is_refused(n_electrons: float) -> None:
    with pytest.raises(ElectronicError, match=f"{n_electrons:g} electrons"):
        replace(graphene(), n_electrons=n_electrons)


def test_a_flat_cell_and_blocks_across_a_surface_are_refused() -> None:
    with pytest.raises(ElectronicError, match="linearly independent"):
        replace(graphene(), cell=GRAPHENE_CELL[[0, 0, 2]])
    with pytest.raises(ElectronicError, match="R = 0 along"):
        replace(graphene(), periodic=np.array([True, False, False]))


def test_an_overlap_that_is_not_positive_is_refused_with_the_k() -> None:
    # 1 + 2 s cos ka = 1 − 1.2 at the zone's edge.
    with pytest.raises(ElectronicError, match=r"λ_min\(S\) = -0\.2 in S\(k\) at k = \(0\.5, 0, 0\)"):
        solve_bands(chain(overlap=0.6), np.array([[0.0, 0, 0], [0.5, 0, 0]]))


def test_time_reversal_is_recognised() -> None:
    assert graphene().has_time_reversal
    assert not graphene(next_hopping=0.1j).has_time_reversal
    assert spin_orbit_crystal().has_time_reversal
    assert spin_orbit_crystal(exchange=0.3).time_reversal_error > 0.1


def test_matrices_may_leave_out_what_is_the_adjoint_of_others() -> None:
    half = crystal_from_matrices(
        [(0, 0, 0), (1, 0, 0)], [np.eye(2), [[0, 1j], [2, 0]]], GRAPHENE_CELL, 1, periodic=PLANE
    )
    assert half.hamiltonian.hermiticity_error() == 0.0
    assert len(half.hamiltonian) == 3 * 4
