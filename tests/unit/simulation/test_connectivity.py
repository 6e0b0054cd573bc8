from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk, molecule

from adiabat.data.structure import Structure
from adiabat.simulation.connectivity import bonds, is_broken, is_evaporated, is_too_close, largest_stretch

ETHANOL = Structure.from_ase(molecule("CH3CH2OH"))


def pulled(start: Structure, atom: int, toward: int, factor: float) -> Structure:
    """The start with the distance of two atoms multiplied."""
    positions = start.positions.copy()
    positions[atom] = positions[toward] + factor * (positions[atom] - positions[toward])
    return replace(start, positions=positions)


@pytest.mark.parametrize(
    ("name", "n_bonds"),
    [("CH3CH2OH", 8), ("H2O", 2), ("C6H6", 12), ("N2", 1), ("CO", 1), ("C2H2", 3), ("HF", 1), ("SiH4", 4), ("Cl2", 1)],
)
def test_molecules_have_the_bonds_of_their_formula(name: str, n_bonds: int) -> None:
    structure = Structure.from_ase(molecule(name))
    assert len(bonds(structure)) == n_bonds
    assert is_broken(structure, structure) is None
    assert not is_too_close(structure)


def test_diamond_has_two_bonds_an_atom() -> None:
    assert len(bonds(Structure.from_ase(bulk("C")))) == 4
    assert len(bonds(Structure.from_ase(bulk("C", cubic=True)))) == 16


def test_vibration_is_no_reaction() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        positions = ETHANOL.positions + 0.08 * generator.standard_normal((9, 3))
        assert is_broken(ETHANOL, replace(ETHANOL, positions=positions)) is None


def test_a_bond_pulled_apart_is_lost_and_named() -> None:
    i, j = bonds(ETHANOL)[0].tolist()
    assert is_broken(ETHANOL, pulled(ETHANOL, j, i, 1.3)) is None
    what = is_broken(ETHANOL, pulled(ETHANOL, j, i, 1.8))
    assert what is not None
    assert f"{ETHANOL.symbols[i]}{i}–{ETHANOL.symbols[j]}{j} is lost" in what


def test_atoms_pushed_together_have_formed_a_bond() -> None:
    hydrogens = np.flatnonzero(ETHANOL.atomic_numbers == 1)
    positions = ETHANOL.positions.copy()
    middle = positions[hydrogens[-2:]].mean(axis=0)
    direction = positions[hydrogens[-1]] - middle
    for sign, atom in zip((-1, 1), hydrogens[-2:], strict=True):
        positions[atom] = middle + sign * 0.35 * direction / np.linalg.norm(direction)
    what = is_broken(ETHANOL, replace(ETHANOL, positions=positions))
    assert what is not None


def test_crossing_the_border_of_a_cell_is_no_reaction() -> None:
    crystal = Structure.from_ase(bulk("C", cubic=True))
    positions = crystal.positions.copy()
    positions[3] += crystal.cell[1] - crystal.cell[2]
    assert is_broken(crystal, replace(crystal, positions=positions)) is None
    positions[3] += 0.9
    assert is_broken(crystal, replace(crystal, positions=positions)) is not None


def test_a_molecule_that_leaves_has_evaporated() -> None:
    water = molecule("H2O")
    pair = water.copy()
    pair.extend(water)
    pair.positions[3:] += [0, 0, 3.0]
    start = Structure.from_ase(pair)
    positions = start.positions.copy()
    positions[3:] += [0, 0, 5.0]
    gone = replace(start, positions=positions)
    assert is_broken(start, gone) is None
    assert is_evaporated(start, gone)
    assert not is_evaporated(start, start)


def test_atoms_on_top_of_each_other_are_too_close() -> None:
    i, j = bonds(ETHANOL)[0].tolist()
    assert is_too_close(pulled(ETHANOL, j, i, 0.5))
    assert not is_too_close(pulled(ETHANOL, j, i, 0.85))


def test_the_longest_bond_is_measured_in_covalent_radii() -> None:
    nitrogen = Structure.from_ase(molecule("N2"))
    ratio = np.linalg.norm(nitrogen.positions[1] - nitrogen.positions[0]) / (2 * 0.71)
    assert largest_stretch(nitrogen, pulled(nitrogen, 1, 0, 1.5)) == pytest.approx(1.5 * ratio)
    argon = Structure.from_ase(bulk("Ar", cubic=True))
    assert largest_stretch(argon, argon) == 0.0
