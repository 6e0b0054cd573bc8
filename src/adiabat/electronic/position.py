"""Matrix elements of the position r between localized orbitals, which light and Berry curvature need beside H and S."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.core.operators import BlockOperator
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.crystal_matrices import CrystalMatrices, values_of

_CONSISTENT: Final = 1e-5
"""Å to which ⟨0μ|r|Rν⟩ must agree with its reverse: integrals on a grid scatter less."""


@dataclass(frozen=True)
class PositionOperator:
    """The position between orbitals, kept in the form q(R) = ⟨0μ| r − R/2 |Rν⟩, which is Hermitian.

    Attributes:
        symmetric: q(R) along x, y, z [Å], spin-free, over the pairs of S.
        is_exact: whether the matrix elements were given; False if they were estimated from the atoms' places.
    """

    symmetric: tuple[BlockOperator, BlockOperator, BlockOperator]
    is_exact: bool

    @classmethod
    def from_centres(cls, crystal: Crystal, positions: npt.ArrayLike) -> "PositionOperator":
        """Estimate ⟨0μ|r|Rν⟩ ≈ ½ (τ_μ + τ_ν + R) S_μν(R): the charge of two orbitals sits half way between them.

        Exact for orthonormal tight binding with r diagonal, and for two s orbitals of one shape. What it leaves out
        are dipoles within atoms (s to p) and the shift towards the tighter orbital, so it changes velocities between
        bands and the curvature of each band, but neither band velocities nor Chern numbers.

        Args:
            crystal: its S is used.
            positions: (n_atoms, 3) places τ of the atoms [Å], in the images that R counts from.

        Raises:
            ElectronicError: not one place for each atom.
        """
        overlap, places = crystal.overlap, np.asarray(positions, dtype=np.float64)
        if places.shape != (overlap.n_atoms, 3):
            raise ElectronicError(
                f"positions of shape {places.shape} for {overlap.n_atoms} atoms",
                expected="(n_atoms, 3) in Å",
                suggestion="take them from the structure that H was computed for, in the same order",
            )
        middle = (places[overlap.pairs[:, 3]] + places[overlap.pairs[:, 4]]) / 2
        per_value = np.repeat(middle, np.diff(overlap.offsets), axis=0)
        x, y, z = (overlap.with_values(overlap.values * per_value[:, axis]) for axis in range(3))
        return cls((x, y, z), is_exact=False)

    @classmethod
    def from_matrix_elements(cls, crystal: Crystal, position: Sequence[BlockOperator]) -> "PositionOperator":
        """Use given matrix elements r(R) = ⟨0μ|r|Rν⟩.

        Args:
            crystal: its S and cell tie r(R) to r(−R).
            position: r(R) along x, y, z [Å], spin-free, over the pairs of S.

        Raises:
            ElectronicError: other pairs, or an r(R) that disagrees with ⟨Rν|r|0μ⟩ = ⟨0ν|r|−Rμ⟩ + R S.
        """
        overlap = crystal.overlap
        if len(position) != 3 or any(
            part.spin != "none" or not np.array_equal(part.pairs, overlap.pairs) for part in position
        ):
            raise ElectronicError(
                f"{len(position)} position operators, of spin layouts {[part.spin for part in position]}",
                expected="three (x, y, z), without spin, over the pairs of S",
                suggestion="put each on the pairs of S with BlockOperator.on_pairs",
            )
        # R in the periodic directions only: others may hold any cell vector, and R is zero there.
        shifts = overlap.pairs[:, :3] @ np.where(crystal.periodic[:, None], crystal.cell, 0.0)
        half = np.repeat(shifts / 2, np.diff(overlap.offsets), axis=0)
        x, y, z = (part.with_values(part.values - half[:, axis] * overlap.values) for axis, part in enumerate(position))
        worst = max(part.hermiticity_error() for part in (x, y, z))
        if not worst <= _CONSISTENT:
            raise ElectronicError(
                f"position matrix elements ⟨0μ|r|Rν⟩ that differ from those of (−R, ν, μ) by up to {worst:.3g} Å",
                expected=f"⟨0μ|r|Rν⟩ = ⟨0ν|r|−Rμ⟩* + R S(R), to {_CONSISTENT:g} Å",
                suggestion="check the origin (r counts from one origin for all pairs, not from the first atom), the "
                "unit, and the sign of R",
            )
        return cls((x.symmetrized(), y.symmetrized(), z.symmetrized()), is_exact=True)

    def along_periodic(self, crystal: Crystal) -> "PositionOperator":
        """Only its part in the span of the periodic lattice vectors, along which there is a k."""
        rows = crystal.cell[crystal.periodic]
        onto = np.linalg.pinv(rows) @ rows if len(rows) else np.zeros((3, 3))
        values = np.tensordot(onto, np.stack([part.values for part in self.symmetric]), axes=1)
        x, y, z = (part.with_values(values[axis]) for axis, part in enumerate(self.symmetric))
        return PositionOperator((x, y, z), self.is_exact)

    def matrices(
        self, bloch: CrystalMatrices, k_frac: Float[Tensor, "n_k 3"]
    ) -> Complex[Tensor, "3 n_k n_basis n_basis"]:
        """q(k) [Å] in the basis of H(k)."""
        return torch.stack([bloch.overlap_form(bloch.bloch(values_of(part), k_frac)) for part in self.symmetric])

    def curl(self, bloch: CrystalMatrices, k_frac: Float[Tensor, "n_k 3"]) -> Complex[Tensor, "3 n_k n_basis n_basis"]:
        """∇_k × q(k) [Å²] in the basis of H(k)."""
        x, y, z = (
            [bloch.overlap_form(part) for part in bloch.gradient(component, k_frac)] for component in self.symmetric
        )
        return torch.stack([z[1] - y[2], x[2] - z[0], y[0] - x[1]])
