"""Spinor blocks that time reversal leaves alone, as four real blocks and back.

    H = H₀ ⊗ 1 + i Σ_a A_a ⊗ σ_a,    H₀(−R) = H₀(R)ᵀ,    A_a(−R) = −A_a(R)ᵀ,    all of them real

Under time reversal iσ_y K both terms stay, so whatever the real blocks are, states come in Kramers pairs. A turns as an
axial vector in its spin index; its components are kept in the order (y, z, x) of l = 1.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import LabelError

TRANSPOSE_SIGNS: Final = (1.0, -1.0, -1.0, -1.0)
"""Sign of each real block under exchange of the two atoms: of H₀, A_y, A_z, A_x."""

_TIME_REVERSAL: Final = 1e-3
"""eV; a non-magnetic calculation breaks time reversal only by the noise of its self-consistency."""


def real_parts(values: npt.NDArray[np.complex128]) -> npt.NDArray[np.float64]:
    """↑↑, ↑↓, ↓↑, ↓↓ as H₀, A_y, A_z, A_x.

    Args:
        values: (4, n_values) complex.

    Raises:
        LabelError: a part that changes sign under time reversal, which is that of a magnet.
    """
    uu, ud, du, dd = values
    broken = max(
        np.abs(part).max(initial=0.0)
        for part in ((uu.imag + dd.imag) / 2, (uu.real - dd.real) / 2, (ud.real + du.real) / 2, (ud.imag - du.imag) / 2)
    )
    if broken > _TIME_REVERSAL:
        raise LabelError(
            f"a spinor Hamiltonian with elements of up to {broken:.3g} eV that change sign under time reversal",
            expected=f"a non-magnetic material: at most {_TIME_REVERSAL:g} eV of them",
            suggestion="learn magnets as collinear spin; spinors with magnetic moments are read, not learned",
        )
    return np.stack([(uu + dd).real / 2, (ud - du).real / 2, (uu - dd).imag / 2, (ud + du).imag / 2])


def spinor_components(parts: npt.NDArray[Any]) -> npt.NDArray[np.complex128]:
    """Inverse of :func:`real_parts`: (4, n_values) real to complex."""
    scalar, y, z, x = parts
    return np.stack([scalar + 1j * z, y + 1j * x, -y + 1j * x, scalar - 1j * z])
