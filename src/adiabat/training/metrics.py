"""Errors of predictions, in the units in which the field quotes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from adiabat.core.units import MICRO_HARTREE

UNITS: Mapping[str, tuple[str, float]] = {
    "energy": ("meV", 1e-3),
    "energy_per_atom": ("meV/atom", 1e-3),
    "forces": ("meV/Å", 1e-3),
    "stress": ("meV/Å³", 1e-3),
    "hamiltonian": ("µHa", MICRO_HARTREE),
    "eigenvalues": ("meV", 1e-3),
    "wavefunctions": ("meV", 1e-3),
}
"""For each quantity the unit of its printed error, and that unit in ours."""


@dataclass
class ErrorSums:
    """Running sums of absolute and squared errors, in our units, kept in float64.

    Attributes:
        absolute: Σ|x| by quantity.
        squared: Σx² by quantity.
        counts: number of values by quantity.
    """

    absolute: dict[str, float] = field(default_factory=dict)
    squared: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)

    def add(self, quantity: str, errors: Tensor, count: float) -> None:
        """Add errors of any shape; entries that are no values are zero and not in ``count``."""
        wide = errors.detach().to(torch.float64)
        self.absolute[quantity] = self.absolute.get(quantity, 0.0) + wide.abs().sum().item()
        self.squared[quantity] = self.squared.get(quantity, 0.0) + wide.square().sum().item()
        self.counts[quantity] = self.counts.get(quantity, 0.0) + count

    def results(self) -> dict[str, float]:
        """``{quantity}_mae`` and ``{quantity}_rmse`` in the units of :data:`UNITS`."""
        values: dict[str, float] = {}
        for quantity, count in self.counts.items():
            if count:
                unit = UNITS[quantity][1]
                values[f"{quantity}_mae"] = self.absolute[quantity] / count / unit
                values[f"{quantity}_rmse"] = (self.squared[quantity] / count) ** 0.5 / unit
        return values


def describe(results: Mapping[str, float]) -> str:
    """One line for people: each MAE with its unit, total energies in eV."""
    parts: list[str] = []
    for quantity, symbol in _SYMBOLS.items():
        value = results.get(f"{quantity}_mae")
        if value is not None:
            unit, factor = UNITS[quantity]
            parts.append(f"E {value * factor:.4f} eV" if quantity == "energy" else f"{symbol} {value:.3g} {unit}")
    return " · ".join(parts)


_SYMBOLS = {
    "energy": "E",
    "forces": "F",
    "stress": "σ",
    "hamiltonian": "H",
    "eigenvalues": "ε",
    "wavefunctions": "C†HC",
}
