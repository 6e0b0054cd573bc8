"""Paths through the zone: in the user's cell, in the plane of a layer, and labelled as textbooks do."""

import numpy as np
import pytest
from ase.build import bulk, graphene, mx2

from adiabat.core.errors import ConfigError, StructureError
from adiabat.data.structure import Structure
from adiabat.physics.k_path import cartesian, k_path, path_through
from adiabat.physics.plane_lattices import planar_lattice


def layer(atoms) -> Structure:
    atoms.pbc = (True, True, False)
    return Structure.from_ase(atoms)


def corner(path, label: str):
    """k of the first tick of a label."""
    position = path.tick_positions[path.tick_labels.index(label)]
    return path.k_frac[int(np.argmin(np.abs(path.distances - position)))]


def is_zone_corner(structure: Structure, k_frac) -> bool:
    """Whether Γ and at least two other reciprocal lattice points are the nearest ones, all equally far."""
    shifts = np.array([[i, j, 0] for i in range(-3, 4) for j in range(-3, 4)])
    distances = np.sort(np.linalg.norm(cartesian(structure, k_frac - shifts), axis=1))
    here = np.linalg.norm(cartesian(structure, k_frac))
    return bool(np.allclose(distances[:3], here, atol=1e-9))


@pytest.mark.parametrize(
    ("atoms", "title"),
    [
        (bulk("Si"), "Γ–X–U|K–Γ–L–W–X"),
        (bulk("Fe"), "Γ–H–N–Γ–P–H|P–N"),
        (bulk("Ti"), "Γ–M–K–Γ–A–L–H–A|L–M|H–K"),
    ],
)
def test_paths_of_crystals(atoms, title: str) -> None:
    assert k_path(Structure.from_ase(atoms)).title == title


def test_x_of_silicon_lies_at_the_middle_of_a_reciprocal_vector_in_any_cell() -> None:
    """|Γ–X| is 2π/a, whichever of the equivalent cells was given."""
    twisted = bulk("Si")
    twisted.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, 2, 1]]) @ twisted.cell.array)
    for atoms in (bulk("Si"), twisted, bulk("Si", cubic=True)):
        structure = Structure.from_ase(atoms)
        length = np.linalg.norm(cartesian(structure, corner(k_path(structure), "X")))
        assert length == pytest.approx(2 * np.pi / 5.43, rel=1e-9)


def test_points_are_nearly_even_and_jumps_have_no_length() -> None:
    path = k_path(Structure.from_ase(bulk("Si")), n_points=100)
    assert abs(len(path) - 100) <= 3
    jump = path.branches[0][1]
    assert path.distances[jump] == path.distances[jump - 1]
    assert not np.allclose(path.k_frac[jump], path.k_frac[jump - 1])
    steps = np.diff(path.distances)
    assert steps[steps > 0].max() < 1.2 * steps[steps > 0].min()


def test_a_supercell_keeps_its_cell_and_says_that_bands_are_folded() -> None:
    small, large = layer(graphene(vacuum=8)), layer(graphene(vacuum=8) * (2, 3, 1))
    path = k_path(large)
    assert path.title == "Γ–M–K–Γ"
    assert "6 primitive cells" in path.notes[0]
    np.testing.assert_allclose(path.tick_positions, k_path(small).tick_positions, atol=1e-9)
    assert not k_path(small).notes


def test_atoms_that_leave_their_places_keep_the_path_of_the_lattice() -> None:
    atoms = bulk("GaAs", "zincblende", 5.65) * (1, 1, 2)
    atoms.rattle(0.05, seed=1)
    path = k_path(Structure.from_ase(atoms))
    assert path.title == k_path(Structure(np.array([1]), np.zeros((1, 3)), atoms.cell.array, np.ones(3, bool))).title
    assert "symmetry of P1 only" in path.notes[0]


