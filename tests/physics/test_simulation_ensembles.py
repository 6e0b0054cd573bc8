"""Conservation of energy in NVE, and the canonical kinetic energy under Langevin dynamics."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.cluster import Octahedron

from adiabat.data.graph import Graph
from adiabat.data.structure import Structure
from adiabat.models.model import Prediction
from adiabat.simulation.md import run_md
from adiabat.simulation.settings import MdSettings
from known_models import LennardJones

CLUSTER = Structure.from_ase(Octahedron("Ar", 2, latticeconstant=5.3))
DURATION_FS = 800.0


class NotConservative(LennardJones):
    """Negative control: forces that are no gradient of the energy."""

    def forward(self, graph: Graph, outputs) -> Prediction:
        result = super().forward(graph, outputs)
        return Prediction(energy=result.energy, forces=0.9 * result.forces)


def column(directory: Path, name: str) -> np.ndarray:
    return np.array([json.loads(line)[name] for line in (directory / "log.jsonl").read_text().splitlines()])


def energy_ripple(model: LennardJones, timestep: float, directory: Path) -> float:
    """Standard deviation of the conserved energy [eV] over a fixed time."""
    steps = round(DURATION_FS / timestep)
    settings = MdSettings(timestep_fs=timestep, steps=steps, temperature_K=20.0, log_interval=1)
    run_md(model, CLUSTER, settings, directory)
    return float(column(directory, "conserved_energy").std())


def test_energy_error_of_nve_falls_with_the_square_of_the_time_step(tmp_path: Path) -> None:
    coarse, fine = (energy_ripple(LennardJones(), dt, tmp_path / f"{dt}") for dt in (10.0, 5.0))
    # Velocity Verlet is of second order: half the step, a quarter of the error, up to the next order of dt.
    assert coarse / fine == pytest.approx(4.0, rel=0.1)
    # The energy exchanged between kinetic and potential is what could be lost.
    assert fine < 1e-3 * column(tmp_path / "5.0", "kinetic_energy").mean()


def test_forces_that_are_no_gradient_do_not_pass(tmp_path: Path) -> None:
    coarse, fine = (energy_ripple(NotConservative(), dt, tmp_path / f"{dt}") for dt in (10.0, 5.0))
    assert coarse / fine < 2.0


def test_langevin_samples_the_canonical_kinetic_energy(tmp_path: Path) -> None:
    # Thirty atoms out of each other's reach: only the thermostat acts, and energies decorrelate in 5 fs.
    n_atoms, temperature = 30, 200.0
    atoms = Atoms(f"Ar{n_atoms}", positions=[[20.0 * k, 0.0, 0.0] for k in range(n_atoms)])
    settings = MdSettings(
        ensemble="langevin", timestep_fs=2.0, steps=600, temperature_K=temperature, friction_per_fs=0.1, log_interval=1
    )
    run_md(LennardJones(), Structure.from_ase(atoms), settings, tmp_path)
    observed = column(tmp_path, "temperature")[20:]
    # About 120 independent samples: the mean is known to 1.4 % and the spread to 6.5 %; three times that is allowed.
    assert observed.mean() == pytest.approx(temperature, rel=0.042)
    assert observed.std() / temperature == pytest.approx(np.sqrt(2 / (3 * n_atoms)), rel=0.2)
