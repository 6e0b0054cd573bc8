"""A quickstart's results, made up: a water molecule whose gap, energies and errors are known by construction."""

import numpy as np
import numpy.typing as npt

from adiabat.core.units import BOLTZMANN
from adiabat.reports.results import (
    Checkpoints,
    Dynamics,
    ElectronicTrajectory,
    HeldOutErrors,
    LearningCurves,
    Parity,
    QuickstartResults,
)

N_OCCUPIED = 5
GAP_ERROR = 0.004
"""Difference of model and DFT gap at every checkpoint [eV]."""

_SETTINGS = {
    "seed": 3,
    "xc": "pbe",
    "basis": "def2-svp",
    "grid_level": 5,
    "n_train": 30,
    "n_validation": 5,
    "n_test": 6,
    "temperatures": [300.0, 600.0],
    "training_steps": 400,
    "time_step": 0.5,
    "dynamics_steps": 400,
    "start_temperature": 400.0,
    "frame_interval": 4,
    "n_checkpoints": 5,
}


def synthetic_results() -> QuickstartResults:
    """Two hundred fs of a harmonic molecule that conserves its energy exactly."""
    generator = np.random.default_rng(0)
    time = np.arange(401) * 0.5
    phase = 2 * np.pi * time / 9.0
    kinetic = 0.05 * (1 + np.cos(phase))
    positions = _water(0.97 + 0.03 * np.sin(phase), 0.97 + 0.02 * np.cos(phase), 104 + 4 * np.sin(phase / 2.3))
    dynamics = Dynamics(
        time=time,
        potential=-2077 + 0.05 * (1 - np.cos(phase)),
        kinetic=kinetic,
        temperature=2 * kinetic / (6 * BOLTZMANN),
        frame_time=time[::4],
        positions=positions[::4],
        atomic_numbers=np.array([8, 1, 1]),
        symbols=["O", "H", "H"],
    )
    levels = np.concatenate([[-510.0, -25.0, -13.0, -9.2, -7.0, -0.7, 1.5], np.arange(3.0, 20.0)])
    energies = np.tile(levels, (len(time[::4]), 1))
    energies[:, N_OCCUPIED:] += 0.2 * np.sin(phase[::4])[:, None]
    checked = np.array([10, 30, 50, 70, 90])
    reference = energies[checked].copy()
    reference[:, N_OCCUPIED:] -= GAP_ERROR
    hamiltonian = generator.normal(0, 5, 600)
    return QuickstartResults(
        run={
            "settings": _SETTINGS,
            "method": "PBE/def2-svp",
            "training": {"schedule": {"max_steps": 400}},
            "versions": {"python": "3.12", "adiabat": "0.1.0"},
            "machine": "Linux x86_64, 2 processors",
        },
        stages={"labels": 100.0, "training": 150.0},
        training_positions=_water(
            generator.uniform(0.9, 1.05, 30), generator.uniform(0.9, 1.05, 30), generator.uniform(90, 118, 30)
        ),
        test=HeldOutErrors(
            n_structures=6,
            energy=_parity(-2077 + generator.gamma(2.0, 0.1, 6), 1e-3),
            forces=_parity(generator.normal(0, 2, 54), 0.01),
            hamiltonian=_parity(hamiltonian, 5e-4),
            h0=hamiltonian + generator.normal(0, 0.2, 600),
            orbital_energies=_parity(generator.uniform(-30, -5, 30), 2e-3),
            gap=_parity(generator.uniform(5, 7, 6), 3e-3),
            orbital_similarity=0.999998,
            by_temperature={
                temperature: {"energy": 1.0, "forces": 10.0, "hamiltonian": 20.0, "gap": 3.0}
                for temperature in (300.0, 600.0)
            },
        ),
        learning=LearningCurves(
            steps=np.arange(1, 11) * 40.0,
            errors={name: 100 * np.exp(-np.arange(10) / 3.0) for name in ("energy", "forces", "hamiltonian")},
        ),
        dynamics=dynamics,
        electronic=ElectronicTrajectory(time=time[::4], orbital_energies=energies, n_occupied=N_OCCUPIED),
        checkpoints=Checkpoints(
            time=time[::4][checked],
            model_orbital_energies=energies[checked],
            dft_orbital_energies=reference,
            n_occupied=N_OCCUPIED,
            energy_error=np.full(5, 1e-3),
            force_mae=np.full(5, 0.01),
            hamiltonian_mae=np.full(5, 5e-4),
            cycles_from_model=np.full(5, 5.0),
            cycles_from_atoms=np.full(5, 10.0),
        ),
    )


def _parity(reference: npt.NDArray[np.float64], error: float) -> Parity:
    """Predictions that are off by ``error`` with alternating sign."""
    return Parity(reference, reference + error * (-1.0) ** np.arange(len(reference)))


def _water(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], angle: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Positions (n, 3, 3) of O, H, H from bonds [Å] and angle [degree]."""
    positions = np.zeros((len(first), 3, 3))
    positions[:, 1, 0] = first
    positions[:, 2, 0] = second * np.cos(np.radians(angle))
    positions[:, 2, 1] = second * np.sin(np.radians(angle))
    return positions
