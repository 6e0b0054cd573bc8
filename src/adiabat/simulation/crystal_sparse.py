"""States around the Fermi level of large cells: found without any others, and counted exactly."""

from adiabat.data.fermi_result import FermiResult
from adiabat.electronic.fermi_states import states_around_fermi_level, wrapped_coordinates
from adiabat.simulation.crystal_electrons import CrystalElectrons
from adiabat.simulation.crystal_kpm import check_wide_cell
from adiabat.simulation.crystal_states import Level, Watch, result_metadata, unwatched


def compute_fermi_states(electrons: CrystalElectrons, n_states: int, watch: Watch = unwatched) -> FermiResult:
    """HOMO, LUMO and the states around them at Γ of a large cell.

    Args:
        electrons: a cell that is wider than its hoppings are long.
        n_states: wanted in each spin channel, half of them occupied.
        watch: shows what is being done; how many steps it takes is not known before.

    Raises:
        ElectronicError: a cell too small for Γ alone, matrices that do not fit in memory, or all states filled.
    """
    check_wide_cell(electrons)
    crystal, structure = electrons.crystal, electrons.structure
    coordinates = wrapped_coordinates(structure.positions, crystal.cell, crystal.periodic)

    def report(what: str) -> None:
        watch(what, 0)

    found = states_around_fermi_level(crystal, n_states, coordinates=coordinates, report=report)
    level = Level(found.fermi_level, None, None)
    incomplete = [] if all(window.is_complete for window in found.windows) else ["Not all states were counted again."]
    return FermiResult(
        fermi_level=found.fermi_level,
        n_electrons=crystal.n_electrons,
        edges=None,
        method="states",
        homo=found.homo,
        lumo=found.lumo,
        states=tuple(tuple(window.energies.tolist()) for window in found.windows),
        notes=(*electrons.notes, *incomplete),
        metadata=result_metadata(electrons, [1, 1, 1], level),
    )
