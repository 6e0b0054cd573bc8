"""Fermi level and gap of a crystal on a mesh of k."""

from adiabat.core.errors import ElectronicError
from adiabat.data.fermi_result import FermiResult
from adiabat.electronic.bands import solve_bands
from adiabat.electronic.fermi import metal_reason
from adiabat.electronic.smearing import Smearing
from adiabat.simulation.crystal_electrons import CrystalElectrons
from adiabat.simulation.crystal_states import Watch, check_memory, find_level, result_metadata, sampling_mesh, unwatched


def compute_fermi(
    electrons: CrystalElectrons,
    *,
    mesh: tuple[int, int, int] | None = None,
    spacing: float = 0.15,
    smearing: Smearing | None = None,
    needs_gap: bool = False,
    watch: Watch = unwatched,
) -> FermiResult:
    """Fermi level from the electron count, and the gap if there is one.

    Args:
        electrons: the crystal.
        mesh: points along each reciprocal lattice vector; None to take ``spacing``.
        spacing: largest distance of k points [1/Å].
        smearing: for metals.
        needs_gap: refuse a metal.
        watch: shows progress.

    Raises:
        ElectronicError: a metal where a gap is needed, with the overlap of its bands; a mesh that is too coarse;
            matrices that do not fit in memory.
    """
    crystal = electrons.crystal
    check_memory(crystal)
    sampled = sampling_mesh(electrons, mesh, spacing)
    states = solve_bands(crystal, sampled.k_frac, progress=watch("states on the mesh", len(sampled)))
    level = find_level(crystal, sampled, states.energies, smearing)
    if needs_gap and level.edges is None:
        reason = metal_reason(states.energies, crystal.n_electrons, crystal.max_occupation)
        size = "×".join(map(str, sampled.size))
        raise ElectronicError(
            f"the gap of {electrons.structure.formula}, a metal: {reason} on a {size} k-mesh",
            expected="an insulator: the same bands filled at every k, below all empty ones",
            suggestion="leave --gap out for the Fermi level; if it should have a gap, check the number of electrons "
            "(--electrons)",
        )
    return FermiResult(
        fermi_level=level.fermi_level,
        n_electrons=crystal.n_electrons,
        edges=level.edges,
        method="diagonalization",
        smallest_overlap=float(states.smallest_overlap.min()),
        n_dropped=int(states.n_dropped.max()),
        notes=electrons.notes,
        metadata=result_metadata(electrons, list(sampled.size), level),
    )
