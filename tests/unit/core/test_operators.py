import numpy as np
import pytest

from adiabat.core.errors import LabelError
from adiabat.core.operators import BlockOperator

N_ORBITALS = np.array([1, 3, 2], dtype=np.int64)


def random_matrix(n: int = 6) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, n))


def test_dense_round_trip() -> None:
    matrix = random_matrix()
    operator = BlockOperator.from_dense(matrix, N_ORBITALS)
    assert len(operator) == 9
    np.testing.assert_array_equal(operator.to_dense(), matrix)


def test_blocks_stand_where_their_atoms_are() -> None:
    matrix = random_matrix()
    operator = BlockOperator.from_dense(matrix, N_ORBITALS)
    starts = np.concatenate([[0], np.cumsum(N_ORBITALS)])
    for (_, _, _, i, j), block in operator.blocks():
        np.testing.assert_array_equal(block, matrix[starts[i] : starts[i + 1], starts[j] : starts[j + 1]])


def test_pairs_are_sorted() -> None:
    pairs = BlockOperator.from_dense(random_matrix(), N_ORBITALS).pairs.tolist()
    assert pairs == sorted(pairs)


def test_hermiticity_error() -> None:
    matrix = random_matrix()
    symmetric = BlockOperator.from_dense(matrix + matrix.T, N_ORBITALS)
    assert symmetric.hermiticity_error() == 0
    skewed = BlockOperator.from_dense(matrix, N_ORBITALS)
    assert skewed.hermiticity_error() == pytest.approx(np.abs(matrix - matrix.T).max())


def test_a_block_without_partner_is_no_hermitian_operator() -> None:
    pairs = np.array([[0, 0, 0, 0, 0], [0, 0, 1, 0, 0]], dtype=np.int64)
    operator = BlockOperator(pairs, np.array([0, 1, 2]), np.ones(2), np.array([1]))
    assert operator.hermiticity_error() == np.inf


def test_periodic_operator_has_no_dense_matrix() -> None:
    pairs = np.array([[0, 0, -1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 1, 0, 0]], dtype=np.int64)
    operator = BlockOperator(pairs, np.arange(4), np.array([0.5, 1.0, 0.5]), np.array([1]))
    assert operator.hermiticity_error() == 0
    with pytest.raises(LabelError, match="other cells"):
        operator.to_dense()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(LabelError, match=r"\(6, 6\)"):
        BlockOperator.from_dense(random_matrix(5), N_ORBITALS)
    operator = BlockOperator.from_dense(random_matrix(), N_ORBITALS)
    with pytest.raises(LabelError, match="36 values in all"):
        operator.with_values(operator.values[:-1])


def test_missing_pairs_are_zero_in_the_dense_matrix() -> None:
    operator = BlockOperator(np.array([[0, 0, 0, 1, 0]]), np.array([0, 2]), np.array([1.0, 2.0]), np.array([1, 2]))
    np.testing.assert_array_equal(operator.to_dense(), [[0, 0, 0], [1, 0, 0], [2, 0, 0]])


def test_a_sum_is_over_the_pairs_of_both() -> None:
    counts = np.array([1, 2])
    matrix = np.arange(9.0).reshape(3, 3)
    full = BlockOperator.from_dense(matrix, counts)
    first = BlockOperator(full.pairs[:1], full.offsets[:2], full.values[:1], counts)  # only the pair (0, 0)
    expected = matrix.copy()
    expected[0, 0] *= 2
    assert np.array_equal((full + first).to_dense(), expected)
    with pytest.raises(LabelError, match="orbitals on their atoms"):
        full + BlockOperator.from_dense(matrix, np.array([2, 1]))
