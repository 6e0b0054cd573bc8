"""Densities of states of crystals: Gaussian broadening or tetrahedra on a mesh of k."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from adiabat.core.errors import ConfigError, nearest
from adiabat.data.band_structure import Array
from adiabat.data.dos_result import DensityOfStates
from adiabat.electronic.bands import BandStates
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.dos import density_of_states
from adiabat.electronic.kpoints import KMesh
from adiabat.electronic.smearing import Smearing
from adiabat.electronic.tetrahedron import cut_zone, tetrahedron_dos
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

METHODS: Final = ("gaussian", "tetrahedron")

K_SPACING: Final = 0.1
"""1/Å; mesh of a density of states unless another is asked for."""

WIDTH: Final = 0.1
"""eV; broadening of a Gaussian density unless another is asked for."""

ABOVE: Final = 12.0
"""eV above the Fermi level up to which the grid goes; a basis of atomic orbitals has no meaning far above."""

_POINTS_A_WIDTH: Final = 5
_TETRAHEDRON_STEP: Final = 0.02
_TAIL: Final = 6.0
"""Widths beyond the lowest state at which a Gaussian is nothing."""


@dataclass(frozen=True, eq=False)
class DosSettings:
    """How a density of states is computed.

    Attributes:
        method: ``gaussian`` or ``tetrahedron``.
        width: standard deviation of the Gaussian [eV].
        mesh: k-mesh; None to take ``spacing``.
        spacing: largest distance of its points [1/Å].
        smearing: for the Fermi level of metals.
        groups: orbitals on which the density is projected.
        window: lowest and highest energy of the grid, relative to the Fermi level [eV]; None for all that is occupied
            and :data:`ABOVE` above.
    """

    method: str = "gaussian"
    width: float = WIDTH
    mesh: tuple[int, int, int] | None = None
    spacing: float = K_SPACING
    smearing: Smearing | None = None
    groups: Sequence[OrbitalGroup] = ()
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown method, and a width or window that is nothing."""
        if self.method not in METHODS:
            raise ConfigError(
                f"--method {self.method}", expected=", ".join(METHODS), suggestion=nearest(self.method, METHODS)
            )
        if not self.width > 0:
            raise ConfigError(f"--width {self.width:g}", expected="a positive width in eV", suggestion="--width 0.1")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ConfigError(
                f"--window {self.window[0]:g},{self.window[1]:g}",
                expected="the lower energy first",
                suggestion="--window -10,10",
            )


def compute_dos(
    electrons: CrystalElectrons, settings: DosSettings | None = None, watch: Watch = unwatched
) -> DensityOfStates:
    """Density of states, projected if groups are given, with the Fermi level on the same mesh.

    Args:
        electrons: the crystal.
        settings: method, mesh, groups.
        watch: shows progress.

    Raises:
        ElectronicError: a mesh that is too coarse, matrices that do not fit in memory, an S(k) that is not positive.
    """
    settings = settings or DosSettings()
    crystal = electrons.crystal
    mesh = sampling_mesh(electrons, settings.mesh, settings.spacing)
    states, shares = solve_with_groups(crystal, mesh.k_frac, settings.groups, watch("states on the mesh", len(mesh)))
    level = find_level(crystal, mesh, states.energies, settings.smearing)
    grid = _grid(states.energies, level.fermi_level, settings)
    total, parts = _densities(crystal, mesh, states, shares, grid, settings)
    return DensityOfStates(
        grid=grid.numpy(),
        total=total.numpy(),
        spin=crystal.spin,
        method=settings.method,
        width=settings.width if settings.method == "gaussian" else 0.0,
        projections=_by_name(settings.groups, parts),
        n_electrons=crystal.n_electrons,
        fermi_level=level.fermi_level,
        edges=level.edges,
        notes=electrons.notes,
        metadata=result_metadata(electrons, list(mesh.size), level),
    )


def _grid(energies: Tensor, fermi_level: float, settings: DosSettings) -> Tensor:
    finite = energies[torch.isfinite(energies)]
    step = settings.width / _POINTS_A_WIDTH if settings.method == "gaussian" else _TETRAHEDRON_STEP
    if settings.window is None:
        low, high = float(finite.min()) - _TAIL * settings.width, fermi_level + ABOVE
    else:
        low, high = (fermi_level + edge for edge in settings.window)
    n_steps = max(2, round((high - low) / step))
    return torch.linspace(low, high, n_steps + 1, dtype=torch.float64)


def _densities(
    crystal: Crystal, mesh: KMesh, states: BandStates, shares: Tensor, grid: Tensor, settings: DosSettings
) -> tuple[Tensor, Tensor | None]:
    """Total (n_channels, n_grid) and, if there are groups, their parts (n_channels, n_groups, n_grid)."""
    filling = crystal.max_occupation
    projections = shares if settings.groups else None
    if settings.method == "tetrahedron":
        simplices = cut_zone(mesh, crystal.cell, crystal.periodic)
        total = tetrahedron_dos(states.energies, simplices, grid, max_occupation=filling)
        if projections is None:
            return total, None
        return total, tetrahedron_dos(states.energies, simplices, grid, max_occupation=filling, projections=projections)
    width = settings.width
    total = density_of_states(states.energies, mesh.weights, grid, width=width, max_occupation=filling)
    if projections is None:
        return total, None
    return total, density_of_states(
        states.energies, mesh.weights, grid, width=width, max_occupation=filling, projections=projections
    )


def _by_name(groups: Sequence[OrbitalGroup], parts: Tensor | None) -> dict[str, Array]:
    return {} if parts is None else {group.name: parts[:, index].numpy() for index, group in enumerate(groups)}
