"""A window of states of a large sparse H C = S C ε around an energy, proven complete by counting."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from adiabat.core.errors import ElectronicError
from adiabat.core.operators import BlockOperator
from adiabat.electronic.block_lanczos import LanczosStates, largest_basis, nearest_states
from adiabat.electronic.block_panels import BlockPanels, panel_bytes
from adiabat.electronic.dissection import Front, dissect
from adiabat.electronic.multifrontal import SymmetricFactorization, estimate_factorization
from adiabat.electronic.resources import Estimate

Array = npt.NDArray[Any]
Report = Callable[[str], None]
"""Called with what is being done."""

_BLOCK: Final = 8
_ROUNDS: Final = 4
"""Searches for states that an earlier one missed."""

_APART: Final = 1e-7
"""Energies [eV] nearer than this count as one level: no shift is put between them."""

_NEAR: Final = 1e-4
"""Distance [eV] from a single level at which the states before it are counted."""


@dataclass(frozen=True)
class StateWindow:
    """States next to an energy.

    Attributes:
        energies: (n_states,) ε [eV], ascending.
        coefficients: (n_basis, n_states) with C† S C = 1, in the order of the matrices given.
        residuals: (n_states,) ‖H C − S C ε‖₂ [eV].
        first_index: number of states of the whole spectrum below the first of these.
        n_factorizations: it took.
        is_complete: whether counting has proven that none is missing in between.
    """

    energies: npt.NDArray[np.float64]
    coefficients: Array
    residuals: npt.NDArray[np.float64]
    first_index: int
    n_factorizations: int
    is_complete: bool


class SparsePencil:
    """H and S of one k and channel, without images, and the order in which H − σS is eliminated.

    Args:
        hamiltonian: H [eV] (:func:`adiabat.electronic.folded.folded`).
        overlap: S over the same pairs.
        coordinates: (n_atoms, d) [Å], wrapped into the cell, if known (:func:`adiabat.electronic.dissection.dissect`).
        memory_limit: bytes; what is free if not given.
        should_stop: asked between steps.
        report: called with what is being done.
    """

    def __init__(
        self,
        hamiltonian: BlockOperator,
        overlap: BlockOperator,
        *,
        coordinates: npt.NDArray[np.float64] | None = None,
        memory_limit: int | None = None,
        should_stop: Callable[[], bool] | None = None,
        report: Report | None = None,
    ) -> None:
        self._hamiltonian, self._overlap = hamiltonian, overlap
        self.fronts: list[Front] = dissect(hamiltonian, coordinates)
        is_complex = np.iscomplexobj(hamiltonian.values) or np.iscomplexobj(overlap.values)
        self.dtype: np.dtype[Any] = np.dtype(np.complex128 if is_complex else np.float64)
        self._tensor_dtype = torch.complex128 if is_complex else torch.float64
        self._memory_limit, self._should_stop, self._report = memory_limit, should_stop, report
        self._panels: BlockPanels | None = None
        self.n_factorizations = 0

    @property
    def n(self) -> int:
        """Size of the matrices."""
        return int(self._overlap.n_orbitals.sum())

    def estimate(self, n_states: int, *, keep: bool = True) -> Estimate:
        """What one factorization needs, and with it the vectors of a search for some states."""
        factor = estimate_factorization(self.fronts, self._overlap.n_orbitals, self.dtype, keep=keep)
        vectors = (
            2 * self.n * min(self.n, largest_basis(n_states, _BLOCK) + _BLOCK) * self.dtype.itemsize if keep else 0
        )
        matrices = self._overlap.values.nbytes + (panel_bytes(self._overlap, self._tensor_dtype) if keep else 0)
        task = f"states of {self._overlap.n_atoms} atoms ({self.n} orbitals) by {factor.task}"
        return Estimate(task, factor.n_bytes + vectors + matrices, factor.n_flops, factor.seconds)

    def count_below(self, energy: float) -> int:
        """How many states lie below an energy [eV], exactly: the inertia of H − σS.

        Raises:
            ElectronicError: it cannot fit into memory.
        """
        self.estimate(0, keep=False).require(self._memory_limit)
        return self._factorize(energy, keep=False).n_negative

    def factorize(self, energy: float, n_states: int) -> SymmetricFactorization:
        """Factors of H − σS, to solve with.

        Raises:
            ElectronicError: it cannot fit into memory.
        """
        self.estimate(n_states).require(self._memory_limit)
        return self._factorize(energy, keep=True)

    def overlap_product(self, x: Array) -> Array:
        """S x."""
        if self._panels is None:
            self._panels = BlockPanels(self._overlap, self._tensor_dtype)
        return self._panels(torch.from_numpy(np.ascontiguousarray(x)).to(self._tensor_dtype)).numpy()

    def residuals(self, energies: npt.NDArray[np.float64], coefficients: Array) -> npt.NDArray[np.float64]:
        """‖H C − S C ε‖₂ of each state [eV]."""
        h = BlockPanels(self._hamiltonian, self._tensor_dtype)
        c = torch.from_numpy(np.ascontiguousarray(coefficients)).to(self._tensor_dtype)
        return np.linalg.norm(h(c).numpy() - self.overlap_product(coefficients) * energies, axis=0)

    def say(self, what: str) -> None:
        """Tell the caller."""
        if self._report is not None:
            self._report(what)

    def stopped(self) -> bool:
        """Whether the caller wants to stop."""
        return self._should_stop is not None and self._should_stop()

    def _factorize(self, energy: float, *, keep: bool) -> SymmetricFactorization:
        self.say(f"factorizing H − σS at σ = {energy:.6g} eV")
        self.n_factorizations += 1
        shifted = self._hamiltonian.with_values(self._hamiltonian.values - energy * self._overlap.values)
        return SymmetricFactorization(shifted, self.fronts, keep=keep, should_stop=self._should_stop)


def states_near(
    pencil: SparsePencil,
    energy: float,
    *,
    n_below: int,
    n_above: int,
    tolerance: float = 1e-9,
    prove: bool = True,
    seed: int = 0,
) -> StateWindow:
    """The states next below and next above an energy, without any others.

    H − σS is factorized once, and Lanczos finds the states; the inertia of two more factorizations, next to the
    outermost states, proves that none was missed (degenerate levels are where one could be). What was missed is
    searched for.

    Args:
        pencil: H and S.
        energy: σ [eV].
        n_below: states wanted below it.
        n_above: states wanted above it.
        tolerance: of the energies [eV].
        prove: whether to count; without, ``is_complete`` stays False.
        seed: of the first vectors.

    Raises:
        ElectronicError: too large for the memory, not converged, or states that stay missing.
        KeyboardInterrupt: stopped.
    """
    before = pencil.n_factorizations
    factor = pencil.factorize(energy, n_below + n_above)
    below_shift = factor.n_negative
    n_below, n_above = min(n_below, below_shift), min(n_above, pencil.n - below_shift)
    found: LanczosStates | None = None
    is_complete = False
    want_below, want_above = n_below, n_above
    for attempt in range(_ROUNDS):
        pencil.say(f"searching {want_below} states below and {want_above} above {energy:.6g} eV")
        new = search(pencil, factor, want_below, want_above, tolerance, known=found, seed=seed + attempt)
        found = new if found is None else _merged(found, new)
        window = _trimmed(found, n_below, n_above)
        if not prove:
            break
        missing_below, missing_above = _missing(pencil, energy, below_shift, window)
        if missing_below == missing_above == 0:
            is_complete = True
            break
        want_below, want_above = max(missing_below, 0), max(missing_above, 0)
    else:
        raise ElectronicError(
            f"{want_below} states below and {want_above} above {energy:.6g} eV that counting knows of and Lanczos does "
            "not find",
            expected="all of them",
            suggestion="move the energy a little: it may lie on a level of high degeneracy",
        )
    energies = energy + window.offsets
    residuals = pencil.residuals(energies, window.coefficients)
    return StateWindow(
        energies,
        window.coefficients,
        residuals,
        below_shift - int((window.offsets < 0).sum()),
        pencil.n_factorizations - before,
        is_complete,
    )


def joined(below: StateWindow, above: StateWindow) -> StateWindow:
    """Two windows on either side of a gap as one; complete if both are, and no state lies in between."""
    meets = below.first_index + len(below.energies) == above.first_index
    return StateWindow(
        np.concatenate([below.energies, above.energies]),
        np.concatenate([below.coefficients, above.coefficients], axis=1),
        np.concatenate([below.residuals, above.residuals]),
        below.first_index,
        below.n_factorizations + above.n_factorizations,
        below.is_complete and above.is_complete and meets,
    )


def search(
    pencil: SparsePencil,
    factor: SymmetricFactorization,
    n_below: int,
    n_above: int,
    tolerance: float,
    *,
    known: LanczosStates | None = None,
    strict: bool = True,
    max_basis: int | None = None,
    seed: int = 0,
) -> LanczosStates:
    """:func:`adiabat.electronic.block_lanczos.nearest_states` from random vectors."""
    rng = np.random.default_rng(seed)
    start: Array = rng.normal(size=(pencil.n, min(_BLOCK, pencil.n)))
    if pencil.dtype.kind == "c":
        start = start + 1j * rng.normal(size=start.shape)
    return nearest_states(
        factor.solve,
        pencil.overlap_product,
        start,
        n_below=n_below,
        n_above=n_above,
        tolerance=tolerance,
        known=known,
        strict=strict,
        max_basis=max_basis,
        should_stop=pencil.stopped,
    )


def _merged(first: LanczosStates, second: LanczosStates) -> LanczosStates:
    offsets = np.concatenate([first.offsets, second.offsets])
    order = np.argsort(offsets)
    return LanczosStates(
        offsets[order],
        np.concatenate([first.coefficients, second.coefficients], axis=1)[:, order],
        np.concatenate([first.errors, second.errors])[order],
        first.n_solves + second.n_solves,
    )


def _trimmed(states: LanczosStates, n_below: int, n_above: int) -> LanczosStates:
    below = int((states.offsets < 0).sum())
    kept = slice(max(0, below - n_below), below + n_above)
    return LanczosStates(states.offsets[kept], states.coefficients[:, kept], states.errors[kept], states.n_solves)


def _missing(pencil: SparsePencil, energy: float, below_shift: int, window: LanczosStates) -> tuple[int, int]:
    """States on each side of σ, up to the outermost level of a window, that counting knows of and Lanczos does not.

    The shifts stand inside the outermost level, so that the rest of a level that the window cuts through is not counted
    as missing.
    """
    below, above = -window.offsets[window.offsets < 0][::-1], window.offsets[window.offsets > 0]
    inner_below, at_below = _inside(below)
    inner_above, at_above = _inside(above)
    missing_below = (below_shift - pencil.count_below(energy - at_below)) - inner_below if len(below) else 0
    missing_above = (pencil.count_below(energy + at_above) - below_shift) - inner_above if len(above) else 0
    return missing_below, missing_above


def _inside(distances: npt.NDArray[np.float64]) -> tuple[int, float]:
    """How many of ascending distances lie inside the outermost level, and a distance between the two."""
    if not len(distances):
        return 0, 0.0
    steps = np.flatnonzero(np.diff(distances) > _APART)
    if not len(steps):
        return 0, float(distances[0]) - min(float(distances[0]) / 2, _NEAR)
    last = int(steps[-1])
    return last + 1, float(distances[last] + distances[last + 1]) / 2
