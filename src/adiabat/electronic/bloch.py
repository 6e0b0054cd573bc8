"""Bloch sums: from the blocks of an operator in real space to its matrices at any k."""

from copy import copy
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.sparse
import torch
from jaxtyping import Complex, Float, Num
from torch import Tensor

from adiabat.core.operators import BlockOperator, Spin

_CHUNK: Final = 2**24
"""Elements of (k, value) products that are held at a time: 256 MB of complex numbers."""

_DENSE: Final = 2**25
"""Elements of all O(R) that are held as dense matrices, which is several times faster: 256 MB of real numbers."""


class BlochSum:
    """O(k) = Σ_R exp(2πi k·R) O(R), in the lattice gauge; where each value goes is worked out once.

    Args:
        operator: its pairs and orbital counts are used, not its values.
    """

    def __init__(self, operator: BlockOperator) -> None:
        self.n_orb = int(operator.n_orbitals.sum())
        row, column, pair = _element_places(operator)
        images, image_of_pair = np.unique(operator.pairs[:, :3], axis=0, return_inverse=True)
        self.images = torch.from_numpy(images.astype(np.float64))
        """(n_images, 3) the R that occur."""
        self._image = torch.from_numpy(image_of_pair.reshape(-1)[pair])
        self._place = torch.from_numpy(row * self.n_orb + column)

    def __call__(
        self, values: Num[Tensor, "*components n_values"], k_frac: Float[Tensor, "n_k 3"]
    ) -> Complex[Tensor, "*components n_k n_orb n_orb"]:
        """Matrices at each k; differentiable with respect to the values.

        Args:
            values: flat block values in the order of the operator, in any unit.
            k_frac: k in fractions of the reciprocal lattice.

        Returns: complex128, Hermitian if O(−R) = O(R)†. Spin components stay apart: see :func:`join_spinor`.
        """
        return self._sum(values, self.phases(k_frac))

    def derivative(
        self, values: Num[Tensor, "*components n_values"], k_frac: Float[Tensor, "n_k 3"], axis: int
    ) -> Complex[Tensor, "*components n_k n_orb n_orb"]:
        """∂O/∂k_axis, k in fractions of the reciprocal lattice: Σ_R 2πi R_axis exp(2πi k·R) O(R)."""
        return self._sum(values, self.phases(k_frac) * (2j * torch.pi * self.images[:, axis]))

    def second_derivative(
        self, values: Num[Tensor, "*components n_values"], k_frac: Float[Tensor, "n_k 3"], first: int, second: int
    ) -> Complex[Tensor, "*components n_k n_orb n_orb"]:
        """∂²O/∂k_first ∂k_second: Σ_R (2πi)² R_first R_second exp(2πi k·R) O(R)."""
        factor = (2j * torch.pi) ** 2 * self.images[:, first] * self.images[:, second]
        return self._sum(values, self.phases(k_frac) * factor)

    def to(self, device: torch.device) -> "BlochSum":
        """The same on a device."""
        moved = copy(self)
        moved.images, moved._image, moved._place = (part.to(device) for part in (self.images, self._image, self._place))
        return moved

    def phases(self, k_frac: Float[Tensor, "n_k 3"]) -> Complex[Tensor, "n_k n_images"]:
        """exp(2πi k·R) of every image."""
        angle = 2 * torch.pi * (k_frac.to(torch.float64) @ self.images.mT)
        return torch.polar(torch.ones_like(angle), angle)

    def _sum(self, values: Tensor, phases: Tensor) -> Tensor:
        flat = values.reshape(-1, values.shape[-1])
        flat = flat.to(torch.complex128 if flat.is_complex() else torch.float64)
        size = self.n_orb * self.n_orb
        if len(self.images) * size * len(flat) <= _DENSE:
            matrices = self._over_images(flat, phases)
        else:
            matrices = self._over_values(flat, phases)
        return matrices.reshape(*values.shape[:-1], len(phases), self.n_orb, self.n_orb)

    def _over_images(self, flat: Tensor, phases: Tensor) -> Tensor:
        """Dense O(R) of every image, then one matrix product for all k."""
        size = self.n_orb * self.n_orb
        dense = flat.new_zeros(len(flat), len(self.images) * size)
        dense = dense.index_copy(1, self._image * size + self._place, flat).view(len(flat), len(self.images), size)
        if flat.is_complex():
            return phases @ dense
        return torch.complex(phases.real @ dense, phases.imag @ dense)

    def _over_values(self, flat: Tensor, phases: Tensor) -> Tensor:
        """Each value times its phase, added where it belongs: no dense matrix but the results."""
        step = max(1, _CHUNK // max(1, flat.numel()))
        parts: list[Tensor] = []
        for start in range(0, len(phases), step):
            weights = phases[start : start + step].index_select(1, self._image)
            terms = flat.unsqueeze(1) * weights
            matrix = terms.new_zeros(*terms.shape[:2], self.n_orb * self.n_orb)
            parts.append(matrix.index_add(2, self._place, terms))
        return torch.cat(parts, dim=1)


def join_spinor(
    components: Complex[Tensor, "4 *batch n_orb n_orb"],
) -> Complex[Tensor, "*batch two_n_orb two_n_orb"]:
    """↑↑, ↑↓, ↓↑, ↓↓ as one matrix [[↑↑, ↑↓], [↓↑, ↓↓]] over all ↑ orbitals, then all ↓."""
    uu, ud, du, dd = components
    return torch.cat([torch.cat([uu, ud], dim=-1), torch.cat([du, dd], dim=-1)], dim=-2)


def double_for_spinor(overlap: Num[Tensor, "*batch n_orb n_orb"]) -> Num[Tensor, "*batch two_n_orb two_n_orb"]:
    """S ⊗ 1: the overlap of spinor orbitals, in the order of :func:`join_spinor`."""
    zero = torch.zeros_like(overlap)
    return torch.cat([torch.cat([overlap, zero], dim=-1), torch.cat([zero, overlap], dim=-1)], dim=-2)


def max_occupation(spin: Spin) -> int:
    """Electrons that one state holds: two where both spins share it, else one."""
    return 2 if spin == "none" else 1


def sparse_bloch_matrix(
    operator: BlockOperator, k_frac: npt.NDArray[np.float64] | None = None
) -> scipy.sparse.csr_array:
    """O(k) of an operator without spin as a sparse matrix (n_orb, n_orb), never dense; real at Γ if O(R) is.

    Args:
        operator: in any unit.
        k_frac: (3,) k in fractions of the reciprocal lattice; Γ if not given.
    """
    n_orb = int(operator.n_orbitals.sum())
    row, column, pair = _element_places(operator)
    values: npt.NDArray[Any] = operator.values
    if k_frac is not None and np.any(k_frac):
        values = values * np.exp(2j * np.pi * (operator.pairs[:, :3] @ np.asarray(k_frac)))[pair]
    return scipy.sparse.coo_array((values, (row, column)), shape=(n_orb, n_orb)).tocsr()


def _element_places(
    operator: BlockOperator,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row, column and pair of each element of ``values``."""
    starts = np.concatenate([[0], np.cumsum(operator.n_orbitals)])
    sizes = np.diff(operator.offsets)
    pair = np.repeat(np.arange(len(operator)), sizes)
    within = np.arange(operator.offsets[-1]) - operator.offsets[pair]
    i, j = operator.pairs[pair, 3], operator.pairs[pair, 4]
    row, column = np.divmod(within, operator.n_orbitals[j])
    return starts[i] + row, starts[j] + column, pair
