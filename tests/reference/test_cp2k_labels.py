"""Labels of a real CP2K: derivatives, symmetry, and its own energies. Skipped where CP2K is not installed."""

import os
import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.linalg import block_diag
from scipy.spatial.transform import Rotation

from adiabat.core.errors import EngineError, ScfNotConvergedError
from adiabat.core.operators import BlockOperator
from adiabat.data.structure import Structure
from adiabat.engines.cp2k import Cp2kBase, Cp2kEngine, Cp2kXtbEngine
from adiabat.engines.cp2k_files import find_program
from adiabat.engines.cp2k_input import Cp2kTask, input_text
from adiabat.engines.mid_gap import dense_bloch_matrix
from adiabat.engines.supervised_process import scratch_folder
from adiabat.equivariant.wigner import wigner_d

try:
    PROGRAM = find_program()
except EngineError:
    pytest.skip("CP2K is not installed", allow_module_level=True)

MESH = (2, 2, 2)
A = 2.74
# The second atom is displaced, and stands two cells away from where CP2K wraps it to.
SILICON = Structure(
    np.array([14, 14]),
    np.array([[0.0, 0, 0], [1.40, 1.36, 1.35]]) + np.array([[0.0, 0, 0], [0.0, 4 * A, 4 * A]]),
    np.array([[0.0, A, A], [A, 0.0, A], [A, A, 0.0]]),
    np.array([True, True, True]),
)
HYDROGEN = Structure(
    np.array([1, 1]),
    np.array([[0.0, 0, 0], [0.7, 0.2, 0.1]]),
    np.array([[3.0, 0.2, 0], [0, 3.1, 0.3], [0.4, 0, 4.0]]),
    np.array([True, True, True]),
)
XTB = Cp2kXtbEngine(kpoints=MESH, eps_scf=1e-10)
TARGETS = ["energy", "forces", "stress", "hamiltonian", "overlap", "fermi_level"]


@pytest.fixture(scope="module")
def labels():
    return XTB.label(SILICON, TARGETS).labels


def energy(structure: Structure, engine: Cp2kBase = XTB) -> float:
    return float(engine.label(structure, ["energy"]).labels["energy"])


def strained(strain: np.ndarray) -> Structure:
    deformation = np.eye(3) + strain
    return replace(SILICON, positions=SILICON.positions @ deformation, cell=SILICON.cell @ deformation)


def turned(operator: BlockOperator, rotation: np.ndarray, shells: tuple[int, ...]) -> np.ndarray:
    d = block_diag(*(wigner_d(l, torch.tensor(rotation)).numpy() for l in shells))
    return np.concatenate([(d @ block @ d.T).ravel() for _, block in operator.blocks()])


def energies_at(labels, k: np.ndarray) -> np.ndarray:
    return scipy.linalg.eigvalsh(*(dense_bloch_matrix(labels[name], k) for name in ("hamiltonian", "overlap")))


def test_forces_are_the_derivative_of_the_energy(labels):
    step = np.zeros((2, 3))
    step[1, 0] = 2e-3
    ahead, behind = (energy(replace(SILICON, positions=SILICON.positions + s * step)) for s in (1, -1))
    # Third order in the step; the wrong sign or the other atom would be off by 0.8 eV/Å.
    assert labels["forces"][1, 0] == pytest.approx(-(ahead - behind) / 4e-3, abs=1e-4)
    assert abs(labels["forces"][1, 0]) > 0.1
    assert np.abs(labels["forces"].sum(axis=0)).max() < 1e-8


def test_stress_is_the_derivative_of_the_energy_with_our_sign(labels):
    strain = np.zeros((3, 3))
    strain[1, 2] = strain[2, 1] = 5e-4
    ahead, behind = (energy(strained(s * strain)) for s in (1, -1))
    volume = abs(np.linalg.det(SILICON.cell))
    assert labels["stress"][1, 2] == pytest.approx((ahead - behind) / (2e-3 * volume), abs=1e-5)
    assert abs(labels["stress"][1, 2]) > 1e-3
    assert np.allclose(labels["stress"], labels["stress"].T, atol=1e-9)


