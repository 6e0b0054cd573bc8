"""Padded blocks: which orbital stands where, and what is refused."""

import math

import numpy as np
import pytest

from adiabat.core.errors import BasisError, LabelError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.graph import build_graph
from adiabat.models.operator_layout import OperatorLayout, graph_pairs
from small_models import crystal, molecule

BASIS = OrbitalBasis("toy", {1: (0, 0, 1), 8: (0, 1, 0, 2, 1, 0)})
WATER = np.array([8, 1, 1])
PAIRS = np.array([[0, 0, 0, i, j] for i in range(3) for j in range(3) if i != j])


@pytest.fixture
def layout() -> OperatorLayout:
    return OperatorLayout(BASIS)


def operator() -> BlockOperator:
    n_orb = int(BASIS.n_orbitals(WATER).sum())
    return BlockOperator.from_dense(np.arange(1.0, n_orb**2 + 1).reshape(n_orb, n_orb), BASIS.n_orbitals(WATER))


def test_padded_shells_ascend_and_suffice_for_every_element(layout: OperatorLayout) -> None:
    assert layout.shells == (0, 0, 0, 1, 1, 2)
    assert layout.n_padded == 14


def test_hydrogen_takes_the_first_shells_of_each_l(layout: OperatorLayout) -> None:
    assert np.flatnonzero(layout.orbital_mask(np.array([1]))[0]).tolist() == [0, 1, 3, 4, 5]
    assert layout.orbital_mask(np.array([8])).all()


def test_shells_out_of_order_find_their_place(layout: OperatorLayout) -> None:
    onsite, _ = layout.pack(operator(), WATER, PAIRS)
    # oxygen's orbitals s p p p s d d d d d p p p s stand at padded 0, 3 4 5, 1, 9 … 13, 6 7 8, 2
    places = [0, 3, 4, 5, 1, 9, 10, 11, 12, 13, 6, 7, 8, 2]
    assert np.array_equal(onsite[0][np.ix_(places, places)], operator().to_dense()[:14, :14])


def test_a_missing_pair_is_named(layout: OperatorLayout) -> None:
    wanted = np.concatenate([PAIRS, [[0, 0, 1, 0, 2]]])
    with pytest.raises(LabelError, match=r"\[0, 0, 1, 0, 2\]") as error:
        layout.pack(operator(), WATER, wanted)
    assert "pair_radius" in error.value.suggestion


def test_an_operator_of_another_basis_is_refused(layout: OperatorLayout) -> None:
    with pytest.raises(LabelError, match="orbitals on its atoms"):
        layout.pack(operator(), WATER[[1, 0, 2]], PAIRS)


def test_an_element_outside_the_basis_is_refused(layout: OperatorLayout) -> None:
    with pytest.raises(BasisError, match="atomic number 6"):
        layout.orbital_mask(np.array([8, 6]))


def test_no_pairs_at_all(layout: OperatorLayout) -> None:
    onsite, pair = layout.pack(operator(), WATER, np.zeros((0, 5), dtype=np.int64))
    assert onsite.shape == (3, 14, 14)
    assert pair.shape == (0, 14, 14)
    assert len(layout.unpack(onsite, pair, WATER, np.zeros((0, 5), dtype=np.int64))) == 3


@pytest.mark.parametrize("periodic", [False, True])
def test_pair_list_of_a_graph(periodic: bool) -> None:
    structure, radius = (crystal(), 4.0) if periodic else (molecule(), math.inf)
    graph = build_graph(structure, 3.0, pair_radius=radius)
    pairs = graph_pairs(graph.pair_index, graph.pair_shift)
    assert pairs.shape == (graph.pair_index.shape[1], 5)
    partners = {tuple(row) for row in np.concatenate([-pairs[:, :3], pairs[:, [4, 3]]], axis=1)}
    assert partners == {tuple(row) for row in pairs}
    assert pairs[:, :3].any() == periodic
