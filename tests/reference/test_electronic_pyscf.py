"""Our orbitals, charges and dipole against PySCF's own, water HF/STO-3G."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pyscf import gto, scf

from adiabat.core.units import BOHR, DEBYE, HARTREE
from adiabat.electronic.charges import loewdin_charges, mulliken_charges
from adiabat.electronic.dipole import dipole_moment
from adiabat.electronic.molecule import solve_molecule
from adiabat.electronic.similarity import orbital_similarity

# The SCF is converged to 1e-12 Ha in energy, so its density to about 1e-8; the same matrices, to rounding.
CONVERGED = 1e-8


@pytest.fixture(scope="module")
def water() -> SimpleNamespace:
    geometry = "O 0.02 -0.01 0.12; H 0.05 0.76 -0.47; H -0.1 -0.74 -0.49"
    molecule = gto.M(atom=geometry, basis="sto-3g", verbose=0)
    field = scf.RHF(molecule).set(conv_tol=1e-12, conv_tol_grad=1e-9)
    field.kernel()
    assert field.converged
    # One diagonalization of the final H, so that orbitals, density and H are one consistent set.
    hamiltonian, overlap = field.get_fock(), field.get_ovlp()
    energies, coefficients = field.eig(hamiltonian, overlap)
    density = field.make_rdm1(coefficients, field.get_occ(energies, coefficients))
    field._chkfile.close()  # PySCF would leave it open, and a warning is an error here
    return SimpleNamespace(
        molecule=molecule,
        field=field,
        hamiltonian=torch.from_numpy(hamiltonian) * HARTREE,
        overlap=torch.from_numpy(overlap),
        energies=energies * HARTREE,
        coefficients=torch.from_numpy(coefficients),
        density=density,
        orbital_atoms=torch.tensor([label[0] for label in molecule.ao_labels(fmt=None)]),
        nuclear_charges=torch.from_numpy(molecule.atom_charges()).double(),
        positions=torch.from_numpy(molecule.atom_coords()) * BOHR,
    )


def test_orbital_energies_density_and_orbitals(water: SimpleNamespace) -> None:
    orbitals = solve_molecule(water.hamiltonian, water.overlap, water.molecule.nelectron)
    np.testing.assert_allclose(orbitals.energies.numpy(), water.energies, atol=CONVERGED)
    np.testing.assert_allclose(orbitals.density_matrix.numpy(), water.density, atol=CONVERGED)
    assert float(orbitals.gap) == pytest.approx(water.energies[5] - water.energies[4], abs=CONVERGED)
    similarity = orbital_similarity(
        orbitals.coefficients, water.coefficients, torch.from_numpy(water.energies), water.overlap, 5
    )
    torch.testing.assert_close(similarity, torch.ones(5, dtype=torch.float64), atol=CONVERGED, rtol=0)


def test_mulliken_charges(water: SimpleNamespace) -> None:
    density = solve_molecule(water.hamiltonian, water.overlap, 10).density_matrix
    charges = mulliken_charges(density, water.overlap, water.orbital_atoms, water.nuclear_charges)
    _, expected = water.field.mulliken_pop(dm=water.density, verbose=0)
    np.testing.assert_allclose(charges.numpy(), expected, atol=CONVERGED)
    assert float(charges.sum()) == pytest.approx(0.0, abs=CONVERGED)


def test_loewdin_charges(water: SimpleNamespace) -> None:
    density = solve_molecule(water.hamiltonian, water.overlap, 10).density_matrix
    charges = loewdin_charges(density, water.overlap, water.orbital_atoms, water.nuclear_charges)
    # Mulliken's populations in symmetrically orthogonalized orbitals are Löwdin's.
    root = np.linalg.inv(_inverse_root(water.overlap.numpy()))
    populations = np.diag(root @ water.density @ root)
    expected = water.molecule.atom_charges() - np.bincount(water.orbital_atoms.numpy(), populations)
    np.testing.assert_allclose(charges.numpy(), expected, atol=CONVERGED)


def _inverse_root(overlap: np.ndarray) -> np.ndarray:
    from pyscf.lo import orth

    return orth.lowdin(overlap)


def test_dipole_moment(water: SimpleNamespace) -> None:
    density = solve_molecule(water.hamiltonian, water.overlap, 10).density_matrix
    integrals = torch.from_numpy(water.molecule.intor("int1e_r")) * BOHR
    dipole = dipole_moment(density, integrals, water.nuclear_charges, water.positions)
    expected = water.field.dip_moment(dm=water.density, unit="AU", verbose=0) * BOHR
    np.testing.assert_allclose(dipole.numpy(), expected, atol=CONVERGED)
    # Negative control on the sign: water points from oxygen, negative, to the hydrogens, 1.7 D away in STO-3G.
    towards_hydrogens = water.positions[1:].mean(dim=0) - water.positions[0]
    assert float(dipole @ towards_hydrogens) > 0
    assert 1.5 * DEBYE < float(dipole.norm()) < 2.0 * DEBYE


def test_all_observables_are_batched(water: SimpleNamespace) -> None:
    h, s = (torch.stack([m, m]) for m in (water.hamiltonian, water.overlap))
    charges = torch.stack([water.nuclear_charges] * 2)
    density = solve_molecule(h, s, 10).density_matrix
    integrals = torch.from_numpy(water.molecule.intor("int1e_r")).expand(2, -1, -1, -1) * BOHR
    for result in (
        mulliken_charges(density, s, water.orbital_atoms, charges),
        loewdin_charges(density, s, water.orbital_atoms, charges),
        dipole_moment(density, integrals, charges, torch.stack([water.positions] * 2)),
    ):
        torch.testing.assert_close(result[0], result[1], atol=1e-13, rtol=0)  # order of summation