def test_matrices_give_the_energies_that_cp2k_prints_between_the_points_of_the_mesh(labels):
    task = Cp2kTask(
        method="xTB", xc="", mesh=MESH, kinds={}, n_added=0, smearing=0.0, unrestricted=False, cutoff=0, rel_cutoff=0,
        eps_default=1e-12, eps_scf=1e-10, max_cycles=100, mixing=0.4, forces=False, stress=False, matrices=True,
    )  # fmt: skip
    path = """&BAND_STRUCTURE
        FILE_NAME bands
        ADDED_MOS 4
        &KPOINT_SET
            NPOINTS 2
            UNITS B_VECTOR
            SPECIAL_POINT A 0 0 0
            SPECIAL_POINT B 0.5 0.21 0.1
        &END
    &END
    &KS_CSR_WRITE"""
    structure = replace(SILICON, positions=SILICON.positions - np.array([[0.0, 0, 0], [0.0, 4 * A, 4 * A]]))
    with scratch_folder("adiabat-test-") as scratch:
        (scratch.path / "input").write_text(input_text(structure, task).replace("&KS_CSR_WRITE", path, 1))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        assert scratch.run([PROGRAM, "-i", "input"], environment, timeout=60) == 0
        printed = (scratch.path / "bands").read_text()
    points = np.array([line.split()[5:8] for line in printed.splitlines() if "Spin 1" in line], dtype=float)
    bands = np.array(re.findall(r"^ +\d+ +(-?\d+\.\d+) +\d", printed, re.M), dtype=float).reshape(len(points), -1)
    assert len(points) == 3
    for k, theirs in zip(points, bands, strict=True):
        ours, wrong = (energies_at(labels, at)[: len(theirs)] for at in (k, k + np.array([0, 0.05, 0])))
        assert np.abs(ours - theirs).max() < 1e-5  # CP2K's Hartree differs from ours in the eighth digit
        assert np.abs(wrong - theirs).max() > 1e-3


def test_pairs_count_from_the_positions_that_were_given(labels):
    overlap = labels["overlap"]
    i, j = overlap.pairs[:, 3], overlap.pairs[:, 4]
    vectors = SILICON.positions[j] - SILICON.positions[i] + overlap.pairs[:, :3] @ SILICON.cell
    sizes = np.array([np.abs(block).max() for _, block in overlap.blocks()])
    bonds = (np.linalg.norm(vectors, axis=1) < 2.7) & (i != j)
    assert bonds.sum() == 8
    assert sizes[bonds].min() > 0.25
    assert sizes[np.linalg.norm(vectors, axis=1) > 12].max(initial=0) < 1e-3


@pytest.mark.parametrize(
    ("structure", "engine", "tolerance"),
    [
        (SILICON, XTB, 1e-7),
        # The plane waves turn with the cell, so even the coarse grid of 100 Ry hardly tells.
        (HYDROGEN, Cp2kEngine(kpoints=(1, 1, 1), cutoff=100, rel_cutoff=30, eps_scf=1e-9), 2e-5),
    ],
    ids=["gfn1", "pbe"],
)
def test_hamiltonian_turns_with_the_crystal(structure, engine, tolerance):
    rotation = -Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix()
    other = replace(structure, positions=structure.positions @ rotation.T, cell=structure.cell @ rotation.T)
    shells = engine.provenance(structure).orbital_basis.of(structure.atomic_numbers[0])
    still, moved = (engine.label(s, ["hamiltonian"]).labels["hamiltonian"] for s in (structure, other))
    values = moved.on_pairs(still.pairs).values
    assert np.abs(values - turned(still, rotation, shells)).max() < tolerance
    # Negative control: the other handedness.
    assert np.abs(values - turned(still, -rotation, shells)).max() > 0.1


def test_fermi_level_lies_in_the_gap_and_smearing_agrees(labels):
    smeared = replace(XTB, smearing=0.005).label(SILICON, ["fermi_level", "energy"]).labels
    at_gamma = energies_at(labels, np.zeros(3))
    assert at_gamma[3] < labels["fermi_level"] < at_gamma[4]
    assert at_gamma[3] < smeared["fermi_level"] < at_gamma[4]
    assert float(smeared["energy"]) == pytest.approx(float(labels["energy"]), abs=1e-6)


def test_an_scf_that_gives_up_is_no_label():
    with pytest.raises(ScfNotConvergedError, match="after 2 cycles"):
        replace(XTB, max_cycles=2).label(SILICON, ["energy"])


def test_a_thin_vacuum_is_refused():
    with pytest.raises(EngineError, match="through the vacuum"):
        replace(XTB, kpoints=(2, 2, 1)).label(replace(SILICON, pbc=np.array([True, True, False])), ["hamiltonian"])
