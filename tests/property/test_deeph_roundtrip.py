"""Any crystal with H and S comes back from both of DeepH's layouts as it went in, bit for bit."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adiabat.core.operators import BlockOperator, Spin
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.hamiltonian_formats.deeph import read_deeph, write_deeph
from adiabat.data.hamiltonian_formats.deeph_legacy import read_deeph_legacy, write_deeph_legacy
from adiabat.data.record import Provenance, Record
from adiabat.data.structure import Structure

_PAIR = st.tuples(*[st.integers(-3, 3)] * 3)


@st.composite
def crystals(draw: st.DrawFn, *, grouped: bool) -> Record:
    """Random species, shells to f, cell, pairs with their reverse, and spin."""
    numbers = draw(st.lists(st.sampled_from([1, 6, 8, 26]), min_size=1, max_size=4))
    if grouped:
        numbers = sorted(numbers, key=numbers.index)
    shells = {z: tuple(draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))) for z in sorted(set(numbers))}
    spin: Spin = draw(st.sampled_from(["none", "collinear", "spinor"]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cell = 3 * np.eye(3) + random.uniform(-1, 1, (3, 3))
    structure = Structure(np.array(numbers), random.uniform(-4, 4, (len(numbers), 3)), cell, np.ones(3, dtype=bool))
    basis = OrbitalBasis("random", shells)
    atom = st.integers(0, len(numbers) - 1)
    some = draw(st.lists(st.tuples(_PAIR, atom, atom), max_size=6))
    pairs = {(*r, i, j) for r, i, j in some} | {(-r[0], -r[1], -r[2], j, i) for r, i, j in some}
    pairs |= {(0, 0, 0, i, i) for i in range(len(numbers))}
    n_orbitals = basis.n_orbitals(structure.atomic_numbers)

    def operator(layout: Spin) -> BlockOperator:
        lead = {"none": (), "collinear": (2,), "spinor": (4,)}[layout]
        blocks = [random.standard_normal((*lead, n_orbitals[i], n_orbitals[j])) for *_, i, j in pairs]
        if layout == "spinor":
            blocks = [block + 1j * random.standard_normal(block.shape) for block in blocks]
        return BlockOperator.from_blocks(np.array(list(pairs)), blocks, n_orbitals, layout)

    labels = {"hamiltonian": operator(spin), "overlap": operator("none")}
    return Record(structure, labels, Provenance("file", orbital_basis=basis))


def assert_same(found: BlockOperator, expected: BlockOperator) -> None:
    assert found.spin == expected.spin
    assert np.array_equal(found.pairs, expected.pairs)
    assert found.values.dtype == expected.values.dtype
    assert np.array_equal(found.values, expected.values)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(crystals(grouped=False))
def test_legacy_layout(record: Record) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_deeph_legacy(record, Path(folder))
        found = read_deeph_legacy(Path(folder))
    assert_same(found.hamiltonian, record.labels["hamiltonian"])
    assert_same(found.overlap, record.labels["overlap"])
    assert found.structure.content_hash == record.structure.content_hash


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(crystals(grouped=True))
def test_new_layout(record: Record) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_deeph(record, Path(folder))
        found = read_deeph(Path(folder))
    assert_same(found.hamiltonian, record.labels["hamiltonian"])
    assert_same(found.overlap, record.labels["overlap"])
    assert found.structure.content_hash == record.structure.content_hash


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(crystals(grouped=False))
def test_new_layout_permutes_atoms_at_most(record: Record) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_deeph(record, Path(folder))
        found = read_deeph(Path(folder))
    numbers = record.structure.atomic_numbers.tolist()
    order = sorted(range(len(numbers)), key=lambda k: numbers.index(numbers[k]))
    assert found.structure.atomic_numbers.tolist() == [numbers[k] for k in order]
    expected = record.labels["hamiltonian"]
    for k, (x, y, z, i, j) in enumerate(found.hamiltonian.pairs.tolist()):
        row = expected.pairs.tolist().index([x, y, z, order[i], order[j]])
        assert np.array_equal(found.hamiltonian.block(k), expected.block(row))
