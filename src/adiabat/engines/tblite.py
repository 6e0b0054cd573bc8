"""GFN1- and GFN2-xTB through tblite: milliseconds a molecule, crystals included."""

from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Any, ClassVar, Final

import numpy as np

from adiabat.core.errors import ConfigError, EngineError, MissingExtraError, ScfNotConvergedError, nearest
from adiabat.core.units import BOHR, HARTREE
from adiabat.data.record import Labels, Provenance
from adiabat.data.structure import Structure
from adiabat.engines.base import Engine
from adiabat.physics.geometry import refuse_overlapping_atoms

_METHODS: Final = ("GFN1-xTB", "GFN2-xTB")
_Z_MAX: Final = 86
"""Radon, the last element that GFN1 and GFN2 have parameters for."""


@dataclass(frozen=True)
class TbliteEngine(Engine):
    """Extended tight binding of a molecule or a crystal periodic in three directions (Γ point).

    Attributes:
        method: ``GFN1-xTB`` or ``GFN2-xTB``.
        accuracy: tblite's accuracy; thresholds scale with it, smaller is tighter.
        max_cycles: SCF cycles before giving up.
    """

    name: ClassVar[str] = "tblite"

    method: str = "GFN2-xTB"
    accuracy: float = 0.1
    max_cycles: int = 250

    def __post_init__(self) -> None:
        """Refuse an unknown method, bad settings and a missing tblite before any work.

        Raises:
            ConfigError: the method is not one of tblite's two, or a setting is out of range.
            MissingExtraError: tblite is not installed.
        """
        if self.method not in _METHODS:
            raise ConfigError(
                f"tblite method {self.method!r}",
                expected=" or ".join(_METHODS),
                suggestion=nearest(self.method, _METHODS),
            )
        if not self.accuracy > 0 or self.max_cycles < 1:
            raise ConfigError(
                f"accuracy {self.accuracy} and {self.max_cycles} cycles",
                expected="a positive accuracy, and one cycle or more",
                suggestion="leave both at their defaults",
            )
        if find_spec("tblite") is None:
            raise MissingExtraError.of("tblite", "xtb")

    @property
    def available(self) -> frozenset[str]:
        """No matrices: the H that tblite exports is not the converged one."""
        return frozenset({"energy", "forces", "stress", "charges", "dipole"})

    def provenance(self, structure: Structure) -> Provenance:
        """Code, version, method and accuracy."""
        return Provenance(
            code="tblite",
            code_version=metadata.version("tblite"),
            method=self.method,
            settings={"accuracy": self.accuracy},
            fidelity=self.method,
        )

    def _compute(self, structure: Structure, targets: frozenset[str]) -> Labels:
        _check(structure, targets)
        results = self._single_point(structure)
        volume = abs(float(np.linalg.det(structure.cell)))
        labels = {
            "energy": lambda: np.array(float(results["energy"]) * HARTREE),
            "forces": lambda: -np.asarray(results["gradient"]) * (HARTREE / BOHR),
            # tblite's "virial" is ∂E/∂ε, so its sign is already ours.
            "stress": lambda: np.asarray(results["virial"]) * (HARTREE / volume),
            "charges": lambda: np.asarray(results["charges"]),
            "dipole": lambda: np.asarray(results["dipole"]) * BOHR,
        }
        return {name: labels[name]() for name in targets}

    def _single_point(self, structure: Structure) -> Any:
        from tblite.exceptions import TBLiteRuntimeError, TBLiteValueError
        from tblite.interface import Calculator

        periodic = bool(structure.pbc.all())
        try:
            calculator = Calculator(
                self.method,
                structure.atomic_numbers,
                structure.positions / BOHR,
                charge=structure.charge,
                uhf=structure.spin,
                lattice=structure.cell / BOHR if periodic else None,
                periodic=structure.pbc if periodic else None,
            )
            calculator.set("verbosity", 0)
            calculator.set("accuracy", self.accuracy)
            calculator.set("max-iter", self.max_cycles)
            return calculator.singlepoint()
        except TBLiteRuntimeError as error:
            if "SCF not converged" not in str(error):
                raise _refused(structure, str(error)) from error
            raise ScfNotConvergedError(
                f"an xTB SCF of {structure.formula} that did not converge in {self.max_cycles} cycles",
                expected="self-consistent charges (tblite reports no residual)",
                suggestion="look at the geometry, charge and spin first; then raise --max-cycles, or try the other GFN",
            ) from error
        except TBLiteValueError as error:
            raise _refused(structure, str(error)) from error


def _check(structure: Structure, targets: frozenset[str]) -> None:
    refuse_overlapping_atoms(structure)
    if structure.pbc.any() and not structure.pbc.all():
        raise EngineError(
            f"{structure.formula} periodic along {int(structure.pbc.sum())} of three directions",
            expected="a molecule, or a crystal periodic in all three",
            suggestion="give a slab a vacuum layer and make it periodic in all directions",
        )
    if "stress" in targets and not structure.pbc.all():
        raise EngineError(
            f"the stress of {structure.formula}, which is not periodic",
            expected="a crystal periodic in three directions",
            suggestion="leave stress out of the targets",
        )
    if structure.atomic_numbers.max() > _Z_MAX:
        raise EngineError(
            f"atomic number {int(structure.atomic_numbers.max())} in {structure.formula}",
            expected=f"elements up to {_Z_MAX}, for which xTB has parameters",
            suggestion="use another engine for this structure",
        )


def _refused(structure: Structure, reason: str) -> EngineError:
    return EngineError(
        f"{structure.formula}, which tblite refuses: {reason.strip()}",
        expected="a structure with elements and an electron count that xTB covers",
        suggestion="check elements, charge and number of unpaired electrons",
    )
