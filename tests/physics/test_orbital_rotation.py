"""PySCF's own matrices turn as D · D^T through our orbital order, up to f shells and with reflections."""

import numpy as np
import pytest
import torch
from scipy.linalg import block_diag
from scipy.spatial.transform import Rotation

from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import reorder_matrix, restore_matrix
from adiabat.core.units import HARTREE
from adiabat.data.structure import Structure
from adiabat.engines.pyscf_molecule import PyscfEngine
from adiabat.equivariant.wigner import wigner_d
from adiabat.physics.basis import orbital_basis, overlap
from adiabat.physics.h0 import superposed_density_hamiltonian

BASIS = "def2-tzvp"
WATER = Structure(
    atomic_numbers=np.array([8, 1, 1]),
    positions=np.array([[0.02, -0.01, 0.03], [0.94, 0.11, -0.07], [-0.26, 0.21, 0.89]]),
)
IMPROPER = -Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix()
PROPER = Rotation.from_rotvec([-0.3, 0.9, 1.3]).as_matrix()
H_TOLERANCE = 1e-6 * HARTREE
"""The integration grid turns with the molecule to 1e-7 Ha at level 5; the issue asks for 1e-6."""
EXACT_TOLERANCE = 1e-11
"""Integrals without a grid; rounding over 59 orbitals."""


def rotated(structure: Structure, rotation: np.ndarray) -> Structure:
    return Structure(structure.atomic_numbers, structure.positions @ rotation.T)


def rotation_of_orbitals(structure: Structure, rotation: np.ndarray) -> np.ndarray:
    shells = orbital_basis([structure], BASIS).shell_sequence(structure.atomic_numbers)
    matrix = torch.tensor(rotation, dtype=torch.float64)
    return block_diag(*(wigner_d(l, matrix).numpy() for l in shells))


def turn(operator: BlockOperator, rotation: np.ndarray) -> np.ndarray:
    d = rotation_of_orbitals(WATER, rotation)
    return d @ operator.to_dense() @ d.T


def test_the_basis_reaches_f():
    assert orbital_basis([WATER], BASIS).l_max == 3


@pytest.mark.parametrize("rotation", [PROPER, IMPROPER], ids=["proper", "improper"])
def test_overlap_turns_exactly(rotation):
    error = np.abs(overlap(rotated(WATER, rotation), BASIS).to_dense() - turn(overlap(WATER, BASIS), rotation)).max()
    assert error < EXACT_TOLERANCE


@pytest.mark.parametrize(("xc", "rotation"), [("hf", PROPER), ("pbe", IMPROPER)])
def test_hamiltonian_and_density_turn(xc, rotation):
    engine = PyscfEngine(xc=xc, basis=BASIS)
    targets = ["hamiltonian", "density_matrix"]
    still, turned = (engine.label(s, targets).labels for s in (WATER, rotated(WATER, rotation)))
    assert np.abs(turned["hamiltonian"].to_dense() - turn(still["hamiltonian"], rotation)).max() < H_TOLERANCE
    # D is converged to about the orbital gradient over the gap: 5e-7 / 0.3.
    assert np.abs(turned["density_matrix"].to_dense() - turn(still["density_matrix"], rotation)).max() < 1e-5


def test_h0_turns():
    still = superposed_density_hamiltonian(WATER, "pbe", BASIS, 5)
    turned = superposed_density_hamiltonian(rotated(WATER, IMPROPER), "pbe", BASIS, 5)
    assert np.abs(turned.to_dense() - turn(still, IMPROPER)).max() < H_TOLERANCE


def test_pyscf_order_taken_for_ours_fails():
    """Negative control: with p in PySCF's own order (x, y, z) the same comparison is off by far."""
    shells = orbital_basis([WATER], BASIS).shell_sequence(WATER.atomic_numbers)
    d = rotation_of_orbitals(WATER, PROPER)
    still, turned = (
        restore_matrix(overlap(s, BASIS).to_dense(), "pyscf", shells) for s in (WATER, rotated(WATER, PROPER))
    )
    assert np.abs(turned - d @ still @ d.T).max() > 0.1


def test_another_code_s_signs_fail():
    """Negative control: the f and d order of OpenMX on PySCF's matrices."""
    shells = orbital_basis([WATER], BASIS).shell_sequence(WATER.atomic_numbers)
    d = rotation_of_orbitals(WATER, PROPER)
    still, turned = (
        reorder_matrix(restore_matrix(overlap(s, BASIS).to_dense(), "pyscf", shells), "openmx", shells)
        for s in (WATER, rotated(WATER, PROPER))
    )
    assert np.abs(turned - d @ still @ d.T).max() > 0.1


def test_reflection_taken_for_rotation_fails():
    """Negative control: without the parity (−1)^l of an improper rotation the comparison must not hold."""
    d = rotation_of_orbitals(WATER, -IMPROPER)
    still, turned = (overlap(s, BASIS).to_dense() for s in (WATER, rotated(WATER, IMPROPER)))
    assert np.abs(turned - d @ still @ d.T).max() > 0.1
