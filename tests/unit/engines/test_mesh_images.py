import numpy as np
import pytest

from adiabat.data.structure import Structure
from adiabat.engines.kpoints import mesh_points
from adiabat.engines.mesh_images import mesh_for_reach, operator_from_mesh
from adiabat.engines.mid_gap import dense_bloch_matrix
from adiabat.physics.crystal_overlap import crystal_overlap
from adiabat.physics.gaussian_basis import GaussianBasis

BASIS = GaussianBasis("two", {5: "B two\n1\n2 0 1 1 1 1\n0.5 1.0 1.0", 7: "N two\n1\n2 0 0 1 1\n0.6 1.0"})
LAYER = Structure(
    np.array([5, 7]),
    np.array([[0.1, 0.0, 0.3], [8.9, 0.3, -0.1]]),  # the second atom in another cell
    np.array([[3.0, 0.2, 0.0], [-1.4, 2.7, 0.0], [0.0, 0.0, 12.0]]),
    np.array([True, True, False]),
)
EXACT = crystal_overlap(LAYER, BASIS, threshold=1e-12)
N_ORBITALS = np.array([4, 1])


def from_mesh(mesh):
    matrices = np.stack([dense_bloch_matrix(EXACT, k) for k in mesh_points(mesh)])
    return operator_from_mesh(matrices, mesh, LAYER, N_ORBITALS, 1e-9)


def between_error(operator) -> float:
    k = np.array([0.13, 0.31, 0.0])
    return float(np.abs(dense_bloch_matrix(operator, k) - dense_bloch_matrix(EXACT, k)).max())


def test_a_mesh_as_fine_as_the_reach_gives_the_operator_back():
    mesh = mesh_for_reach(LAYER, BASIS.reach(5, 5, 1e-6))
    assert mesh[2] == 1
    assert all(n % 2 for n in mesh)
    operator = from_mesh(mesh)
    assert between_error(operator) < 1e-5
    assert np.abs(operator.on_pairs(EXACT.pairs).values - EXACT.values).max() < 1e-6


def test_a_coarse_mesh_does_not():
    """Negative control, and the size of what is lost."""
    assert between_error(from_mesh((2, 1, 1))) > 1e-3


@pytest.mark.parametrize("mesh", [(3, 3, 1), (2, 4, 1), (1, 1, 1)])
def test_it_is_hermitian_and_exact_on_its_mesh_whatever_the_mesh(mesh):
    operator = from_mesh(mesh)
    assert operator.hermiticity_error() < 1e-12
    for k in mesh_points(mesh):
        assert np.abs(dense_bloch_matrix(operator, k) - dense_bloch_matrix(EXACT, k)).max() < 1e-7


def test_copies_at_one_distance_share():
    square = Structure(np.array([7]), np.zeros((1, 3)), np.diag([2.0, 2.0, 9.0]), np.array([True, True, False]))
    exact = crystal_overlap(square, BASIS)
    matrices = np.stack([dense_bloch_matrix(exact, k) for k in mesh_points((2, 2, 1))])
    operator = operator_from_mesh(matrices, (2, 2, 1), square, np.array([1]), 0.0)
    by_pair = {tuple(int(x) for x in pair[:2]): float(block[0, 0]) for pair, block in operator.blocks()}
    assert set(by_pair) == {(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)}
    assert by_pair[1, 0] == by_pair[-1, 0] == pytest.approx(by_pair[0, 1], rel=1e-12)
