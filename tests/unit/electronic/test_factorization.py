"""Dissection and the sparse L D L† against dense matrices."""

import numpy as np
import pytest
import torch

from adiabat.core.errors import ElectronicError
from adiabat.core.operators import BlockOperator, Spin
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.dissection import dissect, front_sizes
from adiabat.electronic.fermi_states import wrapped_coordinates
from adiabat.electronic.kpm import channels
from adiabat.electronic.multifrontal import SymmetricFactorization, estimate_factorization
from sparse_crystals import positions, repeated, sheet

K = [0.3, -0.2, 0.0]
REPEATS = (8, 8, 1)


def pencil(spin: Spin, k_frac: list[float] | None) -> tuple[Crystal, BlockOperator, BlockOperator]:
    crystal = repeated(sheet(spin, gap=1.0), REPEATS, disorder=0.3)
    h, s = channels(crystal, k_frac)[0]
    return crystal, h, s


@pytest.mark.parametrize("with_coordinates", [False, True])
def test_fronts_eliminate_each_atom_once_and_respect_all_couplings(with_coordinates: bool) -> None:
    crystal, h, _ = pencil("none", None)
    coordinates = wrapped_coordinates(positions(REPEATS), crystal.cell, crystal.periodic) if with_coordinates else None
    fronts = dissect(h, coordinates)
    assert len(fronts) >= 3
    order = np.concatenate([front.atoms for front in fronts])
    assert np.array_equal(np.sort(order), np.arange(h.n_atoms))
    turn = np.empty(h.n_atoms, dtype=np.int64)
    for index, front in enumerate(fronts):
        turn[front.atoms] = index
    for _, _, _, i, j in h.pairs.tolist():
        first, second = sorted((turn[i], turn[j]))
        later = i if turn[i] == second else j
        assert first == second or later in fronts[first].border
    # A plane of 192 atoms: the largest dense problem is well below the whole.
    assert front_sizes(fronts, h.n_orbitals).sum(axis=1).max() <= 0.75 * h.n_orbitals.sum()


def test_pieces_that_do_not_couple_need_no_separator() -> None:
    pairs = np.array([[0, 0, 0, i, i] for i in range(400)])
    operator = BlockOperator.from_blocks(pairs, [np.eye(1)] * 400, np.ones(400, dtype=np.int64))
    fronts = dissect(operator)
    assert len(fronts) == 400
    assert not any(len(front.border) for front in fronts)


@pytest.mark.parametrize(("spin", "k_frac"), [("none", None), ("none", K), ("spinor", None)])
def test_inertia_and_solutions_are_those_of_the_dense_matrix(spin: Spin, k_frac: list[float] | None) -> None:
    _, h, s = pencil(spin, k_frac)
    shifted = h.with_values(h.values - 0.1 * s.values)
    factor = SymmetricFactorization(shifted, dissect(h))
    dense = shifted.to_dense()
    assert factor.n_negative == (np.linalg.eigvalsh(dense) < 0).sum()
    right = np.random.default_rng(0).normal(size=(factor.n, 3))
    residual = dense @ factor.solve(right) - right
    # The smallest eigenvalue is about 1e-3 eV: rounding grows by its inverse.
    assert np.abs(residual).max() < 1e-9
    assert np.abs(dense @ factor.solve(right[::-1]) - right).max() > 1


def test_the_inertia_counts_the_states_below_any_energy() -> None:
    _, h, s = pencil("none", None)
    fronts = dissect(h)
    lower = np.linalg.cholesky(s.to_dense())
    transformed = np.linalg.solve(lower, np.linalg.solve(lower, h.to_dense()).T)
    energies = np.linalg.eigvalsh(transformed)
    for energy in (-3.0, -0.5, 0.7, 10.0):
        shifted = h.with_values(h.values - energy * s.values)
        counted = SymmetricFactorization(shifted, fronts, keep=False).n_negative
        assert counted == (energies < energy).sum()
    unshifted = SymmetricFactorization(h, fronts, keep=False).n_negative
    assert unshifted != (energies < 0.7).sum()


def test_pivots_of_two_are_counted() -> None:
    # A zero diagonal leaves Bunch–Kaufman only 2 × 2 pivots.
    pairs = np.array([[0, 0, 0, 0, 0]])
    block = np.array([[0.0, 2.0], [2.0, 0.0]])
    operator = BlockOperator.from_blocks(pairs, [block], np.array([2]))
    factor = SymmetricFactorization(operator, dissect(operator))
    assert factor.n_negative == 1
    assert np.allclose(factor.solve(np.array([[1.0], [4.0]])), [[2.0], [0.5]])


def test_memory_and_work_are_foretold_from_the_fronts() -> None:
    _, h, _ = pencil("none", None)
    fronts = dissect(h)
    factor = SymmetricFactorization(h, fronts)
    kept = estimate_factorization(fronts, h.n_orbitals, np.float64, keep=True)
    counted = estimate_factorization(fronts, h.n_orbitals, np.float64, keep=False)
    assert factor.n_bytes <= kept.n_bytes < 5 * factor.n_bytes
    assert counted.n_bytes < kept.n_bytes
    twice = estimate_factorization(fronts, h.n_orbitals, np.complex128, keep=True)
    assert twice.n_bytes == 2 * kept.n_bytes
    with pytest.raises(ElectronicError, match="GB of memory"):
        kept.require(1000)


def test_a_factorization_stops_between_fronts() -> None:
    _, h, _ = pencil("none", None)
    answers = iter([False, False, True])
    with pytest.raises(KeyboardInterrupt, match="front 2"):
        SymmetricFactorization(h, dissect(h), should_stop=lambda: next(answers))


def test_factors_that_were_not_kept_solve_nothing() -> None:
    _, h, _ = pencil("none", None)
    factor = SymmetricFactorization(h, dissect(h), keep=False)
    assert factor.n_bytes == 0
    with pytest.raises(AssertionError):
        factor.solve(np.zeros((factor.n, 1)))


def test_coordinates_are_wrapped_where_the_cell_repeats() -> None:
    cell = np.array([[4.0, 0, 0], [0, 3.0, 0], [0, 0, 0]])
    wrapped = wrapped_coordinates(np.array([[5.0, -1.0, 7.5]]), cell, np.array([True, True, False]))
    assert np.allclose(np.abs(wrapped), [[1.0, 2.0, 7.5]])
    assert torch.get_default_dtype() == torch.float32
