"""Invariant products: how many there are, that they do not depend on axes, and that none follows from the others."""

import numpy as np
import pytest
import torch

from adiabat.equivariant.wigner import wigner_d_all
from adiabat.models.ace_products import ProductTable, product_table
from small_models import orthogonal_matrix

N_RADIAL = (3, 2, 2, 1)


def values(table: ProductTable, components: np.ndarray) -> np.ndarray:
    """(n_components, n) to (n_features, n)."""
    found = np.zeros((table.n_features, components.shape[1]))
    np.add.at(found, table.feature, np.prod(components[table.factors], axis=1) * table.coefficients[:, None])
    return found


def components(n: int, seed: int = 0) -> np.ndarray:
    size = sum((2 * l + 1) * count for l, count in enumerate(N_RADIAL))
    return np.random.default_rng(seed).standard_normal((size, n))


def turned(given: np.ndarray, determinant: int) -> np.ndarray:
    d = wigner_d_all(len(N_RADIAL) - 1, torch.from_numpy(orthogonal_matrix(determinant)))
    return torch.block_diag(*[d[l] for l, count in enumerate(N_RADIAL) for _ in range(count)]).numpy() @ given


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("determinant", [1, -1], ids=["rotation", "reflection"])
def test_products_do_not_depend_on_the_axes(order: int, determinant: int) -> None:
    table = product_table(order, 4, 1, N_RADIAL)
    before = values(table, components(5))
    # products of four deviates and sums of some tens of terms, at 1e-16 each
    np.testing.assert_allclose(values(table, turned(components(5), determinant)), before, atol=1e-12)


def test_a_wrong_coupling_depends_on_the_axes() -> None:
    """Negative control."""
    table = product_table(3, 4, 1, N_RADIAL)
    table.coefficients[np.unique(table.factors[:, 0], return_index=True)[1][-1]] *= 1.01
    difference = values(table, turned(components(5), 1)) - values(table, components(5))
    assert np.abs(difference).max() > 1e-4


@pytest.mark.parametrize(("order", "degree"), [(2, 4), (3, 4), (4, 4)])
def test_no_feature_follows_from_the_others(order: int, degree: int) -> None:
    table = product_table(order, degree, 1, N_RADIAL)
    found = values(table, components(3 * table.n_features))
    assert np.linalg.matrix_rank(found, tol=1e-6) == table.n_features


def test_two_equal_vectors_have_one_invariant_of_four_factors() -> None:
    """(v·v)² alone, where the couplings to L = 0, 1, 2 of four equal vectors would give three."""
    table = product_table(4, 4, 1, (0, 1))
    assert table.n_features == 1
    vector = np.array([[0.3], [-1.0], [2.0]])
    # of unit norm as a symmetric tensor: (v·v)² times √(1/5)
    assert values(table, vector)[0, 0] == pytest.approx((0.09 + 1 + 4) ** 2 / 5**0.5)


def test_numbers_of_features_are_those_of_counting() -> None:
    """ν = 2: unordered pairs of radial functions of one l; ν = 3 with l = 0 only: multisets."""
    assert product_table(2, 100, 1, (3, 2)).n_features == 3 * 4 // 2 + 2 * 3 // 2
    assert product_table(3, 100, 1, (4,)).n_features == 20
    assert product_table(2, 100, 2, (3,)).n_features == 6 * 7 // 2
