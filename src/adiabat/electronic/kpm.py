"""Kernel polynomial method: Chebyshev moments of the density of states, linear in atoms in time and memory."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.core.operators import BlockOperator
from adiabat.electronic.chebyshev import Interval
from adiabat.electronic.chebyshev_moments import ChebyshevMoments
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.folded import folded, spinor_as_blocks
from adiabat.electronic.kpm_density import kpm_fermi_level
from adiabat.electronic.kpm_recursion import Progress, Steps, batch_moments, chebyshev_vectors
from adiabat.electronic.kpm_settings import KpmSettings, estimate_kpm, number_of_moments, vector_dtype
from adiabat.electronic.orthogonalized import OrthogonalizedHamiltonian

__all__ = ["ChebyshevMoments", "KpmSettings", "channels", "estimate_kpm", "kpm_moments", "local_moments"]


_ROUGH_VECTORS: Final = 4
_ROUGH_MOMENTS: Final = 64
"""Of the first count, which finds the reference: to about a twentieth of the spectrum."""


def kpm_moments(
    crystal: Crystal,
    settings: KpmSettings,
    *,
    k_frac: npt.ArrayLike | None = None,
    groups: npt.NDArray[np.int64] | None = None,
    memory_limit: int | None = None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ChebyshevMoments:
    """Stochastic Chebyshev moments of the density of states at one k.

    S⁻¹ is applied as a polynomial of the preconditioned overlap, of a few products a step
    (:class:`adiabat.electronic.orthogonalized.OrthogonalizedHamiltonian`). Random signs (phases, if complex) make the
    estimate of each trace unbiased and the number of states exact.

    Args:
        crystal: H, S and the electron count.
        settings: resolution, vectors, seed.
        k_frac: (3,); Γ if not given.
        groups: (n_orb,) group of each spatial orbital, from 0, for projected densities (twice the time).
        memory_limit: bytes; what is free if not given.
        progress: called after each step.
        should_stop: asked after each step. If it says so, the vectors that are finished make the result.

    Raises:
        ElectronicError: too large for the memory, an overlap that cannot be inverted, or an energy beyond the bounds.
        KeyboardInterrupt: stopped before the first vectors were finished.

    Source: [weisse2006].
    """
    estimate_kpm(crystal, settings).require(memory_limit)
    operators, settings = _operators(crystal, k_frac, settings)
    interval = _enclosing(operators)
    n_moments = number_of_moments(settings.resolution, interval.half_width)
    groups = None if groups is None else _basis_groups(crystal, groups)
    sizes = [min(settings.batch, settings.n_vectors - start) for start in range(0, settings.n_vectors, settings.batch)]
    n_steps = (n_moments if groups is not None else n_moments // 2 + 1) * len(sizes) * len(operators)
    report = Steps(n_steps, progress, should_stop)
    finished: list[list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64] | None]]] = []
    for batch, size in enumerate(sizes):
        parts: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64] | None]] = []
        for channel, operator in enumerate(operators):
            vectors = _random_vectors(operator, size, (settings.seed, batch, channel))
            done = batch_moments(operator, operator.start(vectors), interval, n_moments, groups, report)
            if done is None:
                break
            parts.append(done)
        if len(parts) < len(operators):
            break
        finished.append(parts)
    if not finished:
        raise KeyboardInterrupt("the density of states was stopped before its first random vectors were finished")
    values = np.stack([np.concatenate([p[c][0] for p in finished]) for c in range(len(operators))])
    projected = None
    if groups is not None:
        per_channel = [[p[c][1] for p in finished] for c in range(len(operators))]
        projected = np.stack([np.concatenate([m for m in ms if m is not None], axis=1) for ms in per_channel])
    return _result(crystal, operators, settings, values, projected)


def local_moments(
    crystal: Crystal, orbitals: Sequence[int], settings: KpmSettings, *, k_frac: npt.ArrayLike | None = None
) -> ChebyshevMoments:
    """Moments of single orbitals' densities of states, without any statistical error.

    Args:
        crystal: of any size; without spin or collinear.
        orbitals: spatial orbitals, whose Mulliken-projected densities are wanted.
        settings: the number of vectors is not used.
        k_frac: (3,); Γ if not given.

    Returns: ``values`` has one row for each orbital instead of each random vector.
    """
    operators, settings = _operators(crystal, k_frac, settings)
    interval = _enclosing(operators)
    n_moments = number_of_moments(settings.resolution, interval.half_width)
    chosen = torch.as_tensor(list(orbitals))
    values: list[npt.NDArray[np.float64]] = []
    for operator in operators:
        unit = torch.zeros(operator.n_orb, len(chosen), dtype=operator.dtype)
        unit[chosen, torch.arange(len(chosen))] = 1
        steps = chebyshev_vectors(operator, operator.dual_start(unit), interval)
        rows = [next(steps)[2][chosen, torch.arange(len(chosen))].real for _ in range(n_moments)]
        values.append(torch.stack(rows, dim=1).to(torch.float64).numpy())
    return _result(crystal, operators, settings, np.stack(values))


def channels(crystal: Crystal, k_frac: npt.ArrayLike | None) -> list[tuple[BlockOperator, BlockOperator]]:
    """H and S of each spin channel at one k, without images; spinors over twice the orbitals."""
    if crystal.spin == "spinor":
        h, s = spinor_as_blocks(crystal.hamiltonian), spinor_as_blocks(crystal.overlap)
        return [(folded(h, k_frac), folded(s, k_frac))]
    s = folded(crystal.overlap, k_frac)
    return [(folded(crystal.hamiltonian.component(c), k_frac), s) for c in range(crystal.n_channels)]


def _operators(
    crystal: Crystal, k_frac: npt.ArrayLike | None, settings: KpmSettings
) -> tuple[list[OrthogonalizedHamiltonian], KpmSettings]:
    """The operator of each channel, and the settings with the reference that was taken."""
    pairs = channels(crystal, k_frac)
    is_complex = any(np.iscomplexobj(h.values) or np.iscomplexobj(s.values) for h, s in pairs)
    first = _mean_level(*pairs[0]) if settings.reference is None else settings.reference
    operators = [
        OrthogonalizedHamiltonian(
            h,
            s,
            reference=first,
            inverse_error=settings.inverse_error,
            dtype=vector_dtype(is_complex, settings.single),
            seed=settings.seed,
        )
        for h, s in pairs
    ]
    if settings.reference is not None:
        return operators, settings
    rough = replace(settings, reference=first, n_vectors=_ROUGH_VECTORS)
    moments = _result(crystal, operators, rough, _rough_moments(operators, settings.seed))
    level = first
    if 0 < crystal.n_electrons < moments.max_occupation * moments.n_states:
        level = kpm_fermi_level(moments, crystal.n_electrons).level
        for operator, (h, s) in zip(operators, pairs, strict=True):
            operator.move_reference(h, s, level)
    return operators, replace(settings, reference=level)


def _mean_level(h: BlockOperator, s: BlockOperator) -> float:
    """Mean energy of the orbitals, each alone."""
    diagonal: list[npt.NDArray[np.float64]] = []
    for operator in (h, s):
        own = np.flatnonzero(operator.pairs[:, 3] == operator.pairs[:, 4])
        diagonal.append(np.concatenate([np.real(np.diagonal(operator.block(int(pair)))) for pair in own]))
    return float(np.mean(diagonal[0] / diagonal[1]))


def _rough_moments(operators: list[OrthogonalizedHamiltonian], seed: int) -> npt.NDArray[np.float64]:
    interval, silent = _enclosing(operators), Steps(0, None, None)
    values: list[npt.NDArray[np.float64]] = []
    for channel, operator in enumerate(operators):
        vectors = _random_vectors(operator, _ROUGH_VECTORS, (seed, channel, 1, 1))
        done = batch_moments(operator, operator.start(vectors), interval, _ROUGH_MOMENTS, None, silent)
        assert done is not None
        values.append(done[0])
    return np.stack(values)


def _enclosing(operators: list[OrthogonalizedHamiltonian]) -> Interval:
    return Interval(min(o.spectrum.low for o in operators), max(o.spectrum.high for o in operators))


def _result(
    crystal: Crystal,
    operators: list[OrthogonalizedHamiltonian],
    settings: KpmSettings,
    values: npt.NDArray[np.float64],
    projected: npt.NDArray[np.float64] | None = None,
) -> ChebyshevMoments:
    relative, reference = _enclosing(operators), operators[0].reference
    absolute = Interval(relative.low + reference, relative.high + reference)
    reached = max(o.inverse_error for o in operators)
    return ChebyshevMoments(values, absolute, crystal.max_occupation, reached, settings, projected)


def _random_vectors(operator: OrthogonalizedHamiltonian, n: int, seed: tuple[int, ...]) -> Tensor:
    """Random signs, or phases: |v_i| = 1, so that the trace of 1 has no error."""
    rng = np.random.default_rng(seed)
    if operator.dtype.is_complex:
        values: npt.NDArray[Any] = np.exp(2j * np.pi * rng.random((operator.n_orb, n)))
    else:
        values = rng.integers(0, 2, (operator.n_orb, n)) * 2.0 - 1.0
    return torch.from_numpy(values).to(operator.dtype)


def _basis_groups(crystal: Crystal, groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if groups.shape != (crystal.n_orb,) or groups.min() < 0:
        raise ElectronicError(
            f"groups of shape {groups.shape} for {crystal.n_orb} orbitals",
            expected="the number of its group, from 0, for each spatial orbital",
            suggestion="for densities of atoms: crystal.orbital_atoms",
        )
    if crystal.spin != "spinor":
        return groups
    ends = np.cumsum(crystal.overlap.n_orbitals)
    return np.concatenate([np.tile(part, 2) for part in np.split(groups, ends[:-1])])
