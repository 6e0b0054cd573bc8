"""Block Lanczos on (H − σS)⁻¹ S: the states nearest to σ on either side, degenerate ones included."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import ElectronicError

Array = npt.NDArray[Any]

_DEPENDENT: Final = 1e-20
"""Square of a vector's norm, relative to the largest of its block, below which nothing new is in it."""


@dataclass(frozen=True)
class LanczosStates:
    """States of H C = S C ε by their distance from σ.

    Attributes:
        offsets: (n_states,) ε − σ [eV], ascending.
        coefficients: (n_orb, n_states) with C† S C = 1.
        errors: (n_states,) bound on the distance of each to an energy, from the Lanczos residual [eV].
        n_solves: columns that were solved for.
    """

    offsets: npt.NDArray[np.float64]
    coefficients: Array
    errors: npt.NDArray[np.float64]
    n_solves: int


def nearest_states(
    solve: Callable[[Array], Array],
    overlap: Callable[[Array], Array],
    start: Array,
    *,
    n_below: int,
    n_above: int,
    tolerance: float,
    known: LanczosStates | None = None,
    max_basis: int | None = None,
    strict: bool = True,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> LanczosStates:
    """Find the n_below states next below σ and the n_above next above it.

    The Krylov space grows by a block at a time, is kept orthonormal in S by two passes of Gram–Schmidt, and is never
    restarted, so that converged states stay. A level of higher degeneracy than the block is wide is found whole only
    by rounding; whoever needs certainty counts (:mod:`adiabat.electronic.shift_invert`) and calls again with what is
    ``known``.

    Args:
        solve: (H − σS)⁻¹ on columns.
        overlap: S on columns.
        start: (n_orb, block) random.
        n_below: states wanted with ε < σ.
        n_above: states wanted with ε > σ.
        tolerance: largest error of an energy [eV].
        known: states to stay orthogonal to, which then are not found again.
        max_basis: vectors after which to give up.
        strict: whether states that have not converged by then are an error, or are returned with their errors.
        progress: called with the converged and the wanted number.
        should_stop: asked after each block.

    Raises:
        ElectronicError: not converged within ``max_basis`` vectors.
        KeyboardInterrupt: stopped.

    Source: [grimes1994].
    """
    n, block = start.shape
    wanted = n_below + n_above
    limit = min(n - (0 if known is None else len(known.offsets)), max_basis or largest_basis(wanted, block))
    basis = np.empty((n, limit + block), dtype=start.dtype, order="F")
    dual = np.empty_like(basis, order="F")
    projected = np.zeros((limit + block, limit + block), dtype=start.dtype)
    locked = None if known is None else (known.coefficients, overlap(known.coefficients))
    m, n_solves, vectors = 0, 0, start
    states = _Ritz(np.zeros(0), np.zeros((0, 0)), np.zeros(0))
    while True:
        if should_stop is not None and should_stop():
            raise KeyboardInterrupt(f"the search for states was stopped after {n_solves} solutions")
        for _ in range(2):
            vectors = _without(vectors, locked)
            vectors = _without(vectors, (basis[:, :m], dual[:, :m]))
        vectors, images, link = _orthonormal(vectors, overlap)
        width = vectors.shape[1]
        if m:
            states = _ritz(projected[:m, :m], link, n_below, n_above)
            done = states.errors <= tolerance
            if progress is not None:
                progress(int(done.sum()), wanted)
            if (len(done) == wanted and done.all()) or not width or m >= limit:
                break
        if not width:
            break
        basis[:, m : m + width], dual[:, m : m + width] = vectors, images
        following = solve(images)
        n_solves += width
        projected[: m + width, m : m + width] = dual[:, : m + width].conj().T @ following
        projected[m : m + width, :m] = projected[:m, m : m + width].conj().T
        m += width
        vectors = following
    if strict and not (len(states.errors) == min(wanted, m) and np.all(states.errors <= tolerance)):
        raise ElectronicError(
            f"{int((states.errors <= tolerance).sum())} of {wanted} states converged to {tolerance:g} eV in a space of "
            f"{m} vectors",
            expected="all of them",
            suggestion="move the energy nearer to the states that are wanted, ask for fewer, or loosen the tolerance",
        )
    return LanczosStates(states.offsets, basis[:, :m] @ states.rotation, states.errors, n_solves)


def largest_basis(n_states: int, block: int) -> int:
    """Vectors after which a search gives up unless told otherwise."""
    return 12 * n_states + 80 * block


@dataclass(frozen=True)
class _Ritz:
    offsets: npt.NDArray[np.float64]
    rotation: Array
    errors: npt.NDArray[np.float64]


def _ritz(projected: Array, link: Array, n_below: int, n_above: int) -> _Ritz:
    """The wanted pairs of the projected operator: θ = 1/(ε − σ), most negative and most positive first."""
    theta, rotation = np.linalg.eigh((projected + projected.conj().T) / 2)
    below, above = np.flatnonzero(theta < 0)[:n_below], np.flatnonzero(theta > 0)[::-1][:n_above]
    # ε = σ + 1/θ: in order of energy, the most negative θ stands last below σ, the most positive first above.
    chosen = np.concatenate([below[::-1], above])
    last = rotation[-link.shape[1] :, chosen] if link.shape[1] else np.zeros((0, len(chosen)))
    residual = np.linalg.norm(link @ last, axis=0) if len(link) else np.zeros(len(chosen))
    return _Ritz(1 / theta[chosen], rotation[:, chosen], residual / theta[chosen] ** 2)


def _without(vectors: Array, space: tuple[Array, Array] | None) -> Array:
    return vectors if space is None or not space[0].shape[1] else vectors - space[0] @ (space[1].conj().T @ vectors)


def _orthonormal(vectors: Array, overlap: Callable[[Array], Array]) -> tuple[Array, Array, Array]:
    """X with X† S X = 1, S X, and R with X R = the vectors; fewer columns where they are dependent."""
    total = np.eye(vectors.shape[1], dtype=vectors.dtype)
    for _ in range(2):
        images = overlap(vectors)
        gram = vectors.conj().T @ images
        squares, rotation = np.linalg.eigh((gram + gram.conj().T) / 2)
        kept = squares > _DEPENDENT * max(squares.max(initial=0.0), 1e-300)
        scale = np.sqrt(squares[kept])
        vectors = vectors @ (rotation[:, kept] / scale)
        total = (scale[:, None] * rotation[:, kept].conj().T) @ total
    return vectors, overlap(vectors), total
