"""PySCF's crystals against CP2K's, with one small basis, and against finite differences."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg

from adiabat.core.errors import ConfigError, EngineError, ScfNotConvergedError
from adiabat.data.structure import Structure
from adiabat.engines.cp2k import Cp2kEngine
from adiabat.engines.cp2k_files import find_program
from adiabat.engines.mid_gap import dense_bloch_matrix
from adiabat.engines.pyscf_crystal import PyscfCrystalEngine
from adiabat.physics.crystal_overlap import crystal_overlap

# Tight functions keep the number of images, and the time, small.
BASIS = "H TIGHT\n 1\n 2 0 1 3 1 1\n 4.2 0.09 0.10\n 1.1 0.38 0.45\n 0.35 0.62 0.70\n"
HYDROGEN = Structure(
    np.array([1, 1]),
    np.array([[0.0, 0, 0], [0.7, 0.2, 0.1]]),
    np.array([[3.2, 0.2, 0], [0, 3.4, 0.3], [0.4, 0, 4.0]]),
    np.array([True, True, True]),
)
K_POINTS = np.array([[0.0, 0, 0], [0.5, 0.5, 0.5], [0.13, 0.27, -0.4]])


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> PyscfCrystalEngine:
    file: Path = tmp_path_factory.mktemp("basis") / "TIGHT"
    file.write_text(BASIS)
    return PyscfCrystalEngine(kpoints=(2, 1, 1), cutoff=350, basis="TIGHT", basis_file=str(file))


@pytest.fixture(scope="module")
def labels(engine):
    return engine.label(HYDROGEN, ["energy", "hamiltonian", "overlap", "fermi_level"]).labels


def energies_at(labels, k: np.ndarray) -> np.ndarray:
    return scipy.linalg.eigvalsh(*(dense_bloch_matrix(labels[name], k) for name in ("hamiltonian", "overlap")))


def test_matrices_are_hermitian_and_the_gap_holds_the_fermi_level(engine, labels):
    assert labels["hamiltonian"].hermiticity_error() < 1e-10
    exact = crystal_overlap(HYDROGEN, engine.gaussian_basis([1]), labels["hamiltonian"].pairs)
    assert np.array_equal(labels["overlap"].values, exact.values)
    for k in K_POINTS[:1]:
        energies = energies_at(labels, k)
        assert energies[0] < labels["fermi_level"] < energies[1]


def test_it_agrees_with_cp2k(engine, labels):
    try:
        find_program()
    except EngineError:
        pytest.skip("CP2K is not installed")
    settings = {"kpoints": (2, 1, 1), "basis": "TIGHT", "basis_file": engine.basis_file}
    other = Cp2kEngine(cutoff=350, rel_cutoff=70, eps_scf=1e-9, **settings)
    theirs = other.label(HYDROGEN, ["energy", "hamiltonian", "overlap", "fermi_level"]).labels
    assert float(labels["energy"]) == pytest.approx(float(theirs["energy"]), abs=1e-3)
    # The two count energies from averages of the potential that differ: H is defined up to μS.
    shift = float(labels["fermi_level"] - theirs["fermi_level"])
    assert abs(shift) < 0.1
    for k in K_POINTS:
        assert np.abs(energies_at(labels, k) - energies_at(theirs, k) - shift).max() < 1e-4


def test_forces_are_the_derivative_of_the_energy(engine, labels):
    forces = engine.label(HYDROGEN, ["forces"]).labels["forces"]
    step = np.zeros((2, 3))
    step[1, 0] = 2e-3
    ahead, behind = (
        float(engine.label(replace(HYDROGEN, positions=HYDROGEN.positions + s * step), ["energy"]).labels["energy"])
        for s in (1, -1)
    )
    # The third derivative along a stretched H2 leaves 1e-4 at this step.
    assert forces[1, 0] == pytest.approx(-(ahead - behind) / 4e-3, abs=5e-4)
    assert abs(forces[1, 0]) > 1


def test_forces_on_a_coarse_grid_are_refused(engine):
    with pytest.raises(EngineError, match="with a sum of") as caught:
        replace(engine, cutoff=60.0).label(HYDROGEN, ["forces"])
    assert "--cutoff 90" in caught.value.suggestion


def test_a_mesh_too_coarse_for_the_reach_is_refused_with_the_number(engine):
    with pytest.raises(EngineError, match=r"from \(3, 3, 3\) k-points that is .* eV off H\(k\) between them"):
        replace(engine, reach_threshold=0.09, truncation=1e-7, cutoff=60.0).label(HYDROGEN, ["hamiltonian"])


def test_an_scf_that_gives_up_is_no_label(engine):
    with pytest.raises(ScfNotConvergedError, match="in 1 cycles"):
        replace(engine, max_cycles=1, cutoff=60.0).label(HYDROGEN, ["energy"])


def test_open_shells_and_flat_cells_are_refused(engine):
    with pytest.raises(EngineError, match="2 unpaired electrons"):
        engine.check([replace(HYDROGEN, spin=2)], ["energy"])
    with pytest.raises(EngineError, match="span a volume"):
        engine.check([Structure(HYDROGEN.atomic_numbers, HYDROGEN.positions)], ["energy"])
    with pytest.raises(ConfigError, match=r"truncation = 0\.0"):
        PyscfCrystalEngine(truncation=0.0)
