"""Errors of a set of numbers, summed up in the unit in which the field quotes them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from adiabat.training.metrics import UNITS as LEARNED_UNITS

UNITS = {
    **LEARNED_UNITS,
    **dict.fromkeys(
        ("hamiltonian_onsite", "hamiltonian_pair", "hamiltonian_h0", "hamiltonian_shifted"),
        LEARNED_UNITS["hamiltonian"],
    ),
    **dict.fromkeys(("bands", "bands_shifted", "fermi_level"), LEARNED_UNITS["energy"]),
    **dict.fromkeys(("orbital_energies", "orbital_energies_occupied"), LEARNED_UNITS["energy"]),
    **dict.fromkeys(("homo", "lumo", "gap", "density_energy"), LEARNED_UNITS["energy"]),
}
"""For each quantity the unit of its errors, and that unit in ours: those of training, and what follows from H.
``hamiltonian_h0`` is H0's own error, without a model; ``hamiltonian_shifted`` and ``bands_shifted`` leave out the shift
that a crystal's H is defined up to; ``density_energy`` is E[D] of the predicted density above the
self-consistent energy."""


@dataclass(frozen=True)
class ErrorStatistics:
    """Errors (predicted − reference) of one quantity.

    Attributes:
        mae: mean absolute error.
        rmse: root mean square error.
        mean: mean error; for energies, a constant offset between two references shows here.
        largest: largest absolute error.
        count: number of values.
        unit: of the four.
    """

    mae: float
    rmse: float
    mean: float
    largest: float
    count: int
    unit: str

    @classmethod
    def of(cls, quantity: str, sums: "Sequence[ErrorSums]") -> "ErrorStatistics":
        """Mean over all values of all structures; there must be at least one."""
        return cls._weighted(quantity, sums, [1.0] * len(sums))

    @classmethod
    def over_structures(cls, quantity: str, sums: "Sequence[ErrorSums]") -> "ErrorStatistics":
        """Mean over structures of each structure's mean, whatever number of values it has."""
        return cls._weighted(quantity, sums, [1.0 / part.count for part in sums])

    @classmethod
    def _weighted(cls, quantity: str, sums: "Sequence[ErrorSums]", weights: Sequence[float]) -> "ErrorStatistics":
        unit, factor = UNITS[quantity]
        total = sum(weight * part.count for weight, part in zip(weights, sums, strict=True))

        def mean(name: str) -> float:
            return sum(weight * getattr(part, name) for weight, part in zip(weights, sums, strict=True)) / total

        return cls(
            mae=mean("absolute") / factor,
            rmse=mean("squared") ** 0.5 / factor,
            mean=mean("signed") / factor,
            largest=max(part.largest for part in sums) / factor,
            count=sum(part.count for part in sums),
            unit=unit,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class ErrorSums:
    """Sums over the errors of one structure, in our units.

    Attributes:
        absolute: Σ|x|.
        squared: Σx².
        signed: Σx.
        largest: max |x|.
        count: number of values.
    """

    absolute: float
    squared: float
    signed: float
    largest: float
    count: int

    @classmethod
    def of(cls, errors: npt.NDArray[np.float64]) -> "ErrorSums":
        """Sum up an array of at least one error."""
        absolute = np.abs(errors)
        return cls(
            absolute=float(absolute.sum()),
            squared=float(np.square(errors).sum()),
            signed=float(errors.sum()),
            largest=float(absolute.max()),
            count=errors.size,
        )
