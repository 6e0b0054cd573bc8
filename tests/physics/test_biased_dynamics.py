"""The surface that is lower where members disagree: forces are its gradient, stress its strain derivative."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.cluster import Octahedron

from adiabat.data.readers import read_records
from adiabat.data.structure import Structure
from adiabat.simulation import committee as committees
from adiabat.simulation.calculator import AdiabatCalculator
from adiabat.simulation.committee import Bias, Committee
from adiabat.simulation.md import run_md
from adiabat.simulation.settings import BiasSettings, MdSettings
from known_committees import argon_committee

BIAS = BiasSettings(strength=0.5, softening=1e-4)


def members():
    """Three members whose forces, not only depths, differ."""
    return argon_committee((0.9, 1.0, 1.15), sigmas=(3.36, 3.40, 3.43))


def cluster() -> Atoms:
    atoms = Octahedron("Ar", 2, latticeconstant=5.3)
    atoms.rattle(0.1, seed=1)
    return atoms


def energy_at(atoms: Atoms) -> float:
    atoms.calc = AdiabatCalculator(members(), bias=BIAS)
    return float(atoms.get_potential_energy())


def numerical_forces(atoms: Atoms, step: float = 3e-5) -> np.ndarray:
    forces = np.zeros((len(atoms), 3))
    for index in np.ndindex(*forces.shape):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[index] += sign * step
            energies.append(energy_at(moved))
        forces[index] = -(energies[0] - energies[1]) / (2 * step)
    return forces


def without_normalization(self: Committee, settings: BiasSettings) -> Bias:
    """Negative control: the gradient of σ² where that of σ is meant."""
    deviations = self.energies - self.energies.mean()
    weights = -settings.strength * deviations / (len(deviations) - 1)
    softened = float(np.hypot(self.energy_uncertainty, settings.softening))
    forces = np.tensordot(weights, self.forces - self.forces.mean(axis=0), axes=1)
    return Bias(-settings.strength * (softened - settings.softening), forces, None)


def test_energy_is_the_mean_less_the_spread() -> None:
    atoms = cluster()
    biased = energy_at(atoms)
    structure = Structure.from_ase(atoms)
    committee = members()
    energies = [float(one(one.graph(structure, ("energy",)), ("energy", "forces")).energy) for one in committee.members]
    sigma = np.std(energies, ddof=1)
    assert atoms.calc.results["energy_uncertainty"] == pytest.approx(sigma, rel=1e-12)
    assert atoms.calc.results["unbiased_energy"] == pytest.approx(np.mean(energies), rel=1e-12)
    expected = np.mean(energies) - 0.5 * (np.hypot(sigma, 1e-4) - 1e-4)
    assert biased == pytest.approx(expected, rel=1e-12)


def test_forces_are_the_gradient_of_the_biased_energy() -> None:
    atoms = cluster()
    energy_at(atoms)
    # Central differences of 3e-5 Å: truncation is 4e-9 eV/Å, rounding less.
    np.testing.assert_allclose(atoms.get_forces(), numerical_forces(atoms), atol=1e-8)
    plain = atoms.copy()
    plain.calc = AdiabatCalculator(members())
    assert np.abs(atoms.get_forces() - plain.get_forces()).max() > 1e-3


def test_the_gradient_of_the_variance_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committees.Committee, "bias", without_normalization)
    atoms = cluster()
    energy_at(atoms)
    assert np.abs(atoms.get_forces() - numerical_forces(atoms)).max() > 1e-4


def test_stress_is_the_strain_derivative_of_the_biased_energy() -> None:
    crystal = bulk("Ar", cubic=True, a=5.2)
    crystal.rattle(0.05, seed=0)
    energy_at(crystal)
    step = 1e-5
    for component, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[i, j] = strain[j, i] = sign * step * (1.0 if i == j else 0.5)
            strained = crystal.copy()
            strained.set_cell(crystal.cell @ (np.eye(3) + strain), scale_atoms=True)
            energies.append(energy_at(strained))
        derivative = (energies[0] - energies[1]) / (2 * step) / crystal.get_volume()
        assert crystal.get_stress()[component] == pytest.approx(derivative, abs=1e-9)


def ripple(timestep: float, directory: Path) -> float:
    """Standard deviation of the conserved energy of NVE on the biased surface [eV]."""
    settings = MdSettings(
        timestep_fs=timestep, steps=round(400 / timestep), temperature_K=20.0, log_interval=1, bias=BIAS
    )
    structure = Structure.from_ase(Octahedron("Ar", 2, latticeconstant=5.3))
    run_md(members(), structure, settings, directory)
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    assert all(line["energy_uncertainty"] > 0 and "unbiased_energy" in line for line in lines)
    return float(np.std([line["conserved_energy"] for line in lines]))


def test_nve_conserves_the_biased_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coarse, fine = (ripple(timestep, tmp_path / f"{timestep}") for timestep in (10.0, 5.0))
    # Velocity Verlet is of second order: half the step, a quarter of the error.
    assert coarse / fine == pytest.approx(4.0, rel=0.1)
    monkeypatch.setattr(committees.Committee, "bias", without_normalization)
    coarse, fine = (ripple(timestep, tmp_path / f"wrong {timestep}") for timestep in (10.0, 5.0))
    assert coarse / fine < 2.0


def test_the_bias_raises_the_uncertainty_that_dynamics_meet(tmp_path: Path) -> None:
    """Towards the unknown with τ > 0, away from it with τ < 0."""
    met = {}
    for strength in (-2.0, 0.0, 2.0):
        settings = MdSettings(
            ensemble="langevin", timestep_fs=5.0, steps=80, temperature_K=10.0, friction_per_fs=0.02, log_interval=1,
            bias=BiasSettings(strength=strength),
        )  # fmt: skip
        structure = Structure.from_ase(Octahedron("Ar", 2, latticeconstant=5.3))
        run_md(members(), structure, settings, tmp_path / f"{strength}")
        lines = [json.loads(line) for line in (tmp_path / f"{strength}" / "log.jsonl").read_text().splitlines()]
        met[strength] = np.mean([line["energy_uncertainty"] for line in lines[30:]])
    assert met[-2.0] < met[0.0] < met[2.0]


def test_a_biased_trajectory_can_be_read(tmp_path: Path) -> None:
    settings = MdSettings(timestep_fs=5.0, steps=4, temperature_K=10.0, trajectory_interval=2, bias=BIAS)
    crystal = Structure.from_ase(bulk("Ar", cubic=True, a=5.3))
    run_md(members(), crystal, settings, tmp_path)
    records = read_records(tmp_path / "trajectory.xyz")
    assert [set(record.labels) for record in records] == [{"energy", "forces", "stress"}] * 3
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert "unbiased_energy" in last
