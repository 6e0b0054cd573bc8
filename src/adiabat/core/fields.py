"""The registry of every quantity that a structure can carry: its name, shape, unit and direction.

A reader, a store and a head look names up here, so a misspelt label is an error and not a missing target.
"""

from dataclasses import dataclass
from typing import Final, Literal

from adiabat.core.errors import FieldError, nearest

Kind = Literal["structure", "atom", "orbital", "operator"]
"""What a field has one value per. An ``operator`` is a block-sparse matrix over atom pairs."""


@dataclass(frozen=True)
class Field:
    """One quantity.

    Attributes:
        name: the key used in labels, stores, configs and results.
        unit: the only unit in which it is held.
        kind: what it has one value per.
        shape: its shape, where ``n_atoms`` and ``n_orb`` stand for the structure's counts.
        rank: tensor rank under rotation (0 scalar, 1 vector, 2 matrix); orbital operators are of no rank.
        description: one line for tables and error messages.
    """

    name: str
    unit: str
    kind: Kind
    shape: tuple[int | str, ...]
    rank: int | None
    description: str


_ALL: Final = (
    Field("energy", "eV", "structure", (), 0, "total energy of the reference method"),
    Field("forces", "eV/Å", "atom", ("n_atoms", 3), 1, "F = −∂E/∂r"),
    Field("stress", "eV/Å³", "structure", (3, 3), 2, "σ = (1/V) ∂E/∂ε, negative under compression"),
    Field("charges", "e", "atom", ("n_atoms",), 0, "partial charge of each atom"),
    Field("dipole", "e·Å", "structure", (3,), 1, "dipole moment, from negative to positive charge"),
    Field("hamiltonian", "eV", "operator", ("n_orb", "n_orb"), None, "Kohn–Sham matrix ⟨iμ,0|H|jν,R⟩"),
    Field("overlap", "1", "operator", ("n_orb", "n_orb"), None, "orbital overlap ⟨iμ,0|jν,R⟩"),
    Field("density_matrix", "1", "operator", ("n_orb", "n_orb"), None, "one-particle density, spin-summed"),
    Field("h0", "eV", "operator", ("n_orb", "n_orb"), None, "Hamiltonian of superposed atomic densities"),
    Field("orbital_energies", "eV", "orbital", ("n_orb",), 0, "eigenvalues of (H, S), ascending"),
    Field("fermi_level", "eV", "structure", (), 0, "Fermi level; for molecules the middle of the gap"),
)

FIELDS: Final[dict[str, Field]] = {field.name: field for field in _ALL}
"""Every field, by name."""


def field(name: str) -> Field:
    """Look a field up.

    Raises:
        FieldError: no field has that name; the nearest one is suggested.
    """
    try:
        return FIELDS[name]
    except KeyError:
        raise FieldError(
            f"field {name!r}", expected=f"a registered field: {', '.join(FIELDS)}", suggestion=nearest(name, FIELDS)
        ) from None
