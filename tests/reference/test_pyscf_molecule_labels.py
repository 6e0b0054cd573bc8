"""Engine labels against PySCF used directly, with its own SCF on one grid."""

import numpy as np
import pytest
from pyscf import dft, gto, scf

from adiabat.core.orbitals import reorder_matrix
from adiabat.core.units import BOHR, HARTREE
from adiabat.data.structure import Structure
from adiabat.engines.pyscf_molecule import PyscfEngine
from adiabat.physics.basis import orbital_basis, overlap
from adiabat.physics.h0 import superposed_density_hamiltonian

METHANOL = Structure(
    atomic_numbers=np.array([6, 8, 1, 1, 1, 1]),
    positions=np.array(
        [[-0.05, 0.66, 0.0], [-0.05, -0.76, 0.02],
         [-1.09, 0.98, 0.0], [0.44, 1.07, 0.89], [0.44, 1.07, -0.9], [0.9, -1.0, 0.1]]
    ),
)  # fmt: skip
WATER = Structure(
    atomic_numbers=np.array([8, 1, 1]), positions=np.array([[0.0, 0.0, 0.1], [0.0, 0.78, -0.48], [0.0, -0.72, -0.5]])
)
H_TOLERANCE = 5e-7 * HARTREE
"""Both SCFs stop at an orbital gradient of 5e-7 Ha or below."""


def molecule(structure: Structure, basis: str) -> gto.Mole:
    atoms = list(zip(structure.symbols, structure.positions / BOHR, strict=True))
    return gto.M(atom=atoms, basis=basis, unit="Bohr", charge=structure.charge, spin=structure.spin, verbose=0)


def ours(matrix: np.ndarray, structure: Structure, basis: str) -> np.ndarray:
    shells = orbital_basis([structure], basis).shell_sequence(structure.atomic_numbers)
    return reorder_matrix(matrix, "pyscf", shells)


@pytest.mark.parametrize(("structure", "basis"), [(WATER, "def2-tzvp"), (METHANOL, "6-31g*"), (METHANOL, "cc-pvdz")])
def test_overlap_is_pyscf_s_and_positive_definite(structure, basis):
    matrix = overlap(structure, basis).to_dense()
    expected = ours(molecule(structure, basis).intor("int1e_ovlp"), structure, basis)
    assert np.abs(matrix - expected).max() < 1e-12
    assert np.linalg.eigvalsh(matrix).min() > 0
    assert np.allclose(np.diag(matrix), 1.0, atol=1e-12)


@pytest.mark.parametrize("xc", ["pbe", "b3lyp5"])
def test_defect_correction_reaches_the_ordinary_scf(xc):
    """Iterating on a coarse grid with fine corrections changes the way, not the answer."""
    targets = ["energy", "forces", "dipole", "hamiltonian", "density_matrix", "orbital_energies"]
    labels = PyscfEngine(xc=xc, basis="def2-svp", grid_level=3).label(WATER, targets).labels
    field = dft.RKS(molecule(WATER, "def2-svp"))
    field.xc, field.grids.level, field.small_rho_cutoff = xc, 3, 0.0
    field.conv_tol, field.conv_tol_grad = 1e-11, 1e-7
    energy = field.kernel() * HARTREE
    assert abs(labels["energy"] - energy) < 1e-9 * HARTREE
    assert (
        np.abs(labels["hamiltonian"].to_dense() - ours(field.get_fock(), WATER, "def2-svp") * HARTREE).max()
        < H_TOLERANCE
    )
    assert np.abs(labels["density_matrix"].to_dense() - ours(field.make_rdm1(), WATER, "def2-svp")).max() < 1e-6
    assert np.abs(labels["orbital_energies"] - field.mo_energy * HARTREE).max() < H_TOLERANCE
    assert np.abs(labels["dipole"] - field.dip_moment(unit="AU", verbose=0) * BOHR).max() < 1e-5
    gradients = field.nuc_grad_method()
    gradients.grid_response = True
    assert np.abs(labels["forces"] + gradients.kernel() * HARTREE / BOHR).max() < 1e-4
    assert np.abs(labels["forces"].sum(axis=0)).max() < 1e-9


def test_the_coarse_grid_alone_fails():
    """Negative control: without the corrections H would be that of the coarse grid, far outside the tolerance."""
    fine, coarse = (
        PyscfEngine(basis="def2-svp", grid_level=level, coarse_grid_level=None).label(WATER, ["hamiltonian"])
        for level in (3, 1)
    )
    difference = fine.labels["hamiltonian"].to_dense() - coarse.labels["hamiltonian"].to_dense()
    assert np.abs(difference).max() > 10 * H_TOLERANCE


