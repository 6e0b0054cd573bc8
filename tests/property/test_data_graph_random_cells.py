import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adiabat.core.errors import StructureError
from adiabat.data.neighbors import find_neighbors
from adiabat.data.structure import OVERLAP_DISTANCE, Structure

CUTOFF = 3.0


def brute_force(structure, cutoff):
    """Every image within reach, by loops."""
    found = set()
    cell = structure.cell
    heights = []
    for axis in range(3):
        others = [cell[k] for k in range(3) if k != axis and structure.pbc[k]]
        vector = cell[axis]
        for other in _orthogonal(others):
            vector = vector - (vector @ other) * other
        heights.append(np.linalg.norm(vector))
    spread = np.ptp(structure.positions, axis=0).max() * 3 + cutoff
    reach = [int(np.ceil(spread / heights[k])) if structure.pbc[k] else 0 for k in range(3)]
    for shift in itertools.product(*(range(-n, n + 1) for n in reach)):
        for i, j in itertools.product(range(structure.n_atoms), repeat=2):
            if i == j and not any(shift):
                continue
            distance = np.linalg.norm(structure.positions[j] + np.array(shift) @ cell - structure.positions[i])
            if distance < cutoff:
                found.add((i, j, *shift))
    return found


def _orthogonal(vectors):
    basis = []
    for vector in vectors:
        for other in basis:
            vector = vector - (vector @ other) * other
        basis.append(vector / np.linalg.norm(vector))
    return basis


def listed(structure, cutoff=CUTOFF):
    found = find_neighbors(structure, cutoff)
    return [tuple(row) for row in np.concatenate([found.index.T, found.shift], axis=1).tolist()]


@st.composite
def structures(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    skew = draw(st.floats(0.0, 1.5))
    cell = np.diag(rng.uniform(1.5, 5.0, 3)) + skew * np.tril(rng.uniform(-1, 1, (3, 3)), -1)
    if draw(st.booleans()):
        cell[0] *= -1  # left-handed
    pbc = np.array(draw(st.tuples(st.booleans(), st.booleans(), st.booleans())))
    if draw(st.booleans()):
        cell[~pbc] = 0.0
    positions = rng.uniform(-4, 4, (draw(st.integers(1, 5)), 3))
    return Structure(np.full(len(positions), 6), positions, cell, pbc)


@settings(max_examples=30, deadline=None)
@given(structures())
def test_neighbors_of_any_cell(structure):
    expected = brute_force(structure, CUTOFF)
    # A distance within rounding of the cutoff may fall either way.
    assume(expected == brute_force(structure, CUTOFF + 1e-9))
    found = listed(structure)
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert found == sorted(found)
    assert {(j, i, -x, -y, -z) for i, j, x, y, z in found} == expected


def test_negative_control_a_wrong_cell_is_noticed():
    structure = Structure(np.array([6]), np.zeros((1, 3)), np.eye(3) * 2.0, np.ones(3, dtype=bool))
    stretched = Structure(np.array([6]), np.zeros((1, 3)), np.eye(3) * 2.2, np.ones(3, dtype=bool))
    assert set(listed(stretched)) != brute_force(structure, CUTOFF)


@settings(max_examples=30, deadline=None)
@given(structures(), st.integers(0, 2**32 - 1))
def test_a_copy_of_an_atom_is_an_overlap_wherever_it_stands(structure, seed):
    from adiabat.data.graph import build_graph

    rng = np.random.default_rng(seed)
    shift = np.where(structure.pbc, rng.integers(-2, 3, 3), 0) @ structure.cell
    offset = rng.normal(size=3)
    offset *= 0.5 * OVERLAP_DISTANCE / np.linalg.norm(offset)
    copy = structure.positions[:1] + shift + offset
    doubled = Structure(
        np.append(structure.atomic_numbers, 6),
        np.concatenate([structure.positions, copy]),
        structure.cell,
        structure.pbc,
    )
    with pytest.raises(StructureError, match="at a distance of"):
        build_graph(doubled, CUTOFF)
