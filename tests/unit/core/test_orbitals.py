import json

import numpy as np
import pytest

from adiabat.core.errors import BasisError
from adiabat.core.orbitals import OrbitalBasis, orbital_transform, reorder_matrix, restore_matrix

BASIS = OrbitalBasis("def2-svp", {1: (0, 0, 1), 8: (0, 0, 0, 1, 1, 2)})


def test_counts_and_sequence() -> None:
    assert BASIS.l_max == 2
    assert BASIS.n_orbitals([8, 1, 1]).tolist() == [14, 5, 5]
    assert BASIS.shell_sequence([1, 8]) == [0, 0, 1, 0, 0, 0, 1, 1, 2]


def test_unknown_element_names_the_known_ones() -> None:
    with pytest.raises(BasisError, match=r"\[1, 8\]"):
        BASIS.of(6)


def test_json_round_trip() -> None:
    back = OrbitalBasis.from_json(json.loads(json.dumps(BASIS.to_json())))
    assert back == BASIS


def test_merging() -> None:
    merged = BASIS.merged_with(OrbitalBasis("def2-svp", {6: (0, 0, 0, 1, 1, 2)}))
    assert set(merged.shells) == {1, 6, 8}
    for clash in (OrbitalBasis("def2-svp", {1: (0, 1)}), OrbitalBasis("def2-tzvp", {6: (0,)})):
        with pytest.raises(BasisError, match="differ"):
            BASIS.merged_with(clash)


@pytest.mark.parametrize("source", ["adiabat", "pyscf", "openmx", "siesta", "abacus", "fhi-aims", "cp2k", "tblite"])
def test_reordering_round_trip(source: str) -> None:
    shells = [0, 1, 3, 2, 1]
    matrix = np.random.default_rng(0).standard_normal((2, 19, 19))
    np.testing.assert_array_equal(restore_matrix(reorder_matrix(matrix, source, shells), source, shells), matrix)


def test_pyscf_p_order() -> None:
    order, signs = orbital_transform("pyscf", [0, 1])
    assert [["s", "x", "y", "z"][k] for k in order] == ["s", "y", "z", "x"]
    assert signs.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("openmx", {1: "x y z", 2: "z2 x2-y2 xy xz yz"}),
        ("abacus", {1: "z x y", 2: "z2 xz yz x2-y2 xy"}),
    ],
)
def test_orders_lead_to_ours(source: str, names: dict[int, str]) -> None:
    ours = {1: "y z x", 2: "xy yz z2 xz x2-y2"}
    for l, theirs in names.items():
        order, _ = orbital_transform(source, [l])
        assert [theirs.split()[k] for k in order] == ours[l].split()


def test_signs_act_on_both_sides() -> None:
    matrix = reorder_matrix(np.ones((3, 3)), "siesta", [1])
    np.testing.assert_array_equal(matrix, np.outer([-1, 1, -1], [-1, 1, -1]))


def test_unknown_code_and_g_shell_are_refused() -> None:
    with pytest.raises(BasisError, match="did you mean 'pyscf'"):
        orbital_transform("pyscff", [0])
    with pytest.raises(BasisError, match="l = 4"):
        orbital_transform("pyscf", [4])
