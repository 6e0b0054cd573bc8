"""The Slater–Koster model: Hermitian, covariant, its overlap positive, and its spins as they must be."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from adiabat.core.errors import ConfigError, StructureError
from adiabat.core.operators import Spin
from adiabat.data.structure import Structure
from adiabat.electronic.bloch import BlochSum, double_for_spinor, join_spinor
from adiabat.electronic.eigenproblem import solve_generalized
from adiabat.engines.registry import create_engine
from adiabat.engines.tight_binding import TightBindingEngine
from small_models import orthogonal_matrix, relative_difference, turned, turned_operator

TARGETS = ("hamiltonian", "overlap")
ROUNDING = 1e-12
K = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.31, 0.12, -0.4]], dtype=torch.float64)


def gallium_arsenide(seed: int = 0) -> Structure:
    atoms = bulk("GaAs", "zincblende", a=5.65)
    atoms.rattle(0.08, seed=seed)
    return Structure.from_ase(atoms)


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
@pytest.mark.parametrize("determinant", [1, -1], ids=["turned", "mirrored"])
def test_labels_turn_with_the_crystal(spin: Spin, determinant: int) -> None:
    engine, q = TightBindingEngine(spin=spin), orthogonal_matrix(determinant)
    record = engine.label(gallium_arsenide(), TARGETS)
    again = engine.label(turned(gallium_arsenide(), q), TARGETS)
    for name in TARGETS:
        expected = turned_operator(record.labels[name], record.structure, record.provenance.orbital_basis, q)
        assert relative_difference(again.labels[name].values, expected.values) < ROUNDING


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_hermitian_and_positive(spin: Spin) -> None:
    record = TightBindingEngine(spin=spin).label(gallium_arsenide(), TARGETS)
    hamiltonian, overlap = (record.labels[name] for name in TARGETS)
    assert hamiltonian.spin == spin
    assert hamiltonian.hermiticity_error() < ROUNDING
    s = BlochSum(overlap)(torch.from_numpy(overlap.values), K)
    assert float(torch.linalg.eigvalsh(s).min()) > 0.05


def test_spin_orbit_coupling_splits_bands_but_not_kramers_pairs() -> None:
    def energies(strength: float) -> torch.Tensor:
        record = TightBindingEngine(spin="spinor", spin_orbit=strength).label(gallium_arsenide(), TARGETS)
        h, s = (BlochSum(o)(torch.from_numpy(o.values), K) for o in (record.labels[name] for name in TARGETS))
        return solve_generalized(join_spinor(h), double_for_spinor(s)).energies

    coupled, free = energies(0.4), energies(0.0)
    pairs = (coupled[..., 1::2] - coupled[..., 0::2]).abs().amax(-1)
    assert float(pairs[:2].max()) < 1e-10  # Γ and the face of the zone, where k and −k are one
    assert float(pairs[2]) > 1e-6  # elsewhere, in a crystal without inversion
    assert float((coupled - free).abs().max()) > 0.05


def test_exchange_is_twice_the_given_splitting_on_site() -> None:
    record = TightBindingEngine(spin="collinear", exchange=0.7).label(gallium_arsenide(), TARGETS)
    up, down = record.labels["hamiltonian"].values
    assert float((down - up).max()) == pytest.approx(1.4)


def test_from_the_command_lines_list_and_for_molecules() -> None:
    record = create_engine("tight-binding").label(Structure.from_ase(molecule("H2O")), TARGETS)
    assert not record.labels["hamiltonian"].is_periodic
    assert record.provenance.orbital_basis.n_electrons([8, 1, 1]) == 8


def test_bad_settings_and_overlapping_atoms_are_refused() -> None:
    with pytest.raises(ConfigError, match="cutoff"):
        TightBindingEngine(cutoff=0)
    double = Structure(np.array([6, 6]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.01]]))
    with pytest.raises(StructureError):
        TightBindingEngine().label(double, TARGETS)
