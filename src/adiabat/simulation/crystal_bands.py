"""Band structures of crystals, with Fermi level, gap, fat bands and a comparison with reference bands."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch

from adiabat.core.errors import ElectronicError
from adiabat.data.band_structure import Array, BandComparison, BandStructure, ReferenceBands
from adiabat.electronic.band_comparison import compare_bands
from adiabat.electronic.bands import solve_bands
from adiabat.electronic.smearing import Smearing
from adiabat.physics.k_path import KPath
from adiabat.simulation.crystal_electrons import CrystalElectrons
from adiabat.simulation.crystal_states import (
    Watch,
    find_level,
    result_metadata,
    sampling_mesh,
    solve_with_groups,
    unwatched,
)
from adiabat.simulation.orbital_groups import OrbitalGroup

K_SPACING: Final = 0.2
"""1/Å; mesh on which the Fermi level of a band structure is found unless another is asked for."""

COMPARISON_WINDOW: Final = (-5.0, 5.0)
"""eV about the reference's Fermi level: the states that transport, optics and bonding depend on."""


@dataclass(frozen=True, eq=False)
class BandSettings:
    """How bands are computed.

    Attributes:
        mesh: k-mesh for the Fermi level; None to take ``spacing``.
        spacing: largest distance of its points [1/Å].
        smearing: for metals.
        groups: orbitals whose shares are kept.
        window: energies about the reference's Fermi level in which bands are compared [eV].
    """

    mesh: tuple[int, int, int] | None = None
    spacing: float = K_SPACING
    smearing: Smearing | None = None
    groups: Sequence[OrbitalGroup] = ()
    window: tuple[float, float] = COMPARISON_WINDOW


def compute_bands(
    electrons: CrystalElectrons, path: KPath, settings: BandSettings | None = None, watch: Watch = unwatched
) -> BandStructure:
    """Bands along a path, and Fermi level and gap from a mesh and the path together.

    Args:
        electrons: the crystal.
        path: of its structure.
        settings: mesh, smearing, projections.
        watch: shows progress.

    Raises:
        ElectronicError: a mesh that is too coarse, matrices that do not fit in memory, an S(k) that is not positive.
    """
    settings = settings or BandSettings()
    crystal = electrons.crystal
    mesh = sampling_mesh(electrons, settings.mesh, settings.spacing)
    states, shares = solve_with_groups(crystal, path.k_frac, settings.groups, watch("bands along the path", len(path)))
    on_mesh = solve_bands(crystal, mesh.k_frac, progress=watch("Fermi level on the mesh", len(mesh)))
    level = find_level(crystal, mesh, on_mesh.energies, settings.smearing, states)
    metadata = {**result_metadata(electrons, list(mesh.size), level), "path": path.title}
    return BandStructure(
        k_frac=path.k_frac,
        distances=path.distances,
        branches=path.branches,
        tick_positions=path.tick_positions,
        tick_labels=path.tick_labels,
        energies=states.energies.numpy(),
        spin=crystal.spin,
        smallest_overlap=states.smallest_overlap.numpy(),
        n_dropped=states.n_dropped.numpy(),
        cell=crystal.cell,
        periodic=crystal.periodic,
        n_electrons=crystal.n_electrons,
        fermi_level=level.fermi_level,
        edges=level.edges,
        weights={group.name: shares[:, :, index].numpy() for index, group in enumerate(settings.groups)},
        notes=(*electrons.notes, *path.notes),
        metadata=metadata,
    )


def with_reference_bands(
    bands: BandStructure,
    electrons: CrystalElectrons,
    reference: BandStructure,
    *,
    source: str,
    window: tuple[float, float] = COMPARISON_WINDOW,
    watch: Watch = unwatched,
) -> BandStructure:
    """Lay reference bands over bands, and compare the two at every k of the reference.

    Args:
        bands: of the crystal.
        electrons: the crystal, whose bands are solved at the reference's k.
        reference: bands in the same cell, on any path.
        source: what to call them.
        window: energies about the reference's Fermi level that are compared [eV]; where that is not known, about ours.
        watch: shows progress.

    Raises:
        ElectronicError: another cell, another treatment of spin, or no state in the window.
    """
    crystal = electrons.crystal
    _check_same_cell(bands, reference)
    if np.array_equal(reference.k_frac, bands.k_frac):
        energies = torch.from_numpy(bands.energies)
    else:
        progress = watch("bands at the reference's k", len(reference.k_frac))
        energies = solve_bands(crystal, reference.k_frac, progress=progress).energies
    level = reference.fermi_level if reference.fermi_level is not None else bands.fermi_level
    assert level is not None
    first_band = 0
    if reference.n_electrons is not None:
        # Electrons of deep shells that only one of the two treats fill the lowest bands of that one.
        per_band = 1 if bands.spin == "spinor" else 2
        first_band = round((crystal.n_electrons - reference.n_electrons) / per_band)
    difference = compare_bands(
        energies,
        torch.from_numpy(reference.energies),
        (level + window[0], level + window[1]),
        first_band=first_band,
    )
    comparison = BandComparison(
        difference.rms, difference.rms_shifted, difference.shift, difference.largest, window, difference.n_states
    )
    overlay = ReferenceBands(
        positions_on(bands, reference.k_frac), reference.energies, source, reference.fermi_level, comparison
    )
    return replace(bands, reference=overlay)


def positions_on(bands: BandStructure, k_frac: Array) -> Array:
    """Where points stand on the path of bands [1/Å], NaN for those that are not on it.

    A point that the path passes twice, such as Γ at both ends, takes the place that follows that of the point before.
    """
    places = np.full(len(k_frac), np.nan)
    previous = -np.inf
    for index, k in enumerate(k_frac):
        found = _places(bands, k)
        if len(found):
            later = found[found >= previous - 1e-9]
            places[index] = previous = later.min() if len(later) else found.min()
    return places


def _places(bands: BandStructure, k: Array) -> Array:
    """All distances at which the path passes k, up to reciprocal lattice vectors."""
    found: list[float] = []
    for start, stop in bands.branches:
        a, step = bands.k_frac[start : stop - 1], np.diff(bands.k_frac[start:stop], axis=0)
        length = (step**2).sum(axis=1)
        share = np.clip(((k - a) * step).sum(axis=1) / np.where(length > 0, length, 1), 0, 1)
        off = np.abs(a + share[:, None] * step - k).max(axis=1)
        lines = np.diff(bands.distances[start:stop])
        at = bands.distances[start : stop - 1] + share * lines
        found += np.unique(np.round(at[off < 1e-5], 9)).tolist()
    return np.array(found)


def _check_same_cell(bands: BandStructure, reference: BandStructure) -> None:
    rows = bands.periodic
    if not np.array_equal(rows, reference.periodic) or not np.allclose(
        bands.cell[rows], reference.cell[rows], atol=1e-3
    ):
        raise ElectronicError(
            f"reference bands of the cell {np.round(reference.cell[reference.periodic], 4).tolist()}",
            expected=f"bands of the same cell, {np.round(bands.cell[rows], 4).tolist()}",
            suggestion="give the reference of this structure; a strained cell has a path of its own",
        )
