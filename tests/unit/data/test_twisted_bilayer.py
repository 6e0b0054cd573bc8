import numpy as np
import pytest
from ase.build import graphene
from ase.neighborlist import neighbor_list

from adiabat.core.errors import StructureError
from adiabat.data.structure import Structure
from adiabat.data.twisted_bilayer import cells_per_layer, twist_angle, twisted_bilayer

BOND = 2.46 / np.sqrt(3)


def sheet(a: float = 2.46) -> Structure:
    return Structure.from_ase(graphene(a=a, vacuum=5.0))


# Lopes dos Santos et al. 2012, and every paper on graphene: 28 atoms at 21.79° and 38.21°, 11908 at the magic angle.
@pytest.mark.parametrize(
    ("m", "r", "angle", "n_atoms"),
    [
        (1, 1, 21.787, 28),
        (1, 3, 38.213, 28),
        (2, 1, 13.174, 76),
        (6, 1, 5.086, 508),
        (1, 2, 32.204, 52),
        (31, 1, 1.050, 11908),
    ],
)
def test_angles_and_counts_are_the_known_ones(m: int, r: int, angle: float, n_atoms: int) -> None:
    assert twist_angle(m, r) == pytest.approx(angle, abs=1e-3)
    assert 4 * cells_per_layer(m, r) == n_atoms
    if n_atoms < 1000:
        bilayer = twisted_bilayer(sheet(), m, r, distance=3.35)
        assert bilayer.n_atoms == n_atoms
        assert bilayer.pbc.tolist() == [True, True, False]


@pytest.mark.parametrize(("m", "r"), [(1, 1), (1, 3), (2, 3), (3, 1), (3, 2)])
def test_each_layer_is_whole_across_the_border_of_the_cell(m: int, r: int) -> None:
    atoms = twisted_bilayer(sheet(), m, r, distance=3.35).to_ase()
    i, distance = neighbor_list("id", atoms, 1.2 * BOND)
    assert np.all(np.bincount(i, minlength=len(atoms)) == 3)
    assert np.allclose(distance, BOND, atol=1e-9)
    strained = atoms.copy()
    strained.set_cell(atoms.cell * 1.05)
    broken = neighbor_list("i", strained, 1.02 * BOND)
    assert np.any(np.bincount(broken, minlength=len(atoms)) < 3)


def test_the_layers_are_turned_by_the_angle_and_apart_by_the_distance() -> None:
    atoms = twisted_bilayer(sheet(), 2, 1, distance=3.4).to_ase()
    half = len(atoms) // 2
    assert np.allclose(np.ptp(atoms.positions[:, 2]), 3.4)
    i, j, vectors = neighbor_list("ijD", atoms, 1.2 * BOND)
    directions = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0])) % 60
    lower, upper = directions[i < half], directions[j >= half]
    assert np.allclose((upper.mean() - lower.mean()) % 60, twist_angle(2, 1) % 60, atol=1e-6)
    assert lower.std() < 1e-6


def test_cells_at_120_degrees_and_clockwise_make_the_same_layers() -> None:
    plain = sheet().to_ase()
    other = plain.copy()
    other.set_cell([plain.cell[1], plain.cell[0], plain.cell[2]])
    first = twisted_bilayer(Structure.from_ase(plain), 2, 1, distance=3.35)
    second = twisted_bilayer(Structure.from_ase(other), 2, 1, distance=3.35)
    assert np.allclose(np.linalg.norm(first.cell, axis=1), np.linalg.norm(second.cell, axis=1))
    assert first.n_atoms == second.n_atoms
    i = neighbor_list("i", second.to_ase(), 1.2 * BOND)
    assert np.all(np.bincount(i) == 3)


def test_two_kinds_of_layers_keep_their_atoms() -> None:
    nitride = sheet().to_ase()
    nitride.symbols = ["B", "N"]
    bilayer = twisted_bilayer(sheet(), 1, 1, distance=3.3, upper=Structure.from_ase(nitride))
    assert bilayer.symbols[:14] == ["C"] * 14
    assert bilayer.symbols[14:] == ["B", "N"] * 7
    with pytest.raises(StructureError, match="one lattice"):
        twisted_bilayer(sheet(), 1, 1, distance=3.3, upper=sheet(2.5))


@pytest.mark.parametrize(("m", "r"), [(0, 1), (1, 0), (2, 2), (3, 6)])
def test_integers_that_name_no_twist(m: int, r: int) -> None:
    with pytest.raises(StructureError, match="common divisor"):
        twisted_bilayer(sheet(), m, r, distance=3.35)


def test_a_layer_that_is_not_hexagonal() -> None:
    square = Structure(np.array([6]), np.zeros((1, 3)), np.diag([2.0, 2.0, 10.0]), np.array([True, True, False]))
    with pytest.raises(StructureError, match="60° or 120°"):
        twisted_bilayer(square, 1, 1, distance=3.35)
