"""Any ASE calculator as an engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import ase
import numpy as np
from ase.calculators.calculator import Calculator, CalculatorError, PropertyNotImplementedError

from adiabat.core.errors import EngineError
from adiabat.data.record import Labels, Provenance
from adiabat.data.structure import Structure
from adiabat.engines.base import Engine
from adiabat.physics.geometry import refuse_overlapping_atoms

_FAILURES: Final = (CalculatorError, NotImplementedError, OSError, RuntimeError, ValueError, KeyError, ArithmeticError)
"""What ASE's calculators raise when they cannot compute; they share no base class."""


@dataclass(frozen=True)
class AseEngine(Engine):
    """An ASE calculator with a name for its method. ASE's units and signs are ours.

    Labelling in parallel sends the engine to other processes, so the calculator must then be one that can be pickled;
    a calculator that talks to an external program wants one worker.

    Attributes:
        calculator: instance with all its settings.
        method: level of theory as a referee would write it.
        settings: whatever changes the numbers; ASE cannot tell, so the caller must.
    """

    name: ClassVar[str] = "ase"

    calculator: Calculator
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def available(self) -> frozenset[str]:
        """What the calculator says it implements."""
        ours = {"energy", "forces", "stress", "charges", "dipole"}
        return frozenset(ours & set(self.calculator.implemented_properties))

    def provenance(self, structure: Structure) -> Provenance:
        """The calculator's class, ASE's version, and the settings that the caller named."""
        calculator = type(self.calculator)
        return Provenance(
            code=f"ase:{calculator.__module__}.{calculator.__qualname__}",
            code_version=ase.__version__,
            method=self.method,
            settings=dict(self.settings),
            fidelity=self.method,
        )

    def _compute(self, structure: Structure, targets: frozenset[str]) -> Labels:
        refuse_overlapping_atoms(structure)
        atoms = structure.to_ase()
        atoms.calc = self.calculator
        getters = {
            "energy": lambda: np.array(float(atoms.get_potential_energy())),
            "forces": lambda: np.array(atoms.get_forces(), dtype=np.float64),
            "stress": lambda: np.array(atoms.get_stress(voigt=False), dtype=np.float64),
            "charges": lambda: np.array(atoms.get_charges(), dtype=np.float64),
            "dipole": lambda: np.array(atoms.get_dipole_moment(), dtype=np.float64),
        }
        try:
            return {name: getters[name]() for name in sorted(targets)}
        except PropertyNotImplementedError as error:
            raise EngineError(
                f"{structure.formula}, for which {self.method} does not give {', '.join(sorted(targets))}",
                expected="properties that this calculator has for this structure (a stress needs a cell)",
                suggestion="ask for energy and forces only",
            ) from error
        except _FAILURES as error:
            raise EngineError(
                f"{structure.formula}, on which {self.method} fails ({type(error).__name__}: {error})",
                expected="a structure within the calculator's range",
                suggestion="check the elements, and run the calculator on this frame alone to see its output",
            ) from error
