"""Packing an operator into padded blocks and back, over random bases, elements and pair lists."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.models.operator_layout import OperatorLayout

shells = st.lists(st.integers(0, 3), min_size=1, max_size=5).map(tuple)


@st.composite
def operators(draw: st.DrawFn) -> tuple[OrbitalBasis, np.ndarray, BlockOperator]:
    """A basis of unordered shells, atoms of its elements, and an operator with a random set of pairs and images."""
    basis = OrbitalBasis("random", draw(st.dictionaries(st.integers(1, 94), shells, min_size=1, max_size=4)))
    numbers = np.array(draw(st.lists(st.sampled_from(sorted(basis.shells)), min_size=1, max_size=4)))
    atom, cell = st.integers(0, len(numbers) - 1), st.integers(-3, 3)
    extra = draw(st.sets(st.tuples(cell, cell, cell, atom, atom), max_size=8))
    home = {(0, 0, 0, i, i) for i in range(len(numbers))}
    pairs = np.array(sorted(home | extra), dtype=np.int64)
    n_orbitals = basis.n_orbitals(numbers)
    offsets = np.concatenate([[0], np.cumsum(n_orbitals[pairs[:, 3]] * n_orbitals[pairs[:, 4]])])
    values = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).standard_normal(offsets[-1])
    return basis, numbers, BlockOperator(pairs, offsets, values, n_orbitals)


def off_site(operator: BlockOperator) -> np.ndarray:
    home = (operator.pairs[:, 3] == operator.pairs[:, 4]) & ~operator.pairs[:, :3].any(axis=1)
    return operator.pairs[~home]


@settings(max_examples=60, deadline=None)
@given(operators(), st.randoms(use_true_random=False))
def test_unpack_undoes_pack_in_any_order_of_pairs(case: tuple, random: np.random.Generator) -> None:
    basis, numbers, operator = case
    layout = OperatorLayout(basis)
    pairs = off_site(operator)
    order = list(range(len(pairs)))
    random.shuffle(order)
    onsite, pair = layout.pack(operator, numbers, pairs[order])
    again = layout.unpack(onsite, pair, numbers, pairs[order])
    assert np.array_equal(again.pairs, operator.pairs)
    assert np.array_equal(again.offsets, operator.offsets)
    assert np.array_equal(again.values, operator.values)


@settings(max_examples=60, deadline=None)
@given(operators())
def test_the_mask_is_where_the_values_are(case: tuple) -> None:
    basis, numbers, operator = case
    layout = OperatorLayout(basis)
    pairs = off_site(operator)
    onsite, pair = layout.pack(operator, numbers, pairs)
    mask = layout.orbital_mask(numbers)
    assert np.array_equal(mask.sum(axis=1), operator.n_orbitals)
    assert np.array_equal(onsite != 0, mask[:, :, None] & mask[:, None, :])
    assert np.array_equal(pair != 0, mask[pairs[:, 3]][:, :, None] & mask[pairs[:, 4]][:, None, :])


@settings(max_examples=60, deadline=None)
@given(operators())
def test_an_orbital_stands_in_a_padded_shell_of_its_own_l_and_m(case: tuple) -> None:
    basis, _, _ = case
    layout = OperatorLayout(basis)
    padded = [(l, m) for l in layout.shells for m in range(-l, l + 1)]
    for z, ls in basis.shells.items():
        own = [(l, m) for l in ls for m in range(-l, l + 1)]
        n_orb = len(own)
        diagonal = BlockOperator.from_dense(np.diag(np.arange(1.0, n_orb + 1)), basis.n_orbitals([z]))
        onsite, _ = layout.pack(diagonal, np.array([z]), np.zeros((0, 5), dtype=np.int64))
        places = {int(value) - 1: place for place, value in enumerate(np.diag(onsite[0])) if value}
        assert [padded[places[k]] for k in range(n_orb)] == own
