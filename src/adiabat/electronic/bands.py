"""Band energies and states of a crystal at any k."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.crystal_matrices import CrystalMatrices
from adiabat.electronic.eigenproblem import LINEAR_DEPENDENCE, check_positive, solve_generalized
from adiabat.electronic.linear_algebra import cholesky, eigvalsh, solve_triangular

_CHUNK_BYTES: Final = 2**28
"""Memory that the matrices of the k points solved together may take."""

_MATRICES: Final = 8
"""Complex matrices that solving one eigenproblem holds at a time."""


@dataclass(frozen=True)
class BandStates:
    """Solutions of H(k) C = S(k) C ε.

    Attributes:
        k_frac: (n_k, 3) k in fractions of the reciprocal lattice.
        energies: (n_channels, n_k, n_states) ε [eV], ascending; +∞ for each combination dropped as linearly dependent.
        coefficients: (n_channels, n_k, n_basis, n_states) columns C with C† S C = 1 in the lattice gauge, zero for
            dropped combinations; None unless asked for. Spinors: all ↑ orbitals, then all ↓.
        smallest_overlap: (n_k,) λ_min of S(k); errors of H reach the energies amplified by up to its inverse.
        n_dropped: (n_k,) combinations of orbitals that were dropped as linearly dependent.
    """

    k_frac: Float[Tensor, "n_k 3"]
    energies: Float[Tensor, "n_channels n_k n_states"]
    coefficients: Complex[Tensor, "n_channels n_k n_basis n_states"] | None
    smallest_overlap: Float[Tensor, " n_k"]
    n_dropped: Int[Tensor, " n_k"]

    def require_coefficients(self) -> Complex[Tensor, "n_channels n_k n_basis n_states"]:
        """The coefficients.

        Raises:
            ElectronicError: the bands were solved without them.
        """
        if self.coefficients is None:
            raise ElectronicError(
                "bands without coefficients",
                expected="states, for what depends on more than energies",
                suggestion="solve_bands(..., coefficients=True)",
            )
        return self.coefficients


def solve_bands(
    crystal: Crystal,
    k_frac: Float[Tensor, "n_k 3"] | npt.NDArray[np.float64],
    *,
    coefficients: bool = False,
    linear_dependence: float = LINEAR_DEPENDENCE,
    progress: Callable[[int], None] | None = None,
) -> BandStates:
    """Solve the bands at a list of k, a bounded number of them at a time.

    Args:
        crystal: H and S.
        k_frac: (n_k, 3) k in fractions of the reciprocal lattice.
        coefficients: keep the states too: 16 n_k n_basis² bytes for each channel.
        linear_dependence: smallest eigenvalue of S(k) that is kept; combinations of orbitals below it are projected
            out and counted in ``n_dropped``.
        progress: called with the number of k points that are done.

    Raises:
        ElectronicError: k of the wrong shape, or an S(k) that is not positive, with the k where it is so.

    Source: [loewdin1970] for the projection.
    """
    k_frac = as_k_points(k_frac)
    matrices = CrystalMatrices(crystal)
    step = max(1, _CHUNK_BYTES // (16 * _MATRICES * crystal.n_channels * crystal.n_basis**2))
    parts: list[BandStates] = []
    for start in range(0, len(k_frac), step):
        chunk = k_frac[start : start + step]
        parts.append(_solve(matrices, chunk, coefficients, linear_dependence))
        if progress is not None:
            progress(start + len(chunk))
    return BandStates(
        k_frac=k_frac,
        energies=torch.cat([part.energies for part in parts], dim=1),
        coefficients=torch.cat([part.require_coefficients() for part in parts], dim=1) if coefficients else None,
        smallest_overlap=torch.cat([part.smallest_overlap for part in parts]),
        n_dropped=torch.cat([part.n_dropped for part in parts]),
    )


def as_k_points(k_frac: Float[Tensor, "n_k 3"] | npt.NDArray[np.float64]) -> Float[Tensor, "n_k 3"]:
    """K points as a float64 tensor.

    Raises:
        ElectronicError: not a list of at least one k of three components.
    """
    k_frac = torch.as_tensor(k_frac, dtype=torch.float64)
    if k_frac.dim() != 2 or k_frac.shape[1] != 3 or not len(k_frac):
        raise ElectronicError(
            f"k points of shape {tuple(k_frac.shape)}",
            expected="(n_k, 3): fractions of the reciprocal lattice vectors, at least one k",
            suggestion="give a single k as [[k1, k2, k3]], with 0 along directions that are not periodic",
        )
    return k_frac


def _solve(matrices: CrystalMatrices, k_frac: Tensor, coefficients: bool, linear_dependence: float) -> BandStates:
    h, s = matrices(k_frac)
    overlaps = eigvalsh(s)
    smallest = overlaps[:, 0]
    _check_positive(smallest, k_frac)
    n_dropped = (overlaps < linear_dependence).sum(dim=-1)
    if coefficients or bool(n_dropped.any()):
        states = solve_generalized(h, s.expand_as(h), linear_dependence=linear_dependence)
        kept = states.coefficients if coefficients else None
        return BandStates(k_frac, states.energies, kept, smallest, n_dropped)
    lower = cholesky(s).expand_as(h)
    half = solve_triangular(lower, h, upper=False)
    energies = eigvalsh(solve_triangular(lower, half.mH, upper=False))
    return BandStates(k_frac, energies, None, smallest, n_dropped)


def _check_positive(smallest: Tensor, k_frac: Tensor) -> None:
    try:
        check_positive(smallest)
    except ElectronicError as error:
        worst = k_frac[int(smallest.argmin())].tolist()
        raise error.at(f"S(k) at k = ({', '.join(f'{k:.4g}' for k in worst)})") from None
