"""Meshes of k, and meshes that are too coarse."""

import numpy as np
import pytest
import torch

from adiabat.core.errors import ElectronicError
from adiabat.core.operators import BlockOperator
from adiabat.electronic.kpoints import check_mesh, mesh_size, monkhorst_pack, reciprocal_vectors
from known_crystals import chain, graphene


@pytest.mark.parametrize("size", [(4, 4, 1), (3, 5, 2), (1, 1, 1)])
@pytest.mark.parametrize("gamma_centred", [True, False])
def test_half_a_mesh_stands_for_all_of_it(size: tuple[int, int, int], gamma_centred: bool) -> None:
    whole = monkhorst_pack(size, gamma_centred=gamma_centred, time_reversal=False)
    half = monkhorst_pack(size, gamma_centred=gamma_centred)
    assert len(whole) == np.prod(size)
    assert float(half.weights.sum()) == pytest.approx(1.0, abs=1e-15)
    # Each point of the whole mesh is its place in the half one, or the negative of it, up to a reciprocal vector.
    there = half.k_frac[half.full_index]
    same = (whole.k_frac - there) - (whole.k_frac - there).round()
    negative = (whole.k_frac + there) - (whole.k_frac + there).round()
    assert float(torch.minimum(same.abs().amax(1), negative.abs().amax(1)).max()) < 1e-14
    np.testing.assert_allclose(torch.bincount(half.full_index) / np.prod(size), half.weights)


def test_known_meshes() -> None:
    assert len(monkhorst_pack((4, 4, 4))) == 36
    assert monkhorst_pack((2, 1, 1), time_reversal=False).k_frac[:, 0].tolist() == [0.0, 0.5]
    assert monkhorst_pack((2, 1, 1), gamma_centred=False).k_frac[:, 0].tolist() == [-0.25]


def test_a_mesh_follows_from_a_spacing() -> None:
    cell, periodic = np.diag([2.0, 5.0, 0.0]), np.array([True, True, False])
    # Reciprocal vectors of 3.14 and 1.26 / Å.
    assert mesh_size(cell, periodic, 0.3) == (11, 5, 1)
    assert mesh_size(cell, periodic, np.pi / 4) == (4, 2, 1)
    skew = np.array([[2.0, 0, 0], [1.0, 3.0, 0], [0.3, 0.2, 4.0]])
    np.testing.assert_allclose(reciprocal_vectors(skew, np.ones(3, bool)) @ skew.T, 2 * np.pi * np.eye(3), atol=1e-14)


def test_a_coarse_mesh_is_told_with_the_numbers() -> None:
    pairs = np.array([[x, 0, 0, 0, 0] for x in range(-2, 3)])
    operator = BlockOperator.from_blocks(pairs, np.ones((5, 1, 1)), np.array([1]))
    assert check_mesh((5, 1, 1), operator).is_fine_enough
    coarse = check_mesh((4, 1, 1), operator)
    # −2 and 2 are one image in a supercell of 4.
    assert (coarse.n_aliased, coarse.reach, coarse.smallest_size) == (2, (2, 0, 0), (5, 1, 1))
    with pytest.raises(ElectronicError, match=r"4×1×1 k-mesh.* 2 blocks.*5×1×1"):
        coarse.require()
    assert check_mesh((3, 3, 1), graphene().hamiltonian).is_fine_enough


def test_the_check_tells_what_a_mesh_can_give_back() -> None:
    # H(k) on a mesh, summed back: exact where the check says so, folded where it does not.
    crystal = chain(-1.0)
    for n, is_fine in ((3, True), (2, False)):
        k = np.arange(n) / n
        back = np.mean(-2 * np.cos(2 * np.pi * k) * np.exp(-2j * np.pi * k))
        assert check_mesh((n, 1, 1), crystal.hamiltonian).is_fine_enough == is_fine
        assert (abs(back + 1.0) < 1e-14) == is_fine


@pytest.mark.parametrize("size", [(0, 1, 1), (2, 2)])
def test_impossible_meshes_are_refused(size: tuple[int, int, int]) -> None:
    with pytest.raises(ElectronicError, match="k-mesh of size"):
        monkhorst_pack(size)
    with pytest.raises(ElectronicError, match="k spacing"):
        mesh_size(np.eye(3), np.ones(3, bool), 0.0)