def test_hartree_fock_and_orbital_energies_are_the_spectrum_of_h_and_s():
    labels = PyscfEngine(xc="hf", basis="6-31g*").label(WATER, ["hamiltonian", "overlap", "orbital_energies"]).labels
    field = scf.RHF(molecule(WATER, "6-31g*"))
    field.conv_tol, field.conv_tol_grad = 1e-11, 1e-7
    field.kernel()
    assert np.abs(labels["orbital_energies"] - field.mo_energy * HARTREE).max() < H_TOLERANCE
    factor = np.linalg.inv(np.linalg.cholesky(labels["overlap"].to_dense()))
    spectrum = np.linalg.eigvalsh(factor @ labels["hamiltonian"].to_dense() @ factor.T)
    assert np.abs(spectrum - labels["orbital_energies"]).max() < 1e-9


def test_h0_is_the_fock_matrix_of_minao():
    field = dft.RKS(molecule(WATER, "def2-svp"))
    field.xc, field.grids.level, field.small_rho_cutoff = "pbe", 4, 0.0
    expected = ours(field.get_fock(dm=field.init_guess_by_minao()), WATER, "def2-svp") * HARTREE
    h0 = superposed_density_hamiltonian(WATER, "pbe", "def2-svp", 4)
    assert np.abs(h0.to_dense() - expected).max() < 1e-10


def test_h0_leaves_a_small_rest_of_h():
    labels = PyscfEngine(basis="def2-svp", grid_level=3).label(WATER, ["hamiltonian", "h0"]).labels
    h, h0 = labels["hamiltonian"].to_dense(), labels["h0"].to_dense()
    assert np.abs(h - h0).mean() < np.abs(h).mean() / 8


def test_forces_are_the_slope_of_the_energy():
    engine = PyscfEngine(basis="sto-3g", grid_level=1)
    forces = engine.label(WATER, ["forces"]).labels["forces"]
    step = 1e-3
    for atom, axis in ((0, 2), (1, 1)):
        shifted = []
        for sign in (1, -1):
            positions = WATER.positions.copy()
            positions[atom, axis] += sign * step
            shifted.append(float(engine.label(Structure(WATER.atomic_numbers, positions), ["energy"]).labels["energy"]))
        # Third-order error of the central difference: step² times a third derivative of about 100 eV/Å³.
        assert abs(forces[atom, axis] + (shifted[0] - shifted[1]) / (2 * step)) < 1e-3


def test_unrestricted_triplet_and_cation():
    oxygen = Structure(np.array([8, 8]), np.array([[0.0, 0, 0], [0, 0, 1.21]]), spin=2)
    labels = (
        PyscfEngine(basis="sto-3g", unrestricted=True, grid_level=1)
        .label(oxygen, ["energy", "forces", "charges"])
        .labels
    )
    field = dft.UKS(molecule(oxygen, "sto-3g"))
    field.xc, field.conv_tol, field.grids.level, field.small_rho_cutoff = "pbe", 1e-10, 1, 0.0
    assert abs(labels["energy"] - field.kernel() * HARTREE) < 1e-8 * HARTREE
    assert np.abs(labels["charges"]).max() < 1e-6
    cation = Structure(WATER.atomic_numbers, WATER.positions, charge=1, spin=1)
    charges = PyscfEngine(basis="sto-3g", unrestricted=True, grid_level=1).label(cation, ["charges"]).labels["charges"]
    assert abs(charges.sum() - 1) < 1e-9


def test_density_fitting_is_near_but_not_equal():
    exact, fitted = (
        float(PyscfEngine(basis="def2-svp", grid_level=1, density_fit=fit).label(WATER, ["energy"]).labels["energy"])
        for fit in (False, True)
    )
    assert 1e-6 < abs(exact - fitted) < 1e-2


def test_scf_from_its_own_density_takes_fewer_cycles():
    engine = PyscfEngine(basis="def2-svp", grid_level=1)
    density = engine.label(WATER, ["density_matrix"]).labels["density_matrix"]
    from_guess, from_density = engine.scf_cycles(WATER, None), engine.scf_cycles(WATER, density)
    assert from_guess.converged
    assert from_density.converged
    assert from_density.cycles <= 3 < from_guess.cycles
    assert abs(from_guess.energy - from_density.energy) < 1e-7


@pytest.mark.slow
def test_rmd17_labels_are_ours_up_to_a_constant(shared_data):
    """PBE/def2-SVP of ORCA and of PySCF: forces to 1 meV/Å, so that our H goes with the published forces."""
    from adiabat.data.readers import ReadOptions, read_records

    record = read_records(shared_data / "rmd17" / "ethanol_train_01.xyz", options=ReadOptions(frames="0"))[0]
    forces = PyscfEngine().label(record.structure, ["forces"]).labels["forces"]
    assert np.abs(forces - record.labels["forces"]).mean() < 2e-3
