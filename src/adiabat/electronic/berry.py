"""Berry curvature of bands in a basis of non-orthogonal orbitals, and Chern numbers."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.electronic.bands import as_k_points
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.crystal_matrices import CrystalMatrices
from adiabat.electronic.fermi import insulating_counts, metal_reason
from adiabat.electronic.kpoints import monkhorst_pack
from adiabat.electronic.position import PositionOperator
from adiabat.electronic.velocities import BandDerivatives, derivatives_in_chunks

DEGENERATE: Final = 1e-5
"""Energy difference [eV] below which states count as one level: they share their curvature."""


@dataclass(frozen=True)
class BerryCurvature:
    """Curvature of every band.

    Attributes:
        energies: (n_channels, n_k, n_states) ε [eV]; +∞ for dropped states.
        curvature: (n_channels, n_k, n_states, 3) Ω_n = ∇_k × i⟨u_n|∇_k u_n⟩ [Å²]: the components yz, zx, xy; along
            the normal in two dimensions. States of one level have their level's mean.
        is_exact: whether matrix elements of r were given.
    """

    energies: Float[Tensor, "n_channels n_k n_states"]
    curvature: Float[Tensor, "n_channels n_k n_states 3"]
    is_exact: bool


def berry_curvature(
    crystal: Crystal,
    k_frac: Float[Tensor, "n_k 3"] | npt.NDArray[np.float64],
    position: PositionOperator,
    *,
    degenerate: float = DEGENERATE,
) -> BerryCurvature:
    """Curvature of every band at each k.

    With A_nm = −iħ v_nm/(ε_n − ε_m) between levels, q of :class:`PositionOperator` and D = q + ½i ∂S/∂k,

        Ω_n = −Im Σ_m A_nm × A_mn + C_n†(∇ × q)C_n + Im Σ_m (D_mn)* × D_mn.

    The first term is the sum over bands. The others are what the space of the orbitals contributes by turning with k;
    they vanish for orthonormal orbitals with a diagonal r.

    Args:
        crystal: H and S.
        k_frac: (n_k, 3) in fractions of the reciprocal lattice.
        position: r between the orbitals.
        degenerate: energy difference [eV] below which states are one level.

    Source: [wang2019], [xiao2010] for the sum over bands.
    """
    points = as_k_points(k_frac)
    matrices = CrystalMatrices(crystal)
    position = position.along_periodic(crystal)
    energies: list[Tensor] = []
    curvatures: list[Tensor] = []
    for here, part in derivatives_in_chunks(matrices, points):
        q = part.in_bands(position.matrices(matrices, points[here]))
        curl = part.in_bands(position.curl(matrices, points[here])).diagonal(dim1=-2, dim2=-1).real
        frame = q + 0.5j * part.overlap
        curvature = _sum_over_bands(part, q, degenerate) + curl + _cross(frame.mH, frame.mT).sum(-1)
        curvatures.append(_share(part, curvature.movedim(0, -1), degenerate))
        energies.append(torch.where(part.kept, part.energies, torch.inf))
    return BerryCurvature(torch.cat(energies, dim=1), torch.cat(curvatures, dim=1), position.is_exact)


def chern_number(crystal: Crystal, size: tuple[int, int, int], position: PositionOperator) -> float:
    """Chern number of the occupied bands of a two-dimensional insulator, (1/2π) ∫ Ω · n d²k.

    n is the normal a × b of the first and second periodic vector. The value is not rounded: its distance from an
    integer tells whether the mesh is fine enough. It does not depend on the position operator.

    Args:
        crystal: periodic in two directions.
        size: of the k-mesh.
        position: r between the orbitals.

    Raises:
        ElectronicError: not two periodic directions, or a metal.

    Source: [xiao2010].
    """
    if crystal.n_periodic != 2:
        raise ElectronicError(
            f"the Chern number of a crystal with {crystal.n_periodic} periodic directions",
            expected="two periodic directions",
            suggestion="integrate berry_curvature over a plane of the zone yourself",
        )
    mesh = monkhorst_pack(size, time_reversal=False)
    result = berry_curvature(crystal, mesh.k_frac, position)
    counts = insulating_counts(result.energies, crystal.n_electrons, crystal.max_occupation)
    if counts is None:
        reason = metal_reason(result.energies, crystal.n_electrons, crystal.max_occupation)
        raise ElectronicError(
            f"the Chern number of a metal: {reason}",
            expected="a gap at every k of the mesh",
            suggestion="integrate berry_curvature with occupations for a Hall conductivity",
        )
    first, second = crystal.cell[crystal.periodic]
    normal = np.cross(first, second)
    normal = torch.from_numpy(normal / np.linalg.norm(normal))
    occupied = torch.arange(result.energies.shape[-1]) < torch.tensor(counts)[:, None, None]
    flux = torch.where(occupied, result.curvature @ normal, 0.0).sum(dim=(0, 2))
    return float(flux @ mesh.weights) * 2 * np.pi / crystal.measure


def _sum_over_bands(part: BandDerivatives, q: Tensor, degenerate: float) -> Tensor:
    """−Im Σ_m A_nm × A_mn, over m of other levels."""
    apart = part.differences.abs() > degenerate
    apart = apart & part.kept.unsqueeze(-1) & part.kept.unsqueeze(-2)
    gaps = torch.where(apart, part.differences, 1.0)
    connection = -1j * part.velocity(q) / gaps * apart
    return -_cross(connection, connection.conj()).sum(-1)


def _cross(left: Tensor, right: Tensor) -> Tensor:
    """Im(left × right) element by element, over the leading axis of three."""
    x, y, z = left
    u, v, w = right
    return torch.stack([y * w - z * v, z * u - x * w, x * v - y * u]).imag


def _share(part: BandDerivatives, curvature: Tensor, degenerate: float) -> Tensor:
    """Give the states of one level their mean: only the sum over a level is defined."""
    opens = torch.ones_like(part.energies, dtype=torch.bool)
    opens[..., 1:] = part.energies.diff(dim=-1) > degenerate
    opens[..., 1:] |= part.kept[..., 1:] != part.kept[..., :-1]
    level = opens.cumsum(dim=-1) - 1
    index = level.unsqueeze(-1).expand_as(curvature)
    total = torch.zeros_like(curvature).scatter_add(-2, index, curvature)
    members = torch.zeros_like(part.energies).scatter_add(-1, level, torch.ones_like(part.energies))
    return (total / members.clamp(min=1.0).unsqueeze(-1)).gather(-2, index) * part.kept.unsqueeze(-1)
