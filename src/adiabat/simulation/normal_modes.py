"""Normal modes of a structure on a model's surface, and thermal displacements along them.

H_ij = ∂²E/∂x_i∂x_j by central differences of forces;  M^(−1/2) H M^(−1/2) u_n = ω_n² u_n
x = x_0 + M^(−1/2) Σ_n u_n q_n,  ⟨q_n²⟩ = k_B T/ω_n² (classical), ħ/(2ω_n) · coth(ħω_n/2k_B T) (quantum)
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from ase.data import atomic_masses

from adiabat.core.units import BOLTZMANN, HBAR, WAVENUMBER
from adiabat.data.graph import Graph, collate
from adiabat.data.structure import Structure
from adiabat.models.model import Model, to_numpy

Array = npt.NDArray[np.float64]

_BATCH: Final = 32
"""Displaced structures evaluated at once."""


@dataclass(frozen=True, eq=False)
class NormalModes:
    """Vibrations about a structure; rigid motions are not among them.

    Attributes:
        structure: where they are taken.
        squared_frequencies: (n_modes,) ω² [eV/Å²/u], ascending; negative for imaginary modes.
        vectors: (n_atoms, 3, n_modes) mass-weighted, orthonormal.
    """

    structure: Structure
    squared_frequencies: Array
    vectors: Array

    @property
    def wavenumbers(self) -> Array:
        """(n_modes,) in 1/cm, negative for imaginary modes."""
        frequencies = np.sign(self.squared_frequencies) * np.sqrt(np.abs(self.squared_frequencies))
        return frequencies * HBAR / WAVENUMBER

    def sample(
        self,
        temperature: float,
        generator: np.random.Generator,
        *,
        statistics: Literal["classical", "quantum"] = "classical",
        lowest_wavenumber: float = 50.0,
    ) -> Array:
        """Positions (n_atoms, 3) [Å] drawn from the harmonic thermal distribution.

        Args:
            temperature: T [K].
            generator: source of randomness.
            statistics: with ``quantum``, zero-point motion is in it.
            lowest_wavenumber: softer and imaginary modes are drawn as if they had this one [1/cm].
        """
        frequencies = np.maximum(self.wavenumbers, lowest_wavenumber) * WAVENUMBER / HBAR
        width = np.sqrt(mode_variance(frequencies, temperature, statistics))
        amplitudes = width * generator.standard_normal(len(width))
        masses = atomic_masses[self.structure.atomic_numbers][:, None]
        return self.structure.positions + (self.vectors @ amplitudes) / np.sqrt(masses)


def mode_variance(frequencies: Array, temperature: float, statistics: Literal["classical", "quantum"]) -> Array:
    """⟨q²⟩ [u·Å²] of modes with ω [√(eV/Å²/u)] at T [K]."""
    if statistics == "classical":
        return BOLTZMANN * temperature / frequencies**2
    return HBAR / (2 * frequencies) / np.tanh(HBAR * frequencies / (2 * BOLTZMANN * temperature))


def normal_modes(model: Model, structure: Structure, *, difference: float = 0.01) -> NormalModes:
    """Modes from 6 n_atoms evaluations.

    Args:
        model: gives forces.
        structure: best a minimum, see :func:`adiabat.simulation.relaxation.relax`.
        difference: displacement of each coordinate [Å].
    """
    matrix = hessian(model, structure, difference=difference)
    root = np.sqrt(np.repeat(atomic_masses[structure.atomic_numbers], 3))
    vibrations = _complement(rigid_motions(structure) * root[:, None])
    squared, vectors = np.linalg.eigh(vibrations.T @ (matrix / np.outer(root, root)) @ vibrations)
    return NormalModes(structure, squared, (vibrations @ vectors).reshape(structure.n_atoms, 3, -1))


def hessian(model: Model, structure: Structure, *, difference: float = 0.01) -> Array:
    """(3 n_atoms, 3 n_atoms) symmetric second derivatives of the energy [eV/Å²]."""
    rows: list[Array] = []
    graphs: list[Graph] = []
    device = next(model.parameters()).device

    def evaluate() -> None:
        with torch.no_grad():
            forces = model(collate(graphs).to(device), ("energy", "forces")).forces
        rows.extend(to_numpy(forces).reshape(len(graphs), -1))
        graphs.clear()

    for coordinate in range(3 * structure.n_atoms):
        for sign in (1.0, -1.0):
            positions = structure.positions.copy()
            positions.flat[coordinate] += sign * difference
            graphs.append(model.graph(replace(structure, positions=positions), ("energy", "forces")))
            if len(graphs) == _BATCH:
                evaluate()
    if graphs:
        evaluate()
    plus, minus = np.array(rows[::2]), np.array(rows[1::2])
    matrix = (minus - plus) / (2 * difference)
    return (matrix + matrix.T) / 2


def rigid_motions(structure: Structure) -> Array:
    """(3 n_atoms, n) displacements that change no distance: translations, and rotations of what is not periodic."""
    n_atoms = structure.n_atoms
    columns = [np.tile(axis, (n_atoms, 1)) for axis in np.eye(3)]
    if not structure.pbc.any():
        centred = structure.positions - structure.positions.mean(axis=0)
        columns += [np.cross(axis, centred) for axis in np.eye(3)]
    return np.stack([np.asarray(column, dtype=np.float64).ravel() for column in columns], axis=1)


def _complement(vectors: Array) -> Array:
    """Orthonormal columns that span all that is orthogonal to some vectors."""
    left, singular, _ = np.linalg.svd(vectors, full_matrices=True)
    rank = int((singular > 1e-8 * singular.max()).sum())
    return np.asarray(left[:, rank:], dtype=np.float64)
