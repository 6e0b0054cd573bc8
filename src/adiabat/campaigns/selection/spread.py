"""The spread of forces that an uncertain model states for one structure."""

from torch import Tensor

from adiabat.core.errors import ConfigError
from adiabat.data.structure import Structure
from adiabat.uncertainty.interface import UncertainModel


def force_spread(model: UncertainModel, structure: Structure) -> Tensor:
    """(n_atoms, 3) standard deviations of the forces on one structure, in eV/Å.

    Raises:
        ConfigError: this kind of uncertainty has none for forces.
    """
    spread = model.predict(model.model.graph(structure, {"forces"}), {"energy", "forces"}).spread.forces
    if spread is None:
        raise ConfigError(
            f"an uncertainty of method {model.method} without a spread of forces",
            expected="a spread of forces",
            suggestion="choose with another uncertainty, or by variance, entropy or diversity",
        )
    return spread.double()
