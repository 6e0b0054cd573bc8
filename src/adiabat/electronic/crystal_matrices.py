"""H(k), S(k) and their derivatives in Cartesian k, for every spin layout in one form."""

from typing import Any

import numpy.typing as npt
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from adiabat.core.operators import BlockOperator
from adiabat.electronic.bloch import BlochSum, double_for_spinor, join_spinor
from adiabat.electronic.crystal import Crystal


class CrystalMatrices:
    """Bloch sums of one crystal, with a leading axis over spin channels and spinors joined to one matrix.

    Args:
        crystal: H and S.
    """

    def __init__(self, crystal: Crystal) -> None:
        self.crystal = crystal
        self.bloch = BlochSum(crystal.overlap)
        self._cell = torch.from_numpy(crystal.cell) / (2 * torch.pi)
        self._axes = [axis for axis in range(3) if crystal.periodic[axis]]

    def __call__(
        self, k_frac: Float[Tensor, "n_k 3"]
    ) -> tuple[Complex[Tensor, "n_channels n_k n_basis n_basis"], Complex[Tensor, "n_k n_basis n_basis"]]:
        """H(k) [eV] and S(k), made Hermitian to the last digit."""
        h = self.hamiltonian_form(self.bloch(values_of(self.crystal.hamiltonian), k_frac))
        s = self.overlap_form(self.bloch(values_of(self.crystal.overlap), k_frac))
        return (h + h.mH) / 2, (s + s.mH) / 2

    def overlap(self, k_frac: Float[Tensor, "n_k 3"]) -> Complex[Tensor, "n_k n_basis n_basis"]:
        """S(k)."""
        s = self.overlap_form(self.bloch(values_of(self.crystal.overlap), k_frac))
        return (s + s.mH) / 2

    def gradients(
        self, k_frac: Float[Tensor, "n_k 3"]
    ) -> tuple[Complex[Tensor, "3 n_channels n_k n_basis n_basis"], Complex[Tensor, "3 n_k n_basis n_basis"]]:
        """∂H/∂k [eV·Å] and ∂S/∂k [Å] along x, y, z; zero where the crystal does not repeat."""
        h = self.gradient(self.crystal.hamiltonian, k_frac)
        s = self.gradient(self.crystal.overlap, k_frac)
        return (
            torch.stack([self.hamiltonian_form(part) for part in h]),
            torch.stack([self.overlap_form(part) for part in s]),
        )

    def gradient(
        self, operator: BlockOperator, k_frac: Float[Tensor, "n_k 3"]
    ) -> Complex[Tensor, "3 *components n_k n_orb n_orb"]:
        """∂O/∂k_a = Σ_R iR_a exp(ik·R) O(R) of an operator over the crystal's pairs [unit of O times Å]."""
        values = values_of(operator)
        total = torch.zeros(())
        for axis in self._axes:
            part = self.bloch.derivative(values, k_frac, axis)
            total = total + torch.stack([self._cell[axis, a] * part for a in range(3)])
        return total if self._axes else torch.stack([0 * self.bloch(values, k_frac)] * 3)

    def hessians(
        self, k_frac: Float[Tensor, "n_k 3"]
    ) -> tuple[Complex[Tensor, "3 3 n_channels n_k n_basis n_basis"], Complex[Tensor, "3 3 n_k n_basis n_basis"]]:
        """∂²H/∂k_a∂k_b [eV·Å²] and ∂²S/∂k_a∂k_b [Å²]."""
        h = self._hessian(values_of(self.crystal.hamiltonian), k_frac)
        s = self._hessian(values_of(self.crystal.overlap), k_frac)
        return (
            torch.stack([torch.stack([self.hamiltonian_form(part) for part in row]) for row in h]),
            torch.stack([torch.stack([self.overlap_form(part) for part in row]) for row in s]),
        )

    def _hessian(self, values: Tensor, k_frac: Tensor) -> list[list[Tensor]]:
        zero = 0 * self.bloch(values, k_frac)
        total = [[zero] * 3 for _ in range(3)]
        for first in self._axes:
            for second in self._axes:
                part = self.bloch.second_derivative(values, k_frac, first, second)
                for a in range(3):
                    for b in range(3):
                        total[a][b] = total[a][b] + self._cell[first, a] * self._cell[second, b] * part
        return total

    def hamiltonian_form(self, blocks: Tensor) -> Complex[Tensor, "n_channels n_k n_basis n_basis"]:
        """Components of H as (n_channels, n_k, n_basis, n_basis)."""
        if self.crystal.spin == "spinor":
            return join_spinor(blocks).unsqueeze(0)
        return blocks if self.crystal.spin == "collinear" else blocks.unsqueeze(0)

    def overlap_form(self, blocks: Tensor) -> Complex[Tensor, "n_k n_basis n_basis"]:
        """A spin-free matrix in the basis of H(k)."""
        return double_for_spinor(blocks) if self.crystal.spin == "spinor" else blocks


def values_of(operator: BlockOperator) -> Tensor:
    """Block values as a tensor."""
    values: npt.NDArray[Any] = operator.values
    return torch.from_numpy(values)
