"""Energy and SCF cycles of a density, against PySCF used directly."""

import numpy as np
import pytest
from ase.build import molecule

from adiabat.campaigns.density_check import check_density, energy_of_density, reference_engine
from adiabat.core.operators import BlockOperator
from adiabat.data.structure import Structure
from adiabat.electronic.molecule import solve_molecule
from adiabat.engines.pyscf_molecule import PyscfEngine
from adiabat.models.config import OperatorReference
from adiabat.physics.basis import orbital_basis
from adiabat.simulation.electrons import dense

WATER = Structure.from_ase(molecule("H2O"))
ENGINE = PyscfEngine(xc="hf", basis="sto-3g", grid_level=0)


@pytest.fixture(scope="module")
def labels() -> dict:
    return dict(ENGINE.label(WATER, ["energy", "hamiltonian", "overlap", "density_matrix", "h0"]).labels)


def density_of(hamiltonian: BlockOperator, overlap: BlockOperator) -> BlockOperator:
    density = solve_molecule(dense(hamiltonian), dense(overlap), 10).density_matrix
    return BlockOperator.from_dense(density.numpy(), hamiltonian.n_orbitals)


def test_energy_of_the_converged_density_is_the_energy(labels: dict) -> None:
    # The error is of second order in the density's 1e-7.
    assert energy_of_density(WATER, labels["density_matrix"], ENGINE) == pytest.approx(
        float(labels["energy"]), abs=1e-9
    )


def test_energy_of_another_density_lies_above(labels: dict) -> None:
    guess = density_of(labels["h0"], labels["overlap"])
    assert energy_of_density(WATER, guess, ENGINE) - float(labels["energy"]) > 1e-3


def test_the_converged_hamiltonian_saves_cycles_and_h0_costs_no_more_than_minao(labels: dict) -> None:
    exact = check_density(0, WATER, density_of(labels["hamiltonian"], labels["overlap"]), ENGINE)
    assert exact.converged
    assert exact.cycles_from_prediction < exact.cycles_from_minao
    # SCF stops at its own tolerance of 1e-9 Ha, 3e-8 eV.
    assert exact.energy_error == pytest.approx(0.0, abs=1e-7)
    wrong_order = np.roll(labels["density_matrix"].to_dense(), 1)
    noise = BlockOperator.from_dense((wrong_order + wrong_order.T) / 2, labels["hamiltonian"].n_orbitals)
    assert check_density(0, WATER, noise, ENGINE).cycles_from_prediction > exact.cycles_from_prediction


def test_the_reference_engine_repeats_the_labels(labels: dict) -> None:
    basis = orbital_basis([WATER], "sto-3g")
    reference = OperatorReference(xc="hf", basis="sto-3g", grid_level=0, orbital_basis=basis.to_json())
    assert reference_engine(reference) == ENGINE
