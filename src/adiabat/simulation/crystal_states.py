"""States of a crystal on meshes and paths: sampling, Fermi level, and shares of orbitals, within bounded memory."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adiabat.core.errors import ElectronicError
from adiabat.data.band_structure import BandEdges
from adiabat.electronic.bands import BandStates, solve_bands
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.fermi import fill, insulating_counts
from adiabat.electronic.gap import band_gap
from adiabat.electronic.kpoints import KMesh, mesh_size, monkhorst_pack
from adiabat.electronic.projections import orbital_weights
from adiabat.electronic.smearing import Smearing
from adiabat.simulation.crystal_electrons import CrystalElectrons
from adiabat.simulation.orbital_groups import OrbitalGroup

METAL_SMEARING: Final = Smearing("fermi-dirac", 0.05)
"""Used for metals where no smearing was asked for: k_B T of 580 K, small beside the width of bands and large beside the
distance of energies on a usual mesh."""

SIGNIFICANT_HOPPING: Final = 0.01
"""eV; a mesh must keep apart all images that are coupled by more."""

_COEFFICIENT_BYTES: Final = 2**27
_DENSE_MATRICES: Final = 12
"""Complex matrices of the size of H(k) that a dense solution with eigenvectors holds at a time."""

Progress = Callable[[int], None]
"""Called with the number of steps done."""

Watch = Callable[[str, int], Progress | None]
"""Shows a task of so many steps; what it returns is told how many are done."""


def unwatched(_task: str, _steps: int) -> Progress | None:
    """Show nothing."""
    return None


@dataclass(frozen=True, eq=False)
class Level:
    """Where the electrons of a crystal end.

    Attributes:
        fermi_level: [eV]; the middle of the gap of an insulator.
        edges: the gap; None for a metal.
        smearing: that a metal was filled with; None for an insulator.
    """

    fermi_level: float
    edges: BandEdges | None
    smearing: Smearing | None


def sampling_mesh(electrons: CrystalElectrons, size: tuple[int, int, int] | None, spacing: float) -> KMesh:
    """Mesh of k points for a crystal, fine enough for the reach of its Hamiltonian.

    Args:
        electrons: the crystal.
        size: points along each reciprocal lattice vector, 1 where it is not periodic; None to take ``spacing``.
        spacing: largest distance of k points [1/Å], 2π included.

    Raises:
        ElectronicError: more than one point along a direction that is not periodic, or a mesh that takes two images
            of an atom for one although both are coupled to the same atom.
    """
    crystal = electrons.crystal
    if size is None:
        size = mesh_size(crystal.cell, crystal.periodic, spacing)
        needed = reach_size(electrons)
        size = (max(size[0], needed[0]), max(size[1], needed[1]), max(size[2], needed[2]))
    else:
        _check_size(electrons, size)
    has_real_blocks = not np.iscomplexobj(crystal.hamiltonian.values) and not np.iscomplexobj(crystal.overlap.values)
    return monkhorst_pack(size, time_reversal=has_real_blocks)


def reach_size(electrons: CrystalElectrons) -> tuple[int, int, int]:
    """Smallest mesh whose supercell is at least as wide as significant hoppings are long, in each direction."""
    crystal, structure = electrons.crystal, electrons.structure
    h = crystal.hamiltonian
    largest = np.array([np.abs(block).max(initial=0.0) for _, block in h.blocks()])
    pairs = h.pairs[largest > SIGNIFICANT_HOPPING]
    vectors = structure.pair_vectors(pairs)
    counts = [1, 1, 1]
    rows = np.flatnonzero(crystal.periodic)
    duals = np.linalg.pinv(crystal.cell[rows])
    for k, axis in enumerate(rows):
        height = 1 / np.linalg.norm(duals[:, k])
        reach = np.abs(vectors @ duals[:, k]).max(initial=0.0) * height
        counts[axis] = max(1, int(np.ceil(reach / height - 1e-6)))
    return counts[0], counts[1], counts[2]


def _check_size(electrons: CrystalElectrons, size: tuple[int, int, int]) -> None:
    periodic = electrons.crystal.periodic
    if np.any((np.array(size) > 1) & ~periodic):
        allowed = tuple(n if p else 1 for n, p in zip(size, periodic, strict=True))
        raise ElectronicError(
            f"a {'×'.join(map(str, size))} k-mesh for {electrons.structure.formula}, periodic along "
            f"{periodic.tolist()}",
            expected="one k point along a direction that is not periodic",
            suggestion=f"--kpoints {','.join(map(str, allowed))}",
        )
    needed = reach_size(electrons)
    if np.any(np.array(size) < needed):
        enough = ",".join(str(max(n, m)) for n, m in zip(size, needed, strict=True))
        raise ElectronicError(
            f"a {'×'.join(map(str, size))} k-mesh, on whose supercell orbitals that are coupled by more than "
            f"{1000 * SIGNIFICANT_HOPPING:g} meV fall on their own images",
            expected=f"at least {'×'.join(map(str, needed))} points for the reach of this Hamiltonian",
            suggestion=f"--kpoints {enough}, or finer",
        )


def find_level(
    crystal: Crystal, mesh: KMesh, on_mesh: Tensor, smearing: Smearing | None, more: BandStates | None = None
) -> Level:
    """Fermi level and gap.

    Args:
        crystal: gives the electrons.
        mesh: k points.
        on_mesh: (n_channels, n_k, n_states) energies there [eV].
        smearing: for metals; :data:`METAL_SMEARING` if not given.
        more: further states among which band edges are looked for, those on a path.

    Raises:
        ElectronicError: more electrons than states.
    """
    states = _joined(mesh, on_mesh, more)
    counts = insulating_counts(states.energies, crystal.n_electrons, crystal.max_occupation)
    if counts is None:
        smearing = METAL_SMEARING if smearing is None or smearing.kind == "none" else smearing
        filling = fill(on_mesh, mesh.weights, crystal.n_electrons, crystal.max_occupation, smearing)
        return Level(filling.fermi_level, None, smearing)
    if sum(counts) == states.energies.shape[0] * states.energies.shape[2]:  # no empty state in the basis
        return Level(float(states.energies.max()), None, None)
    gap = band_gap(states, crystal.n_electrons, crystal.max_occupation)
    edges = BandEdges(
        gap=gap.gap,
        direct_gap=gap.direct_gap,
        is_direct=gap.is_direct,
        vbm=gap.vbm,
        cbm=gap.cbm,
        k_vbm=gap.k_vbm.numpy(),
        k_cbm=gap.k_cbm.numpy(),
        k_direct=gap.k_direct.numpy(),
        channels=(gap.vbm_channel, gap.cbm_channel),
    )
    return Level(gap.fermi_level, edges, None)


def result_metadata(electrons: CrystalElectrons, mesh: list[int], level: Level) -> dict[str, object]:
    """What a saved result says of where it comes from."""
    return {
        **electrons.metadata,
        "mesh": mesh,
        "smearing": "" if level.smearing is None else f"{level.smearing.kind} {level.smearing.width:g} eV",
        "adiabat_version": version("adiabat"),
    }


def _joined(mesh: KMesh, on_mesh: Tensor, more: BandStates | None) -> BandStates:
    k_frac, energies = mesh.k_frac, on_mesh
    if more is not None:  # first, so that an edge on the path is named by the path
        k_frac, energies = torch.cat([more.k_frac, k_frac]), torch.cat([more.energies, energies], dim=1)
    nothing = torch.zeros(len(k_frac))
    return BandStates(k_frac, energies, None, nothing, nothing.to(torch.int64))


def solve_with_groups(
    crystal: Crystal,
    k_frac: Tensor | npt.NDArray[np.float64],
    groups: Sequence[OrbitalGroup],
    progress: Progress | None = None,
) -> tuple[BandStates, Tensor]:
    """States without coefficients, and the share of each group in each: (n_channels, n_k, n_groups, n_states).

    Raises:
        ElectronicError: matrices that do not fit in memory, or an S(k) that is not positive.
    """
    check_memory(crystal)
    k_frac = torch.as_tensor(k_frac, dtype=torch.float64)
    if not groups:
        states = solve_bands(crystal, k_frac, progress=progress)
        return states, states.energies.new_zeros(*states.energies.shape[:2], 0, states.energies.shape[2])
    members = torch.from_numpy(np.stack([group.members for group in groups])).to(torch.float64)
    step = max(1, _COEFFICIENT_BYTES // (16 * crystal.n_channels * crystal.n_basis**2))
    parts: list[BandStates] = []
    shares: list[Tensor] = []
    for start in range(0, len(k_frac), step):
        states = solve_bands(crystal, k_frac[start : start + step], coefficients=True)
        shares.append(torch.einsum("gm,ckmn->ckgn", members, orbital_weights(states, crystal)))
        parts.append(BandStates(states.k_frac, states.energies, None, states.smallest_overlap, states.n_dropped))
        if progress is not None:
            progress(min(start + step, len(k_frac)))
    joined = BandStates(
        k_frac,
        torch.cat([part.energies for part in parts], dim=1),
        None,
        torch.cat([part.smallest_overlap for part in parts]),
        torch.cat([part.n_dropped for part in parts]),
    )
    return joined, torch.cat(shares, dim=1)


def check_memory(crystal: Crystal, available: float | None = None) -> None:
    """Refuse a dense solution that does not fit, before it starts.

    Args:
        crystal: its number of orbitals counts.
        available: bytes; by default three quarters of the machine's memory.

    Raises:
        ElectronicError: more memory is needed than there is, with both numbers.
    """
    if available is None:
        available = 0.75 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = 16.0 * _DENSE_MATRICES * crystal.n_basis**2
    if needed > available:
        raise ElectronicError(
            f"dense matrices of {crystal.n_basis} orbitals, which need {needed / 2**30:.0f} GiB",
            expected=f"at most {available / 2**30:.0f} GiB, three quarters of this machine's memory",
            suggestion="use the kernel polynomial method, which is linear in the number of atoms: --method kpm",
        )
