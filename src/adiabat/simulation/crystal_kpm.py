"""Densities of states and Fermi levels of large cells by kernel polynomials, linear in the number of atoms."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from adiabat.core.errors import ElectronicError
from adiabat.core.interruption import stop_on_signals
from adiabat.data.dos_result import DensityOfStates
from adiabat.data.fermi_result import FermiResult
from adiabat.electronic.kpm import ChebyshevMoments, KpmSettings, estimate_kpm, kpm_moments
from adiabat.electronic.kpm_density import Array, kpm_density, kpm_fermi_level, kpm_projected_density
from adiabat.simulation.crystal_dos import ABOVE
from adiabat.simulation.crystal_electrons import CrystalElectrons
from adiabat.simulation.crystal_states import Watch, reach_size, unwatched
from adiabat.simulation.orbital_groups import OrbitalGroup

_POINTS_A_WIDTH = 5


def compute_dos_kpm(
    electrons: CrystalElectrons,
    settings: KpmSettings,
    *,
    groups: Sequence[OrbitalGroup] = (),
    window: tuple[float, float] | None = None,
    watch: Watch = unwatched,
) -> DensityOfStates:
    """Density of states at Γ of a large cell, with its statistical error in the notes.

    Args:
        electrons: a cell that is wider than its hoppings are long.
        settings: resolution, random vectors, seed.
        groups: of which each orbital is in one at most, for a projected density.
        window: lowest and highest energy of the grid, relative to the Fermi level [eV].
        watch: shows progress.

    Raises:
        ElectronicError: a cell too small for Γ alone, matrices that do not fit in memory, or groups that overlap.
    """
    labels = _labels(groups) if groups else None
    moments, stopped = _moments(electrons, settings, labels, watch)
    level = kpm_fermi_level(moments, electrons.crystal.n_electrons)
    low, high = (level.level + edge for edge in window) if window else (moments.spectrum.low, level.level + ABOVE)
    grid = np.linspace(low, high, max(2, round((high - low) / settings.resolution * _POINTS_A_WIDTH)) + 1)
    density = kpm_density(moments, grid)
    projections: dict[str, Array] = {}
    if groups:
        parts = kpm_projected_density(moments, grid).values
        projections = {group.name: parts[:, index] for index, group in enumerate(groups)}
    notes = (*electrons.notes, *stopped, _error_note(moments, density.values, density.errors))
    return DensityOfStates(
        grid=grid,
        total=density.values,
        spin=electrons.crystal.spin,
        method="kpm",
        width=settings.resolution,
        projections=projections,
        n_electrons=electrons.crystal.n_electrons,
        fermi_level=level.level,
        notes=notes,
        metadata=_metadata(electrons, moments),
    )


def compute_fermi_kpm(electrons: CrystalElectrons, settings: KpmSettings, watch: Watch = unwatched) -> FermiResult:
    """Fermi level at Γ of a large cell, with the range that the statistical error of the count allows.

    Raises:
        ElectronicError: a cell too small for Γ alone, or matrices that do not fit in memory.
    """
    moments, stopped = _moments(electrons, settings, None, watch)
    level = kpm_fermi_level(moments, electrons.crystal.n_electrons)
    return FermiResult(
        fermi_level=level.level,
        n_electrons=electrons.crystal.n_electrons,
        edges=None,
        method="kpm",
        low=level.low,
        high=level.high,
        notes=(
            *electrons.notes,
            *stopped,
            f"The electron count at this level is uncertain by {level.count_error:.3g}.",
        ),
        metadata=_metadata(electrons, moments),
    )


def _moments(
    electrons: CrystalElectrons, settings: KpmSettings, labels: npt.NDArray[np.int64] | None, watch: Watch
) -> tuple[ChebyshevMoments, tuple[str, ...]]:
    """Moments, and a sentence if a signal ended them before all random vectors were done."""
    check_wide_cell(electrons)
    report: Callable[[int], None] | None = None
    opened = False

    def progress(done: int, total: int) -> None:
        nonlocal report, opened
        if not opened:
            report, opened = watch(str(estimate_kpm(electrons.crystal, settings)), total), True
        if report is not None:
            report(done)

    with stop_on_signals() as stop:
        moments = kpm_moments(
            electrons.crystal, settings, groups=labels, progress=progress, should_stop=lambda: bool(stop)
        )
    if moments.n_vectors == settings.n_vectors:
        return moments, ()
    return moments, (
        f"Stopped by {stop.signal_name} after {moments.n_vectors} of {settings.n_vectors} random vectors.",
    )


def check_wide_cell(electrons: CrystalElectrons) -> None:
    """Refuse a cell for which Γ alone says too little.

    Raises:
        ElectronicError: orbitals that are coupled fall on their own images there.
    """
    needed = reach_size(electrons)
    if max(needed) > 1:
        raise ElectronicError(
            f"a cell on which orbitals that are coupled fall on their own images at Γ (a {'×'.join(map(str, needed))} "
            "k-mesh is needed)",
            expected="a cell wider than the reach of the Hamiltonian: methods for large cells take Γ only",
            suggestion="use a method that takes a k-mesh, or take a supercell",
        )


def _labels(groups: Sequence[OrbitalGroup]) -> npt.NDArray[np.int64]:
    members = np.stack([group.members for group in groups])
    if np.any(members.sum(axis=0) > 1):
        raise ElectronicError(
            "groups of orbitals that overlap",
            expected="each orbital in one group at most",
            suggestion="use --project element, atom, l, shell or orbital",
        )
    # Orbitals in no group get a number of their own, after the others.
    return np.where(members.any(axis=0), members.argmax(axis=0), len(groups))


def _error_note(moments: ChebyshevMoments, values: Array, errors: Array) -> str:
    if not np.isfinite(errors).any():
        return "One random vector: the statistical error is not known."
    share = float(np.nanmax(errors) / values.max(initial=1e-300))
    return (
        f"Stochastic traces of {moments.n_vectors} random vectors: the density is uncertain by {share:.1%} of its "
        "highest value at most, one standard error."
    )


def _metadata(electrons: CrystalElectrons, moments: ChebyshevMoments) -> dict[str, object]:
    settings = replace(moments.settings, n_vectors=moments.n_vectors)
    return {
        **electrons.metadata,
        "mesh": [1, 1, 1],
        "smearing": "",
        "n_vectors": settings.n_vectors,
        "seed": settings.seed,
        "n_moments": moments.values.shape[-1],
        "adiabat_version": version("adiabat"),
    }
