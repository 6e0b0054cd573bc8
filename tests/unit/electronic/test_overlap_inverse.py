import numpy as np
import pytest
import torch

from adiabat.core.errors import ElectronicError
from adiabat.core.operators import BlockOperator
from adiabat.electronic.chebyshev import (
    Interval,
    apply_polynomial,
    coefficients,
    evaluate,
    inverse_polynomial,
)
from adiabat.electronic.folded import folded
from adiabat.electronic.orthogonalized import OrthogonalizedHamiltonian
from adiabat.electronic.overlap_factor import overlap_factor, transposed
from adiabat.electronic.resources import Estimate, available_memory
from sparse_crystals import repeated, sheet

K = [0.3, -0.2, 0.0]


@pytest.mark.parametrize("k_frac", [None, K])
def test_the_factor_brings_the_overlap_near_one(k_frac: list[float] | None) -> None:
    s = folded(repeated(sheet(), (3, 3, 1)).overlap, k_frac)
    dense, factor = s.to_dense(), overlap_factor(s)
    g = factor.to_dense()
    near_one = g @ dense @ g.conj().T
    assert np.allclose(np.diag(near_one), 1, atol=1e-12)
    assert not np.any(factor.pairs[:, 4] > factor.pairs[:, 3])
    assert np.linalg.cond(near_one) < 0.8 * np.linalg.cond(dense)
    assert np.array_equal(transposed(factor).to_dense(), g.conj().T)


def test_the_factor_is_exact_where_it_connects_all_atoms() -> None:
    s = folded(sheet().overlap)
    g = overlap_factor(s, strength=0.0).to_dense()
    assert np.allclose(g.T @ g @ s.to_dense(), np.eye(8), atol=1e-12)
    coarse = overlap_factor(s, strength=0.5).to_dense()
    assert not np.allclose(coarse.T @ coarse @ s.to_dense(), np.eye(8), atol=1e-2)


def test_the_inverse_polynomial_deviates_as_it_says() -> None:
    interval = Interval(0.7, 1.9)
    x = np.linspace(interval.low, interval.high, 2001)
    for degree in (1, 2, 5, 8):
        c, deviation = inverse_polynomial(interval, degree)
        reached = np.abs(1 - x * evaluate(c, interval, x)).max()
        # Equal to rounding: the largest deviation is taken at both ends.
        assert np.isclose(reached, deviation, rtol=1e-9)


def test_polynomials_of_matrices_are_those_of_their_eigenvalues() -> None:
    matrix = torch.diag(torch.linspace(0.5, 2.0, 7, dtype=torch.float64))
    interval = Interval(0.4, 2.2)
    for function, degree in ((np.exp, 16), (lambda x: 3 * x**2 - x + 1, 2), (lambda x: 0 * x + 2.0, 0)):
        c = coefficients(function, interval, degree)
        applied = apply_polynomial(c, interval, lambda x: matrix @ x, torch.ones(7, 1, dtype=torch.float64))
        assert np.allclose(applied[:, 0].numpy(), function(matrix.diagonal().numpy()), atol=1e-10)


@pytest.mark.parametrize("k_frac", [None, K])
def test_the_spectra_are_enclosed(k_frac: list[float] | None) -> None:
    crystal = repeated(sheet(), (3, 3, 1))
    h, s = folded(crystal.hamiltonian, k_frac), folded(crystal.overlap, k_frac)
    dtype = torch.complex128 if k_frac else torch.float64
    operator = OrthogonalizedHamiltonian(h, s, reference=1.0, inverse_error=1e-8, dtype=dtype)
    lower = np.linalg.cholesky(s.to_dense())
    half = np.linalg.solve(lower, h.to_dense())
    energies = np.linalg.eigvalsh(np.linalg.solve(lower, half.conj().T)) - 1.0
    width = energies[-1] - energies[0]
    assert energies[0] - 0.05 * width < operator.spectrum.low < energies[0]
    assert energies[-1] < operator.spectrum.high < energies[-1] + 0.05 * width
    assert operator.inverse_error <= 1e-8


def test_an_overlap_that_nothing_inverts() -> None:
    pairs = np.array([[0, 0, 0, i, j] for i in range(2) for j in range(2)])
    ones = np.ones(2, dtype=np.int64)
    blocks = [np.array([[1.0 if i == j else 1.5]]) for i in range(2) for j in range(2)]
    with pytest.raises(ElectronicError, match="positive definite"):
        overlap_factor(BlockOperator.from_blocks(pairs, blocks, ones))


def test_nearly_dependent_orbitals_are_refused_with_their_condition_number() -> None:
    # A ring whose neighbors overlap by 0.5, but connected by G to nothing: λ_min(S) is 0.
    n = 12
    pairs = np.array([[0, 0, 0, i, (i + d) % n] for i in range(n) for d in (-1, 0, 1)])
    blocks = [np.array([[1.0 if i == j else 0.4999999]]) for _, _, _, i, j in pairs]
    s = BlockOperator.from_blocks(pairs, blocks, np.ones(n, dtype=np.int64))
    with pytest.raises(ElectronicError, match=r"condition number|reaches down"):
        OrthogonalizedHamiltonian(s, s, reference=0.0, inverse_error=1e-6, dtype=torch.float64)


def test_memory_is_refused_beyond_the_limit_and_granted_within() -> None:
    estimate = Estimate("a test", 2 * 10**9, 1e9, 1.0)
    estimate.require(3 * 10**9)
    with pytest.raises(ElectronicError, match="2 GB of memory"):
        estimate.require(10**9)
    with pytest.raises(ElectronicError, match="what is free"):
        Estimate("a test", 2**60, 1e9, 1.0).require()
    assert 2**20 < available_memory() < 2**50
