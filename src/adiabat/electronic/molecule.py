"""Orbitals of a closed-shell molecule from its Hamiltonian and overlap."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.electronic.eigenproblem import LINEAR_DEPENDENCE, solve_generalized


@dataclass(frozen=True)
class MolecularOrbitals:
    """Restricted orbitals of a molecule, or of a batch of molecules with one number of orbitals.

    Attributes:
        energies: (…, n_orb) ε [eV], ascending; +∞ for orbitals dropped as linearly dependent.
        coefficients: (…, n_orb, n_orb) columns C with Cᵀ S C = 1.
        occupations: (…, n_orb) 2 or 0.
        homo: (…,) highest occupied energy [eV].
        lumo: (…,) lowest unoccupied energy [eV]; +∞ if the basis has no empty orbital.
        gap: (…,) lumo − homo [eV].
        fermi_level: (…,) middle of the gap [eV].
        density_matrix: (…, n_orb, n_orb) D = C f Cᵀ, spin-summed; Tr(D S) is the number of electrons.
        smallest_overlap: (…,) λ_min(S).
        n_dropped: (…,) number of orbitals dropped as linearly dependent.
    """

    energies: Float[Tensor, "*batch n_orb"]
    coefficients: Float[Tensor, "*batch n_orb n_orb"]
    occupations: Float[Tensor, "*batch n_orb"]
    homo: Float[Tensor, "*batch"]
    lumo: Float[Tensor, "*batch"]
    gap: Float[Tensor, "*batch"]
    fermi_level: Float[Tensor, "*batch"]
    density_matrix: Float[Tensor, "*batch n_orb n_orb"]
    smallest_overlap: Float[Tensor, "*batch"]
    n_dropped: Int[Tensor, "*batch"]


def solve_molecule(
    hamiltonian: Float[Tensor, "*batch n_orb n_orb"],
    overlap: Float[Tensor, "*batch n_orb n_orb"],
    n_electrons: int | Int[Tensor, "*batch"],
    *,
    linear_dependence: float = LINEAR_DEPENDENCE,
) -> MolecularOrbitals:
    """Diagonalize H in the metric S and fill the lowest orbitals with two electrons each.

    Args:
        hamiltonian: H [eV].
        overlap: S.
        n_electrons: electrons that the basis describes (without those inside an effective core potential).
        linear_dependence: smallest eigenvalue of S that is kept.

    Raises:
        ElectronicError: an odd number of electrons, none, more than the orbitals hold, or unusable matrices.

    Source: [roothaan1951].
    """
    states = solve_generalized(hamiltonian, overlap, linear_dependence=linear_dependence)
    n_orb = states.energies.shape[-1]
    electrons = torch.as_tensor(n_electrons, device=states.energies.device).expand(states.energies.shape[:-1])
    _check_electrons(electrons, n_orb - states.n_dropped)
    n_occupied = electrons // 2
    occupied = torch.arange(n_orb, device=states.energies.device) < n_occupied.unsqueeze(-1)
    occupations = 2.0 * occupied.to(states.energies.dtype)
    nothing_above = torch.full_like(states.energies[..., :1], torch.inf)
    padded = torch.cat([states.energies, nothing_above], dim=-1)
    homo = padded.gather(-1, n_occupied.unsqueeze(-1) - 1).squeeze(-1)
    lumo = padded.gather(-1, n_occupied.unsqueeze(-1)).squeeze(-1)
    return MolecularOrbitals(
        energies=states.energies,
        coefficients=states.coefficients,
        occupations=occupations,
        homo=homo,
        lumo=lumo,
        gap=lumo - homo,
        fermi_level=(homo + lumo) / 2,
        density_matrix=(states.coefficients * occupations.unsqueeze(-2)) @ states.coefficients.mT,
        smallest_overlap=states.smallest_overlap,
        n_dropped=states.n_dropped,
    )


def _check_electrons(electrons: Tensor, n_states: Tensor) -> None:
    if bool((electrons % 2 != 0).any()):
        odd = int(electrons[electrons % 2 != 0].flatten()[0])
        raise ElectronicError(
            f"{odd} electrons",
            expected="an even number, two to each orbital",
            suggestion="check the charge of the structure; open shells need spin-resolved Hamiltonians",
        )
    if bool((electrons <= 0).any()) or bool((electrons > 2 * n_states).any()):
        raise ElectronicError(
            f"{int(electrons.min())} to {int(electrons.max())} electrons",
            expected=f"at least 2, and at most 2 × {int(n_states.min())} orbitals",
            suggestion="check the charge, and that electrons in an effective core potential are not counted",
        )
