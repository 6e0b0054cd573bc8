"""Velocities of band states and between them, for orbitals that are not orthogonal."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from adiabat.electronic.bands import BandStates, as_k_points, solve_bands
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.crystal_matrices import CrystalMatrices
from adiabat.electronic.position import PositionOperator

_CHUNK_BYTES: Final = 2**28
"""Memory that the matrices of the k points worked on together may take."""

_MATRICES: Final = 32
"""Complex matrices that the derivatives at one k hold at a time."""


@dataclass(frozen=True)
class BandDerivatives:
    """∂H/∂k and ∂S/∂k between the states at some k.

    Attributes:
        energies: (n_channels, n_k, n) ε [eV]; 0 for dropped states, whose matrix elements are 0 too.
        kept: (n_channels, n_k, n) False for dropped states.
        coefficients: (n_channels, n_k, n_basis, n) C.
        hamiltonian: (3, n_channels, n_k, n, n) C† ∂H/∂k C [eV·Å].
        overlap: (3, n_channels, n_k, n, n) C† ∂S/∂k C [Å].
    """

    energies: Float[Tensor, "n_channels n_k n"]
    kept: Bool[Tensor, "n_channels n_k n"]
    coefficients: Complex[Tensor, "n_channels n_k n_basis n"]
    hamiltonian: Complex[Tensor, "3 n_channels n_k n n"]
    overlap: Complex[Tensor, "3 n_channels n_k n n"]

    @property
    def differences(self) -> Float[Tensor, "n_channels n_k n n"]:
        """ε_n − ε_m [eV] at (n, m)."""
        return self.energies.unsqueeze(-1) - self.energies.unsqueeze(-2)

    def in_bands(self, matrices: Complex[Tensor, "3 n_k n_basis n_basis"]) -> Complex[Tensor, "3 n_channels n_k n n"]:
        """C† M C of spin-free matrices, such as the position."""
        return self.coefficients.mH @ matrices.unsqueeze(1) @ self.coefficients

    def diagonal(self) -> Float[Tensor, "n_channels n_k n 3"]:
        """∂ε/∂k = C†(∂H − ε ∂S)C [eV·Å]."""
        h = self.hamiltonian.diagonal(dim1=-2, dim2=-1)
        s = self.overlap.diagonal(dim1=-2, dim2=-1)
        return (h - self.energies * s).real.movedim(0, -1)

    def velocity(self, position: Complex[Tensor, "3 n_channels n_k n n"]) -> Complex[Tensor, "3 n_channels n_k n n"]:
        """ħ⟨n|v|m⟩ = C_n†(∂H − ½(ε_n + ε_m) ∂S)C_m + i (ε_n − ε_m) C_n† q C_m [eV·Å].

        Args:
            position: q of :class:`PositionOperator` between the states.
        """
        mean = (self.energies.unsqueeze(-1) + self.energies.unsqueeze(-2)) / 2
        return self.hamiltonian - mean * self.overlap + 1j * self.differences * position


def band_derivatives(matrices: CrystalMatrices, states: BandStates) -> BandDerivatives:
    """Bring ∂H/∂k and ∂S/∂k into the basis of the states.

    Raises:
        ElectronicError: bands without coefficients.
    """
    c = states.require_coefficients()
    dh, ds = matrices.gradients(states.k_frac)
    kept = torch.isfinite(states.energies)
    energies = torch.where(kept, states.energies, 0.0)
    return BandDerivatives(energies, kept, c, c.mH @ dh @ c, c.mH @ ds.unsqueeze(1) @ c)


def derivatives_in_chunks(
    matrices: CrystalMatrices, k_frac: Float[Tensor, "n_k 3"]
) -> Iterator[tuple[slice, BandDerivatives]]:
    """Solve a bounded number of k points at a time; yields which they are, and their derivatives."""
    crystal = matrices.crystal
    step = max(1, _CHUNK_BYTES // (16 * _MATRICES * crystal.n_channels * crystal.n_basis**2))
    for start in range(0, len(k_frac), step):
        here = slice(start, min(start + step, len(k_frac)))
        yield here, band_derivatives(matrices, solve_bands(crystal, k_frac[here], coefficients=True))


def band_velocities(
    crystal: Crystal, k_frac: Float[Tensor, "n_k 3"] | npt.NDArray[np.float64]
) -> Float[Tensor, "n_channels n_k n_states 3"]:
    """Slopes of the bands ∂ε/∂k = C†(∂H/∂k − ε ∂S/∂k)C along x, y, z [eV·Å]; divided by ħ they are velocities.

    Of degenerate states the sum is meant: single values depend on how the states were mixed. Zero for dropped states
    and along directions that are not periodic.

    Args:
        crystal: H and S.
        k_frac: (n_k, 3) in fractions of the reciprocal lattice.

    Source: [wang2019].
    """
    points = as_k_points(k_frac)
    return torch.cat([part.diagonal() for _, part in derivatives_in_chunks(CrystalMatrices(crystal), points)], dim=1)


def velocity_matrix(
    crystal: Crystal, k_frac: Float[Tensor, "n_k 3"] | npt.NDArray[np.float64], position: PositionOperator
) -> tuple[Float[Tensor, "n_channels n_k n_states"], Complex[Tensor, "3 n_channels n_k n_states n_states"]]:
    """Energies [eV] and ħ⟨n|v|m⟩ [eV·Å] between all states at each k.

    Args:
        crystal: H and S.
        k_frac: (n_k, 3) in fractions of the reciprocal lattice.
        position: r between the orbitals; without it velocities between bands do not follow from H and S.

    Source: [wang2019].
    """
    points = as_k_points(k_frac)
    matrices = CrystalMatrices(crystal)
    energies: list[Tensor] = []
    velocities: list[Tensor] = []
    for here, part in derivatives_in_chunks(matrices, points):
        energies.append(torch.where(part.kept, part.energies, torch.inf))
        velocities.append(part.velocity(part.in_bands(position.matrices(matrices, points[here]))))
    return torch.cat(energies, dim=1), torch.cat(velocities, dim=2)
