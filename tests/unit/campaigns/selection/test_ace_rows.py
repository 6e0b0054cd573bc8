import numpy as np
import pytest
from ase.build import bulk, molecule

from adiabat.campaigns.selection.ace_rows import AceRows
from adiabat.data.structure import Structure


def structures() -> list[Structure]:
    generator = np.random.default_rng(0)
    water, salt = molecule("H2O"), bulk("NaCl", "rocksalt", a=4.0)
    found = []
    for atoms in (water, salt):
        atoms.positions += generator.normal(scale=0.1, size=atoms.positions.shape)
        found.append(Structure.from_ase(atoms))
    return found


@pytest.mark.parametrize("index", [0, 1])
def test_force_rows_are_the_negative_slope_of_the_energy_row(index: int):
    structure = structures()[index]
    ace = AceRows(structure.atomic_numbers, 3.5, (4, 3, 3), 2)
    step = 1e-4

    forces = ace.rows([structure])[0].forces

    numeric = np.zeros_like(forces)
    for coordinate in range(3 * structure.n_atoms):
        ends = []
        for sign in (1, -1):
            positions = structure.positions.copy()
            positions.flat[coordinate] += sign * step
            moved = Structure(structure.atomic_numbers, positions, structure.cell, structure.pbc)
            ends.append(ace.rows([moved])[0].energy)
        numeric[coordinate] = -(ends[0] - ends[1]) / (2 * step)
    scale = np.abs(forces).max()
    assert scale > 0.01
    np.testing.assert_allclose(forces, numeric, atol=1e-6 * scale)
    assert np.abs(forces + numeric).max() > 0.1 * scale, "negative control: the sign matters"


def test_mixing_keeps_the_directions_that_carry_the_variance():
    generator = np.random.default_rng(1)
    waters = []
    for _ in range(8):
        atoms = molecule("H2O")
        atoms.positions += generator.normal(scale=0.1, size=(3, 3))
        waters.append(Structure.from_ase(atoms))
    ace = AceRows([1, 8], 4.0, (6, 4, 3), 2)

    mixing = ace.mixing(waters, 20)
    full = np.concatenate([found.forces for found in ace.rows(waters)])
    kept = np.concatenate([found.forces for found in ace.rows(waters, mixing)])

    np.testing.assert_allclose(mixing.T @ mixing, np.eye(20), atol=1e-8)
    np.testing.assert_allclose(kept, full @ mixing, atol=1e-10 * np.abs(full).max())
    assert np.vdot(kept, kept) > 0.99 * np.vdot(full, full)
    random, _ = np.linalg.qr(generator.normal(size=mixing.shape))
    assert np.linalg.norm(full @ random) ** 2 < 0.5 * np.vdot(full, full), "negative control: any 20 do not"
