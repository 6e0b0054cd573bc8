"""How fine and how sure a kernel polynomial density is to be, and what that will need."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from adiabat.core.errors import ElectronicError
from adiabat.electronic.block_panels import panel_bytes
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.resources import Estimate, dense_rate

_EFFICIENCY: Final = 0.35
"""Of gathered block products, as a share of a large dense product's speed."""


@dataclass(frozen=True)
class KpmSettings:
    """How finely and how surely.

    Attributes:
        resolution: standard deviation [eV] of the kernel at the centre of the spectrum; it is narrower elsewhere.
        n_vectors: random vectors; the statistical error falls with the root of vectors times atoms.
        batch: vectors that are multiplied at once; more are faster and need more memory.
        inverse_error: δ of S⁻¹: energies are off by at most δ |ε − reference|.
        reference: μ [eV], near the energies that matter most; the Fermi level, roughly, if not given.
        seed: of the random vectors.
        single: products in single precision, sums in double; rounding then stays a hundred times below the
            statistical error (see the tests).
    """

    resolution: float = 0.1
    n_vectors: int = 32
    batch: int = 32
    inverse_error: float = 1e-3
    reference: float | None = None
    seed: int = 0
    single: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if not (self.resolution > 0 and self.n_vectors >= 1 and self.batch >= 1 and 0 < self.inverse_error < 1):
            raise ElectronicError(
                f"a resolution of {self.resolution:g} eV, {self.n_vectors} vectors in batches of {self.batch}, and an "
                f"error of S⁻¹ of {self.inverse_error:g}",
                expected="a positive resolution, at least one vector, and an error between 0 and 1",
                suggestion="for instance KpmSettings(resolution=0.1, n_vectors=32)",
            )


def estimate_kpm(crystal: Crystal, settings: KpmSettings, spectrum_width: float = 120.0) -> Estimate:
    """What the moments will need.

    Args:
        crystal: of any size.
        settings: resolution, vectors and batch.
        spectrum_width: highest minus lowest energy [eV]; known for certain only once the matrices are built.
    """
    is_complex = crystal.spin == "spinor" or np.iscomplexobj(crystal.hamiltonian.values)
    dtype = vector_dtype(is_complex, settings.single)
    spinor = 4 if crystal.spin == "spinor" else 1
    panels = spinor * panel_bytes(crystal.overlap, dtype)
    blocks = 2 * spinor * crystal.overlap.values.nbytes * (2 if is_complex else 1)
    vectors = 10 * crystal.n_basis * min(settings.batch, settings.n_vectors) * dtype.itemsize
    n_moments = number_of_moments(settings.resolution, spectrum_width / 2)
    # H, S two times and G four times a sixth: near what well-conditioned bases take.
    products = 2.0 * spinor * len(crystal.overlap.values) * 3.7 * (4 if is_complex else 1)
    n_flops = products * n_moments / 2 * settings.n_vectors * crystal.n_channels
    return Estimate(
        f"a kernel polynomial density of {crystal.overlap.n_atoms} atoms ({crystal.n_basis} orbitals)",
        int(3 * panels + blocks + vectors),
        n_flops,
        n_flops / (_EFFICIENCY * dense_rate(dtype)),
    )


def number_of_moments(resolution: float, half_width: float) -> int:
    """Even number of moments whose Jackson kernel has a standard deviation of π half_width / N at the centre."""
    return 2 * max(8, math.ceil(math.pi * half_width / resolution / 2))


def vector_dtype(is_complex: bool, single: bool) -> torch.dtype:
    """Of vectors and products."""
    if is_complex:
        return torch.complex64 if single else torch.complex128
    return torch.float32 if single else torch.float64
