"""How much of each band state is on each orbital, atom or element."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.electronic.bands import BandStates
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.crystal_matrices import CrystalMatrices
from adiabat.electronic.linear_algebra import eigh


def orbital_weights(
    states: BandStates, crystal: Crystal, kind: Literal["mulliken", "loewdin"] = "mulliken"
) -> Float[Tensor, "n_channels n_k n_orb n_states"]:
    """Share of each spatial orbital in each state; the shares of a state add up to 1.

    Args:
        states: bands with coefficients. A state dropped as linearly dependent has no shares.
        crystal: that they were solved for.
        kind: ``mulliken``, Re C*_μ (S C)_μ, may leave 0 … 1 in large bases; ``loewdin``, |(S^½ C)_μ|², may not.

    Raises:
        ElectronicError: bands without coefficients.

    Source: [mulliken1955], [loewdin1950].
    """
    coefficients = states.require_coefficients()
    matrices = CrystalMatrices(crystal)
    weights = torch.empty(coefficients.shape, dtype=torch.float64)
    for k in range(len(states.k_frac)):
        s = matrices.overlap(states.k_frac[k : k + 1])[0]
        here = coefficients[:, k]
        if kind == "mulliken":
            weights[:, k] = (here.conj() * (s @ here)).real
        else:
            eigenvalues, vectors = eigh(s)
            root = (vectors * eigenvalues.clamp(min=0.0).sqrt().to(vectors.dtype)) @ vectors.mH
            weights[:, k] = (root @ here).abs().square()
    if crystal.spin != "spinor":
        return weights
    return weights[:, :, : crystal.n_orb] + weights[:, :, crystal.n_orb :]


def spin_expectation(states: BandStates, crystal: Crystal) -> Float[Tensor, "n_k n_states 3"]:
    """Spin ⟨σ⟩ of spinor states along x, y, z, each from −1 to 1; zero for dropped states.

    Args:
        states: bands with coefficients.
        crystal: that they were solved for, with a spinor H.

    Raises:
        ElectronicError: an H without spinors, or bands without coefficients.
    """
    if crystal.spin != "spinor":
        raise ElectronicError(
            f"the spin direction of states of an H with spin layout {crystal.spin!r}",
            expected="a spinor H",
            suggestion="without spin it is undefined; collinear channels 0 and 1 are ↑ and ↓",
        )
    n_orb = crystal.n_orb
    up, down = states.require_coefficients()[0].split(n_orb, dim=1)
    s = CrystalMatrices(crystal).overlap(states.k_frac)[:, :n_orb, :n_orb]
    # ⟨σ_x⟩ + i⟨σ_y⟩ = 2 C↑† S C↓.
    flip = 2 * torch.einsum("kmn,kmn->kn", up.conj(), s @ down)
    z = torch.einsum("kmn,kmn->kn", up.conj(), s @ up) - torch.einsum("kmn,kmn->kn", down.conj(), s @ down)
    return torch.stack([flip.real, flip.imag, z.real], dim=-1)


def grouped_weights(
    weights: Float[Tensor, "n_channels n_k n_orb n_states"], groups: npt.NDArray[np.int64], n_groups: int | None = None
) -> Float[Tensor, "n_channels n_k n_groups n_states"]:
    """Add up the shares of orbitals by atom, element or shell.

    Args:
        weights: of :func:`orbital_weights`.
        groups: (n_orb,) the group of each orbital, from 0; −1 for orbitals that are left out.
        n_groups: one more than the largest group if not given.

    Raises:
        ElectronicError: not one group for each orbital.
    """
    labels = torch.as_tensor(groups, dtype=torch.int64)
    if len(labels) != weights.shape[2]:
        raise ElectronicError(
            f"{len(labels)} group labels for {weights.shape[2]} orbitals",
            expected="one label for each spatial orbital of the cell",
            suggestion="repeat the labels of the atoms, labels[crystal.orbital_atoms]",
        )
    n_groups = int(labels.max()) + 1 if n_groups is None else n_groups
    kept = labels >= 0
    n_channels, n_k, _, n_states = weights.shape
    total = weights.new_zeros(n_channels, n_k, n_groups, n_states)
    return total.index_add(2, labels[kept], weights[:, :, kept])
