"""What a report knows of a quickstart run: plain arrays, nothing that could compute anything new."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Parity:
    """Reference and predicted values of one quantity, flat and in one order.

    Attributes:
        reference: (n,) [eV or eV/Å].
        predicted: (n,) same unit.
    """

    reference: Array
    predicted: Array

    @property
    def errors(self) -> Array:
        """Predicted − reference."""
        return self.predicted - self.reference

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return float(np.abs(self.errors).mean())

    @property
    def largest(self) -> float:
        """Largest absolute error."""
        return float(np.abs(self.errors).max())


@dataclass(frozen=True)
class HeldOutErrors:
    """Predictions on geometries that neither training nor the choice of the model saw.

    Attributes:
        n_structures: how many.
        energy: total energies [eV].
        forces: force components [eV/Å].
        hamiltonian: all matrix elements [eV].
        h0: the same elements of H0, to which the model adds its correction [eV].
        orbital_energies: occupied orbital energies [eV].
        gap: HOMO–LUMO gaps [eV].
        orbital_similarity: mean |⟨ψ_model|ψ_DFT⟩| of the occupied orbitals.
        by_temperature: for each temperature [K] of the geometries the mean absolute error of energy [meV], forces
            [meV/Å], hamiltonian [µHa] and gap [meV].
    """

    n_structures: int
    energy: Parity
    forces: Parity
    hamiltonian: Parity
    h0: Array
    orbital_energies: Parity
    gap: Parity
    orbital_similarity: float
    by_temperature: dict[float, dict[str, float]]

    @property
    def correction(self) -> Parity:
        """H − H0, what the model learns; its errors are those of H."""
        return Parity(self.hamiltonian.reference - self.h0, self.hamiltonian.predicted - self.h0)

    @property
    def h0_mae(self) -> float:
        """Mean absolute error of H0 alone, where no model is asked [eV]."""
        return float(np.abs(self.hamiltonian.reference - self.h0).mean())


@dataclass(frozen=True)
class LearningCurves:
    """Validation errors while the model was trained.

    Attributes:
        steps: (n_points,) optimizer steps.
        errors: for energy [meV], forces [meV/Å] and hamiltonian [µHa] the (n_points,) mean absolute error.
    """

    steps: Array
    errors: dict[str, Array]


@dataclass(frozen=True)
class Dynamics:
    """A constant-energy trajectory.

    Attributes:
        time: (n_steps,) [fs].
        potential: (n_steps,) [eV].
        kinetic: (n_steps,) [eV].
        temperature: (n_steps,) [K].
        frame_time: (n_frames,) times of the saved frames [fs].
        positions: (n_frames, n_atoms, 3) [Å].
        atomic_numbers: (n_atoms,).
        symbols: one per atom.
    """

    time: Array
    potential: Array
    kinetic: Array
    temperature: Array
    frame_time: Array
    positions: Array
    atomic_numbers: npt.NDArray[np.int64]
    symbols: list[str]

    @property
    def total(self) -> Array:
        """Potential plus kinetic energy (n_steps,) [eV]."""
        return self.potential + self.kinetic

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.symbols)


@dataclass(frozen=True)
class ElectronicTrajectory:
    """Orbital energies of the predicted Hamiltonian along the trajectory.

    Attributes:
        time: (n_points,) [fs].
        orbital_energies: (n_points, n_orb) [eV], ascending.
        n_occupied: number of doubly occupied orbitals.
    """

    time: Array
    orbital_energies: Array
    n_occupied: int

    @property
    def gap(self) -> Array:
        """LUMO − HOMO (n_points,) [eV]."""
        return self.orbital_energies[:, self.n_occupied] - self.orbital_energies[:, self.n_occupied - 1]


@dataclass(frozen=True)
class Checkpoints:
    """Frames of the trajectory that DFT computed as well.

    Attributes:
        time: (n,) [fs].
        model_orbital_energies: (n, n_orb) [eV].
        dft_orbital_energies: (n, n_orb) [eV].
        n_occupied: number of doubly occupied orbitals.
        energy_error: (n,) model − DFT [eV].
        force_mae: (n,) [eV/Å].
        hamiltonian_mae: (n,) [eV].
        cycles_from_model: (n,) SCF cycles started from the predicted density.
        cycles_from_atoms: (n,) SCF cycles started from PySCF's ``minao`` guess.
    """

    time: Array
    model_orbital_energies: Array
    dft_orbital_energies: Array
    n_occupied: int
    energy_error: Array
    force_mae: Array
    hamiltonian_mae: Array
    cycles_from_model: Array
    cycles_from_atoms: Array

    @property
    def model_gap(self) -> Array:
        """Gap from the predicted Hamiltonian (n,) [eV]."""
        return self.model_orbital_energies[:, self.n_occupied] - self.model_orbital_energies[:, self.n_occupied - 1]

    @property
    def dft_gap(self) -> Array:
        """Gap from DFT (n,) [eV]."""
        return self.dft_orbital_energies[:, self.n_occupied] - self.dft_orbital_energies[:, self.n_occupied - 1]


@dataclass(frozen=True)
class QuickstartResults:
    """Everything that the page shows.

    Attributes:
        run: what the run was asked for, with versions and machine, as saved.
        stages: seconds by stage, in order.
        training_positions: (n_train, n_atoms, 3) labelled geometries [Å].
        test: errors on held-out geometries.
        learning: validation errors during training.
        dynamics: the trajectory.
        electronic: orbital energies along it.
        checkpoints: frames checked against DFT.
    """

    run: dict[str, Any]
    stages: dict[str, float]
    training_positions: Array
    test: HeldOutErrors
    learning: LearningCurves
    dynamics: Dynamics
    electronic: ElectronicTrajectory
    checkpoints: Checkpoints
