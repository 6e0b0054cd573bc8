"""H of non-orthogonal orbitals as a symmetric operator with the same energies, by sparse products alone."""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.core.operators import BlockOperator
from adiabat.electronic.block_panels import BlockPanels
from adiabat.electronic.chebyshev import (
    Interval,
    apply_polynomial,
    coefficients,
    evaluate,
    inverse_polynomial,
)
from adiabat.electronic.overlap_factor import overlap_factor, transposed

_LANCZOS_STEPS: Final = 40
_MARGIN: Final = 0.01
"""Share of its length by which a spectrum found by Lanczos is widened on each side."""

_ROOT_DEGREE: Final = 24
"""Of p^(−1/2), applied once to each random vector; p hardly varies, so that this reaches the last digits."""

_MAX_DEGREE: Final = 100


class OrthogonalizedHamiltonian:
    """H̃ = p^½(A) G (H − μS) G† p^½(A), where A = G S G† and p(A) ≈ A⁻¹.

    G makes A nearly 1 (:mod:`adiabat.electronic.overlap_factor`), so that a polynomial of very low degree inverts it.
    H̃ is symmetric whatever the error of p. If |1 − x p(x)| ≤ δ on the spectrum of A, each energy is off by at most
    δ |ε − μ| (Ostrowski), so energies near μ are right to all digits. Vectors v are kept as y = p^(−½) v, which
    saves every root: H̃ v becomes G (H − μS) G† p(A) y, and v·v′ becomes y† p(A) y′.

    Args:
        hamiltonian: H at one k [eV], without images.
        overlap: S over the same pairs.
        reference: μ [eV].
        inverse_error: δ.
        dtype: of vectors and products.

    Raises:
        ElectronicError: S is not positive definite, or so nearly dependent that no polynomial of degree 100 inverts it.
    """

    def __init__(
        self,
        hamiltonian: BlockOperator,
        overlap: BlockOperator,
        *,
        reference: float,
        inverse_error: float,
        dtype: torch.dtype,
        seed: int = 0,
    ) -> None:
        self.n_orb = int(overlap.n_orbitals.sum())
        self.dtype = dtype
        self.reference = reference
        factor = overlap_factor(overlap)
        self._factor, self._adjoint = BlockPanels(factor, dtype), BlockPanels(transposed(factor), dtype)
        self.overlap = BlockPanels(overlap, dtype)
        shifted = hamiltonian.values - reference * overlap.values
        self._shifted = BlockPanels(hamiltonian.with_values(shifted), dtype)
        start = torch.randn(self.n_orb, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.metric = _spectrum(lambda x: (x, self._preconditioned(x)), start.to(dtype)).widened(_MARGIN)
        """Of A."""
        self._inverse, self.inverse_error = self._fit(inverse_error)
        self._root = coefficients(lambda x: evaluate(self._inverse, self.metric, x) ** -0.5, self.metric, _ROOT_DEGREE)
        self.spectrum = _spectrum(self._metric_pair, start.to(dtype)).widened(_MARGIN)
        """Of H̃ [eV], counted from μ."""

    def move_reference(self, hamiltonian: BlockOperator, overlap: BlockOperator, reference: float) -> None:
        """Take another μ [eV], for the same H and S."""
        step, self.reference = reference - self.reference, reference
        shifted = hamiltonian.values - reference * overlap.values
        self._shifted = BlockPanels(hamiltonian.with_values(shifted), self.dtype)
        self.spectrum = Interval(self.spectrum.low - step, self.spectrum.high - step)

    @property
    def degree(self) -> int:
        """Of p: products with A in each step."""
        return len(self._inverse) - 1

    @property
    def n_bytes(self) -> int:
        """Memory of its matrices."""
        return sum(panels.n_bytes for panels in (self._factor, self._adjoint, self.overlap, self._shifted))

    def start(self, x: Tensor) -> Tensor:
        """The y of a vector v."""
        return apply_polynomial(self._root, self.metric, self._preconditioned, x)

    def dual_start(self, x: Tensor) -> Tensor:
        """The y of the vector whose density belongs to one orbital: G S e."""
        return self._factor(self.overlap(x))

    def weigh(self, y: Tensor) -> Tensor:
        """p(A) y."""
        return apply_polynomial(self._inverse, self.metric, self._preconditioned, y)

    def orbitals(self, weighed: Tensor) -> Tensor:
        """Coefficients of a vector in the orbitals, G† p(A) y."""
        return self._adjoint(weighed)

    def multiply(self, orbitals: Tensor) -> Tensor:
        """The y of H̃ v, from the coefficients of v in the orbitals."""
        return self._factor(self._shifted(orbitals))

    def _preconditioned(self, x: Tensor) -> Tensor:
        return self._factor(self.overlap(self._adjoint(x)))

    def _metric_pair(self, y: Tensor) -> tuple[Tensor, Tensor]:
        weighed = self.weigh(y)
        return weighed, self.multiply(self.orbitals(weighed))

    def _fit(self, inverse_error: float) -> tuple[npt.NDArray[np.float64], float]:
        if self.metric.low <= 0:
            raise ElectronicError(
                f"an overlap whose preconditioned spectrum reaches down to {self.metric.low:.3g}",
                expected="an overlap that is positive definite by more than its rounding errors",
                suggestion="use a better conditioned basis, or double precision",
            )
        ratio = math.sqrt(self.metric.high / self.metric.low)
        rate = max((ratio - 1) / (ratio + 1), 1e-12)
        degree = max(1, math.ceil(math.log(inverse_error / 2) / math.log(rate)) - 1)
        if degree > _MAX_DEGREE:
            raise ElectronicError(
                f"an overlap with a condition number of {ratio**2:.3g} even after preconditioning",
                expected=f"one that a polynomial of degree {_MAX_DEGREE} inverts to {inverse_error:g}",
                suggestion="use a better conditioned basis; λ_min(S) of 0.05 and more is comfortable",
            )
        return inverse_polynomial(self.metric, degree)


def _spectrum(pair: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor) -> Interval:
    """Bounds of a spectrum by Lanczos: extreme Ritz values, each moved outwards by its residual.

    Args:
        pair: y ↦ (M y, K y), K self-adjoint in the inner product of M.
        start: (n, 1) random.
    """
    y, previous, beta = start, 0 * start, 0.0
    weighed, image = pair(y)
    norm = math.sqrt(_dot(y, weighed))
    y, weighed, image = y / norm, weighed / norm, image / norm
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(_LANCZOS_STEPS, len(start))):
        alpha = _dot(weighed, image)
        diagonal.append(alpha)
        following = image - alpha * y - beta * previous
        weighed, image = pair(following)
        beta = math.sqrt(max(_dot(following, weighed), 0.0))
        beside.append(beta)
        if beta <= 1e-6 * max(map(abs, diagonal)):
            break
        previous, y = y, following / beta
        weighed, image = weighed / beta, image / beta
    n = len(diagonal)
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside[: n - 1], 1) + np.diag(beside[: n - 1], -1))
    residual = beside[-1] * np.abs(vectors[-1])
    return Interval(float(values[0] - residual[0]), float(values[-1] + residual[-1]))


def _dot(a: Tensor, b: Tensor) -> float:
    return float((a.conj() * b).real.sum(dtype=torch.float64))
