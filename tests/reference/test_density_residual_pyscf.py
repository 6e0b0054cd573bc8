"""The residual of a density: zero at self-consistency, growing with the error of the Hamiltonian that it came from."""

import numpy as np
import pytest
from ase.build import molecule
from pyscf import scf
from scipy.stats import spearmanr

from adiabat.core.errors import StructureError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import restore_matrix
from adiabat.core.units import HARTREE
from adiabat.data.structure import Structure
from adiabat.engines.pyscf_molecule import PyscfEngine
from adiabat.physics.basis import orbital_basis, pyscf_molecule
from adiabat.physics.density_residual import density_residual
from adiabat.simulation.electrons import solve_electrons
from adiabat.simulation.hamiltonian_residual import residual_of

WATER = Structure.from_ase(molecule("H2O"))
LEVELS = {
    "hf": {"xc": "hf", "basis": "sto-3g", "grid_level": 0},
    "pbe": {"xc": "pbe", "basis": "sto-3g", "grid_level": 2},
}


@pytest.fixture(scope="module", params=LEVELS)
def case(request: pytest.FixtureRequest) -> tuple[dict, dict]:
    level = LEVELS[request.param]
    return level, dict(PyscfEngine(**level).label(WATER, ["energy", "hamiltonian", "overlap"]).labels)


def perturbed(hamiltonian: BlockOperator, size: float, seed: int = 0) -> BlockOperator:
    noise = np.random.default_rng(seed).standard_normal((hamiltonian.n_orbitals.sum(),) * 2)
    dense = hamiltonian.to_dense() + size * (noise + noise.T) / 2
    return BlockOperator.from_dense(dense, hamiltonian.n_orbitals)


def test_it_is_zero_at_convergence(case: tuple[dict, dict]) -> None:
    level, labels = case
    found = residual_of(solve_electrons(WATER, labels["hamiltonian"], labels["overlap"], "sto-3g"), **level)
    # SCF stops where its own gradient is about 1e-5 Ha
    assert found.density.norm < 1e-3
    assert found.hamiltonian < 1e-4
    assert found.density.energy == pytest.approx(float(labels["energy"]), abs=1e-6)


def test_it_follows_the_error_of_the_hamiltonian(case: tuple[dict, dict]) -> None:
    level, labels = case
    errors, norms, differences = [], [], []
    for seed, size in enumerate((0.001, 0.01, 0.03, 0.1, 0.3, 1.0)):
        wrong = perturbed(labels["hamiltonian"], size, seed)
        found = residual_of(solve_electrons(WATER, wrong, labels["overlap"], "sto-3g"), **level)
        errors.append(float(np.abs(wrong.to_dense() - labels["hamiltonian"].to_dense()).mean()))
        norms.append(found.density.norm)
        differences.append(found.hamiltonian)
        assert found.density.energy > float(labels["energy"]) - 1e-6, "no density lies below the converged one"
    assert spearmanr(errors, norms).statistic == 1.0
    assert spearmanr(errors, differences).statistic == 1.0
    # linear in a small error: ten times the error, ten times the residual, within what its direction does
    assert 3 < norms[1] / norms[0] < 30


def test_a_shift_of_all_energies_leaves_the_density_and_its_residual(case: tuple[dict, dict]) -> None:
    level, labels = case
    overlap = labels["overlap"]
    shifted = labels["hamiltonian"].with_values(labels["hamiltonian"].values + 5.0 * overlap.values)
    assert residual_of(solve_electrons(WATER, shifted, overlap, "sto-3g"), **level).density.norm < 1e-3


def test_it_is_the_gradient_of_pyscf() -> None:
    """PySCF's orbital gradient is F between occupied and empty orbitals, twice; R has it twice, above and below."""
    level = LEVELS["hf"]
    labels = PyscfEngine(**level).label(WATER, ["h0", "overlap"]).labels
    electrons = solve_electrons(WATER, labels["h0"], labels["overlap"], "sto-3g")
    found = density_residual(WATER, electrons.density_matrix, **level)
    field = scf.RHF(pyscf_molecule(WATER, "sto-3g"))
    shells = orbital_basis([WATER], "sto-3g").shell_sequence(WATER.atomic_numbers)
    h0 = restore_matrix(labels["h0"].to_dense(), "pyscf", shells) / HARTREE
    _, coefficients = field.eig(h0, field.get_ovlp())
    occupations = np.array([2.0] * 5 + [0.0] * 2)
    fock = field.get_fock(dm=field.make_rdm1(coefficients, occupations))
    gradient = field.get_grad(coefficients, occupations, fock)
    assert found.norm / HARTREE == pytest.approx(np.linalg.norm(gradient) * 2**0.5, rel=1e-6)
    assert found.per_electron == pytest.approx(found.norm / 10**0.5)
    assert set(found.to_json()) == {"norm", "per_electron", "energy"}


def test_an_open_shell_is_refused() -> None:
    radical = Structure(WATER.atomic_numbers[:2], WATER.positions[:2], spin=1)
    with pytest.raises(StructureError, match="1 unpaired electrons"):
        density_residual(radical, BlockOperator.from_dense(np.eye(6), np.array([5, 1])), **LEVELS["hf"])
