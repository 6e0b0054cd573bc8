"""A lower level of theory under a model of the difference: E = E_low + Δ, and so for forces and stress."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator


@dataclass(frozen=True)
class Baseline:
    """The lower level.

    Attributes:
        calculator: any ASE calculator of it.
        identity: what it is, with all its settings; a run is resumed with the same one only.
    """

    calculator: Calculator
    identity: str

    def added_to(self, results: dict[str, Any], atoms: Atoms) -> dict[str, Any]:
        """Results of the model of the difference, plus those of the lower level; uncertainties stay as they are.

        Args:
            results: by ASE's names.
            atoms: that they are of; not changed.
        """
        low = atoms.copy()
        low.calc = self.calculator
        energy = float(low.get_potential_energy())
        values: dict[str, Any] = {"energy": energy, "free_energy": energy, "unbiased_energy": energy}
        if "forces" in results:
            values["forces"] = np.asarray(low.get_forces(), dtype=np.float64)
        if "stress" in results:
            values["stress"] = np.asarray(low.get_stress(), dtype=np.float64)
        return {name: value + values[name] if name in values else value for name, value in results.items()}