@pytest.mark.parametrize("angle", [60.0, 120.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_k_of_a_hexagonal_layer_is_a_zone_corner_in_any_setting(angle: float, axis: int) -> None:
    """Also with the vacuum along the first or second vector: the path stays in the plane."""
    radians = np.radians(angle)
    plane = 2.5 * np.array([[1, 0, 0], [np.cos(radians), np.sin(radians), 0]])
    cell = np.insert(plane, axis, [0, 0, 15], axis=0)
    pbc = np.array([k != axis for k in range(3)])
    structure = Structure(np.array([6]), np.zeros((1, 3)), cell, pbc)
    path = k_path(structure)
    assert path.title == "Γ–M–K–Γ"
    assert not path.k_frac[:, axis].any()
    lengths = np.linalg.norm(cartesian(structure, np.stack([corner(path, "M"), corner(path, "K")])), axis=1)
    np.testing.assert_allclose(lengths, [2 * np.pi / (2.5 * np.sqrt(3)), 4 * np.pi / 7.5], rtol=1e-9)


def test_points_of_rhombic_and_oblique_layers_are_zone_corners() -> None:
    """Negative control: M of the same lattice, an edge's middle, is none."""
    for second, corners in (([1.1, 2.25, 0], ("H", "H1")), ([2.9 * np.cos(1.2), 2.9 * np.sin(1.2), 0], ("X", "A1"))):
        structure = Structure(
            np.array([6]), np.zeros((1, 3)), np.array([[2.9, 0, 0], second, [0, 0, 15]]), np.array([1, 1, 0], bool)
        )
        path = k_path(structure)
        for label in corners:
            assert is_zone_corner(structure, corner(path, label)), (path.title, label)
        assert not is_zone_corner(structure, np.array([0.5, 0.5, 0.0]))


@pytest.mark.parametrize(
    ("vectors", "name"),
    [
        ([[2, 0], [-1, np.sqrt(3)]], "hexagonal"),
        ([[2, 0], [1, np.sqrt(3)]], "hexagonal"),
        ([[2, 0], [6, 2]], "square"),
        ([[3, 0], [0, 2]], "rectangular"),
        ([[3, 2], [3, -2]], "centred rectangular"),
        ([[4, 0], [2, 3]], "centred rectangular"),
        ([[3, 0], [0.7, 3.3]], "oblique"),
    ],
)
def test_planar_lattices(vectors, name: str) -> None:
    lattice = planar_lattice(np.array(vectors, dtype=float))
    assert lattice is not None
    assert lattice.name == name
    combinations = lattice.basis @ np.linalg.inv(np.array(vectors, dtype=float))
    np.testing.assert_allclose(combinations, np.round(combinations), atol=1e-9)
    assert abs(np.linalg.det(combinations)) == pytest.approx(1)


def test_named_points_of_a_strained_cell_are_those_of_the_given_vectors() -> None:
    strained = mx2(vacuum=8)
    strained.set_cell(strained.cell.array @ np.diag([1.04, 0.98, 1.0]), scale_atoms=True)
    assert k_path(layer(strained)).title != "Γ–M–K–Γ"
    path = k_path(layer(strained), "GMKG")
    np.testing.assert_allclose(corner(path, "M"), [0.5, 0, 0], atol=1e-9)
    np.testing.assert_allclose(corner(path, "K"), [1 / 3, 1 / 3, 0], atol=1e-9)
    assert "hexagonal to" in path.notes[0]


def test_a_chain() -> None:
    structure = Structure(
        np.array([6, 6]), np.array([[0, 0, 0], [0, 0, 1.2]]), np.diag([0, 0, 2.6]), np.array([0, 0, 1], bool)
    )
    path = k_path(structure)
    assert path.title == "Γ–X"
    np.testing.assert_allclose(path.k_frac[-1], [0, 0, 0.5])
    assert path.distances[-1] == pytest.approx(np.pi / 2.6)


def test_named_and_explicit_paths() -> None:
    silicon = Structure.from_ase(bulk("Si"))
    assert k_path(silicon, "GX|UG").tick_labels == ("Γ", "X|U", "Γ")
    assert k_path(silicon, "Γ-L, W").tick_labels == ("Γ", "L", "W")
    path = k_path(silicon, "G=0,0,0 A=1/2,0,0.25 | B=0,1/2,0 G=0,0,0", n_points=20)
    assert path.tick_labels == ("Γ", "A|B", "Γ")
    np.testing.assert_allclose(path.k_frac[path.branches[0][1] - 1], [0.5, 0, 0.25])


def test_a_path_through_given_points_has_their_lengths_and_labels() -> None:
    structure = layer(graphene(vacuum=8))
    k_frac = np.array([[0, 0, 0], [0.5, 0, 0], [0.5, 0, 0], [1 / 3, 1 / 3, 0]])
    path = path_through(structure, k_frac, {0: "Γ", 1: "M", 2: "M", 3: "K"})
    assert path.tick_labels == ("Γ", "M", "K")
    assert path.distances[1] == path.distances[2] == pytest.approx(path.tick_positions[1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gmkg", "the path 'gmkg'"),
        ("G", "the path 'G'"),
        ("GQ", "the point 'Q'"),
        ("G=0,0 X=0,0,0", "the point 'G=0,0'"),
        ("G=0,0,0 X=1/0,0,0", "the point 'X=1/0,0,0'"),
        ("G=0,0,0", "a branch of 1 points"),
    ],
)
def test_paths_that_cannot_be_read(text: str, words: str) -> None:
    with pytest.raises((ConfigError, StructureError)) as caught:
        k_path(Structure.from_ase(bulk("Si")), text)
    assert words in caught.value.got


def test_a_molecule_has_no_bands() -> None:
    molecule = Structure(np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]))
    for path in (None, "G=0,0,0 X=0.5,0,0"):
        with pytest.raises(StructureError, match="periodic in no direction"):
            k_path(molecule, path)
    with pytest.raises(ConfigError, match="1 points"):
        k_path(Structure.from_ase(bulk("Si")), n_points=1)
