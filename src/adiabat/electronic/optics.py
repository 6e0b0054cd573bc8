"""Optical conductivity of independent electrons (Kubo and Greenwood), in orbitals that are not orthogonal."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.core.units import CONDUCTANCE, VACUUM_PERMITTIVITY
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.crystal_matrices import CrystalMatrices
from adiabat.electronic.fermi import Filling
from adiabat.electronic.kpoints import KMesh
from adiabat.electronic.position import PositionOperator
from adiabat.electronic.velocities import BandDerivatives, derivatives_in_chunks

_SAME_LEVEL: Final = 1e-5
"""Energy difference [eV] below which (f_m − f_n)/(ε_m − ε_n) is taken as its limit, the slope of f."""

_CHUNK: Final = 2**22
"""Elements of (transition, photon energy) pairs that are held at a time."""


@dataclass(frozen=True)
class OpticalConductivity:
    """σ_ab(ω) of a crystal.

    Attributes:
        photon_energies: (n_w,) ħω [eV].
        interband: (3, 3, n_w) transitions between levels, in e²/ħ Å^(2−d), d being the number of periodic directions:
            e²/ħ for a sheet, e²/(ħ Å) for a solid.
        drude_weight: (3, 3) D in the conductivity i D/(ħω + iη) of a metal, in eV times the unit of ``interband``; zero
            for an insulator.
        broadening: η [eV].
        n_periodic: d.
        is_exact: whether matrix elements of r were given.
    """

    photon_energies: Float[Tensor, " n_w"]
    interband: Complex[Tensor, "3 3 n_w"]
    drude_weight: Complex[Tensor, "3 3"]
    broadening: float
    n_periodic: int
    is_exact: bool

    @property
    def total(self) -> Complex[Tensor, "3 3 n_w"]:
        """Interband and Drude part together, in the unit of ``interband``."""
        return self.interband + 1j * self.drude_weight.unsqueeze(-1) / (self.photon_energies + 1j * self.broadening)

    def in_siemens(self) -> Complex[Tensor, "3 3 n_w"]:
        """The total in S·m^(2−d): S for a sheet, S/m for a solid."""
        return self.total * CONDUCTANCE * 1e10 ** (self.n_periodic - 2)

    def dielectric_function(self) -> Complex[Tensor, "3 3 n_w"]:
        """ε(ω) = 1 + iσ/(ε₀ω) of a solid; without local fields.

        Raises:
            ElectronicError: not three periodic directions, or a photon energy of zero.
        """
        if self.n_periodic != 3 or not bool((self.photon_energies > 0).all()):
            raise ElectronicError(
                f"the dielectric function with {self.n_periodic} periodic directions, from "
                f"{float(self.photon_energies.min()):g} eV on",
                expected="a solid, periodic in three directions, and positive photon energies",
                suggestion="use the sheet conductivity of a layer, which does not depend on the thickness of the cell",
            )
        one = torch.eye(3).unsqueeze(-1)
        return one + 1j * self.total / (VACUUM_PERMITTIVITY * self.photon_energies)


def optical_conductivity(
    crystal: Crystal,
    mesh: KMesh,
    filling: Filling,
    photon_energies: Float[Tensor, " n_w"],
    position: PositionOperator,
    *,
    broadening: float = 0.05,
    progress: Callable[[int], None] | None = None,
) -> OpticalConductivity:
    """Sum over transitions at each k of a mesh.

        σ_ab = (i e²/ħ) (1/Ω) Σ_k w_k Σ_nm g (f_m − f_n)/(ε_m − ε_n) ħ²v^a_nm v^b_mn / (ε_m − ε_n − ħω − iη),

    with Ω the length, area or volume of the cell and g the electrons that a state holds. Terms of one level, with the
    slope of f in place of the quotient, make the Drude weight.

    Args:
        crystal: H and S.
        mesh: of k; one of k and −k is enough if H has time reversal, and the part that is antisymmetric in a, b is
            then zero.
        filling: Fermi level and smearing, from the same mesh or a finer one.
        photon_energies: ħω [eV].
        position: r between the orbitals.
        broadening: η [eV].
        progress: called with the number of k points that are done.

    Raises:
        ElectronicError: a broadening that is not positive, or half of a mesh for an H without time reversal.

    Source: [wang2019].
    """
    if not broadening > 0:
        raise ElectronicError(
            f"a broadening of {broadening:g} eV",
            expected="a positive width of the transitions",
            suggestion="0.05 eV, and a k-mesh on which bands move by less than that from point to point",
        )
    is_reduced = len(mesh) < math.prod(mesh.size)
    if is_reduced and not crystal.has_time_reversal:
        raise ElectronicError(
            f"half of a k-mesh for an H that differs from its time reverse by {crystal.time_reversal_error:.3g} of its "
            "largest element",
            expected="the whole mesh, as k and −k differ",
            suggestion="monkhorst_pack(size, time_reversal=False)",
        )
    matrices = CrystalMatrices(crystal)
    energies = photon_energies.to(torch.float64)
    interband = torch.zeros(3, 3, len(energies), dtype=torch.complex128)
    drude = torch.zeros(3, 3, dtype=torch.complex128)
    for here, part in derivatives_in_chunks(matrices, mesh.k_frac):
        velocity = part.velocity(part.in_bands(position.matrices(matrices, mesh.k_frac[here])))
        scale = crystal.max_occupation / crystal.measure * mesh.weights[here]
        factor, within = _occupation_quotients(part, filling, scale)
        drude += torch.einsum("acknm,bckmn,cknm->ab", velocity, velocity, (-factor * within).to(velocity.dtype))
        interband += _transitions(part, velocity, factor * ~within, energies + 1j * broadening)
        if progress is not None:
            progress(here.stop)
    if is_reduced:
        interband, drude = (interband + interband.transpose(0, 1)) / 2, (drude + drude.mT) / 2
    return OpticalConductivity(energies, interband, drude, broadening, crystal.n_periodic, position.is_exact)


def _occupation_quotients(part: BandDerivatives, filling: Filling, scale: Tensor) -> tuple[Tensor, Tensor]:
    """(f_m − f_n)/(ε_m − ε_n) times the scale of each k, 0 for dropped states; and which pairs are of one level."""
    smearing = filling.smearing
    width = smearing.width if smearing.kind != "none" else 1.0
    x = (filling.fermi_level - part.energies) / width
    f, slope = smearing.occupation(x), -smearing.delta(x) / width
    difference = -part.differences
    within = difference.abs() <= _SAME_LEVEL
    quotient = (f.unsqueeze(-2) - f.unsqueeze(-1)) / torch.where(within, 1.0, difference)
    quotient = torch.where(within, (slope.unsqueeze(-2) + slope.unsqueeze(-1)) / 2, quotient)
    kept = part.kept.unsqueeze(-1) & part.kept.unsqueeze(-2)
    return torch.where(kept, quotient, 0.0) * scale[None, :, None, None], within


def _transitions(part: BandDerivatives, velocity: Tensor, factor: Tensor, photon: Tensor) -> Tensor:
    """I Σ factor v^a_nm v^b_mn / (ε_m − ε_n − ħω − iη) over the pairs with unequal occupations."""
    chosen = torch.nonzero(factor.flatten()).flatten()
    gaps = -part.differences.flatten()[chosen]
    left = velocity.reshape(3, -1)[:, chosen]
    right = velocity.mT.reshape(3, -1)[:, chosen]
    strength = torch.einsum("at,bt,t->abt", left, right, factor.flatten()[chosen].to(left.dtype))
    total = torch.zeros(3, 3, len(photon), dtype=torch.complex128)
    step = max(1, _CHUNK // max(1, len(photon)))
    for start in range(0, len(chosen), step):
        here = slice(start, start + step)
        total += 1j * strength[:, :, here] @ (1 / (gaps[here, None] - photon))
    return total
