"""Reference energies: one number an element, taken off total energies before anything is learned.

E = Σ_i E₀(Z_i) + E_learned. E₀ may be given, computed for isolated atoms (then a molecule that falls apart reaches the
right limit), or fitted to the data; which one it was travels with the values.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols, ground_state_magnetic_moments

from adiabat.core.errors import ConfigError, LabelError
from adiabat.data.structure import Structure

Source = Literal["given", "isolated_atoms", "least_squares"]


@dataclass(frozen=True)
class ReferenceEnergies:
    """Energy of each element, and where it came from.

    Attributes:
        values: E₀ by atomic number [eV].
        source: how it was found.
        note: what a reader of the model should know, such as that compositions did not determine the values.
    """

    values: Mapping[int, float]
    source: Source
    note: str = ""

    def total(self, atomic_numbers: Iterable[int] | npt.NDArray[np.int64]) -> float:
        """Σ_i E₀(Z_i) [eV].

        Raises:
            LabelError: an element has no reference energy.
        """
        numbers = [int(z) for z in atomic_numbers]
        missing = sorted({chemical_symbols[z] for z in numbers if z not in self.values})
        if missing:
            raise LabelError(
                f"no reference energy for {', '.join(missing)}",
                expected=f"one of {', '.join(chemical_symbols[z] for z in sorted(self.values))} only",
                suggestion="give it, compute the isolated atom, or add data with this element",
            )
        return float(sum(self.values[z] for z in numbers))

    def describe(self) -> str:
        """One line for a log."""
        values = ", ".join(f"{chemical_symbols[z]} {self.values[z]:.4f}" for z in sorted(self.values))
        return f"reference energies ({self.source.replace('_', ' ')}) [eV]: {values}" + f"; {self.note}" * bool(
            self.note
        )

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, elements by symbol."""
        values = {chemical_symbols[z]: float(e) for z, e in sorted(self.values.items())}
        return {"values": values, "source": self.source, "note": self.note}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ReferenceEnergies":
        """Inverse of :meth:`to_json`."""
        assert data["source"] in get_args(Source)
        return cls(_by_number(data["values"]), data["source"], data.get("note", ""))


def given(values: Mapping[str, float]) -> ReferenceEnergies:
    """Reference energies from a configuration, by chemical symbol [eV].

    Raises:
        ConfigError: a key that is no element, or a value that is not finite.
    """
    wrong = [symbol for symbol in values if symbol not in chemical_symbols[1:]]
    if wrong or not np.isfinite(list(values.values())).all():
        raise ConfigError(
            f"reference energies {dict(values)}",
            expected="a finite energy in eV for each chemical symbol",
            suggestion=f"correct {', '.join(wrong)}" if wrong else "replace the values that are not finite",
        )
    return ReferenceEnergies(_by_number(values), "given")


def isolated_atoms(elements: Iterable[int], energy_of: Callable[[Structure], float]) -> ReferenceEnergies:
    """Energies of free atoms in their ground-state spin.

    Args:
        elements: atomic numbers.
        energy_of: total energy of a one-atom structure [eV], from an engine with open-shell orbitals.
    """
    values = {z: float(energy_of(free_atom(z))) for z in sorted({int(z) for z in elements})}
    return ReferenceEnergies(values, "isolated_atoms")


def free_atom(atomic_number: int) -> Structure:
    """One neutral atom at the origin with the unpaired electrons of its ground state (Hund)."""
    return Structure(
        atomic_numbers=np.array([atomic_number], dtype=np.int64),
        positions=np.zeros((1, 3)),
        spin=round(float(ground_state_magnetic_moments[atomic_number])),
    )


def least_squares(
    compositions: Sequence[npt.NDArray[np.int64]], energies: npt.NDArray[np.float64]
) -> ReferenceEnergies:
    """Fit one energy an element to total energies; the smallest solution where compositions leave it open.

    Args:
        compositions: atomic numbers of each structure.
        energies: total energies (n_structures,) [eV].

    Raises:
        LabelError: no energies, or not one a structure.
    """
    if not len(energies) or len(energies) != len(compositions):
        raise LabelError(
            f"{len(energies)} energies of {len(compositions)} structures",
            expected="one energy a structure, and at least one",
            suggestion="give reference energies in the configuration if the data has no energies",
        )
    elements = np.unique(np.concatenate(compositions))
    counts = np.array([[np.sum(numbers == z) for z in elements] for numbers in compositions], dtype=np.float64)
    solution, _, rank, _ = np.linalg.lstsq(counts, np.asarray(energies, dtype=np.float64), rcond=None)
    note = ""
    if rank < len(elements):
        note = (
            f"{rank} independent compositions for {len(elements)} elements: only their sum over such structures "
            "is meant, and dissociation energies are not"
        )
    return ReferenceEnergies({int(z): float(e) for z, e in zip(elements, solution, strict=True)}, "least_squares", note)


def _by_number(values: Mapping[str, float]) -> dict[int, float]:
    return {chemical_symbols.index(symbol): float(energy) for symbol, energy in values.items()}
