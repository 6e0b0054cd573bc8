import json
import pickle

import numpy as np
import pytest
from pyscf.gto import basis as pyscf_basis

from adiabat.core.errors import BasisError, FileFormatError
from adiabat.physics.gaussian_basis import GaussianBasis, read_basis_text
from adiabat.physics.gaussian_integrals import overlap_blocks

FILE = """
# two names for one entry, and another family
B SZVP SZVP-q3
 1
 2 0 2 2 1 1 1   ! one set
  0.9 0.07 -0.38 -0.77
  0.3 -0.66 -0.65 -1.32
#
B DZVP
 2
 2 0 1 2 2 1
  1.1 0.2 0.5 0.1
  0.4 0.8 -0.3 0.6
 3 2 2 1 1
  0.7 1.0
N SZVP
  1
  2 0 1 1 1 1
  0.5 1.0 1.0
"""


def test_entries_are_found_by_each_name():
    entries = read_basis_text(FILE)
    assert set(entries[5]) == {"SZVP", "SZVP-q3", "DZVP"}
    assert entries[5]["SZVP"] == entries[5]["SZVP-q3"]
    assert "#" not in entries[5]["SZVP"]
    assert "!" not in entries[5]["SZVP"]


def test_shells_stand_in_the_order_of_the_text():
    basis = GaussianBasis.from_text(FILE, "DZVP", [5], {5: 3})
    assert basis.orbital_basis.shells == {5: (0, 0, 1, 2)}
    assert basis.orbital_basis.n_electrons([5, 5]) == 6
    assert basis.sets(5)[1].exponents.tolist() == [0.7]


def test_contractions_are_those_that_pyscf_reads():
    ours = GaussianBasis.from_text(FILE, "DZVP", [5]).sets(5)
    theirs = pyscf_basis.parse_cp2k.parse("\n".join(FILE.splitlines()[7:15]))
    read = [(shell[0], [row[0] for row in shell[1:]], [row[1:] for row in shell[1:]]) for shell in theirs]
    mine = [
        (l, part.exponents.tolist(), [list(c) for c in part.coefficients[np.array(part.angular_momenta) == l].T])
        for part in ours
        for l in sorted(set(part.angular_momenta))
    ]
    assert mine == read


def test_json_and_pickle_keep_it():
    basis = GaussianBasis.from_text(FILE, "SZVP", [7, 5], {5: 3, 7: 5})
    assert GaussianBasis.from_json(json.loads(json.dumps(basis.to_json()))) == basis
    assert pickle.loads(pickle.dumps(basis)) == basis
    assert basis.only([7]).text == {7: basis.text[7]}
    assert basis.only([7]).valence == {7: 5}


def test_nothing_overlaps_beyond_the_reach():
    basis = GaussianBasis.from_text(FILE, "SZVP", [5, 7])
    for threshold in (1e-4, 1e-10):
        reach = basis.reach(5, 7, threshold)
        assert reach == basis.reach(7, 5, threshold)
        directions = np.random.default_rng(0).normal(size=(20, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        at = [np.abs(overlap_blocks(basis.sets(5), basis.sets(7), directions * r)).max() for r in (reach, reach - 0.5)]
        assert at[0] <= threshold < at[1] * 10


def test_missing_element_and_name_are_refused():
    with pytest.raises(BasisError, match="'DZVP' for N") as caught:
        GaussianBasis.from_text(FILE, "DZVP", [7])
    assert "SZVP" in caught.value.suggestion
    with pytest.raises(BasisError, match="'SZVP' for C"):
        GaussianBasis.from_text(FILE, "SZVP", [6])
    with pytest.raises(BasisError, match="C in basis 'SZVP'"):
        GaussianBasis.from_text(FILE, "SZVP", [5]).sets(6)


@pytest.mark.parametrize(
    "entry",
    ["B X\n1\n2 0 1 1 1 1\n0.5 1.0", "B X\n1\n2 0 0 1 1\n0.5 1.0 3.0", "B X\n1\n2 0 0 one 1\n0.5 1.0", "B X\n0"],
    ids=["truncated", "too long", "no number", "no set"],
)
def test_damaged_entry_is_refused(entry):
    with pytest.raises(FileFormatError, match="damaged basis entry 'B X'"):
        GaussianBasis("X", {5: entry})


def test_text_that_is_no_basis_file_is_refused():
    with pytest.raises(FileFormatError, match="starts with 'hello there'"):
        read_basis_text("hello there\n")


def test_g_shells_are_refused():
    with pytest.raises(BasisError, match="l = 4"):
        GaussianBasis("X", {5: "B X\n1\n2 4 4 1 1\n0.5 1.0"})


def test_basis_without_end_is_refused():
    diffuse = GaussianBasis("X", {5: "B X\n1\n1 0 0 1 1\n0.0005 1.0"})
    with pytest.raises(BasisError, match="at 60 Å"):
        diffuse.reach(5, 5)
