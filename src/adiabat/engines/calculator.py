"""Any engine as an ASE calculator, so that it can run under a model or in whatever drives ASE."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from adiabat.data.structure import Structure
from adiabat.engines.base import Engine

_OURS: Final = ("energy", "forces", "stress", "charges", "dipole")


class EngineCalculator(Calculator):
    """Energy [eV], forces [eV/Å] and stress [eV/Å³, Voigt order, ASE's sign] of a reference method.

    ``atoms.info`` may hold ``charge`` and ``spin``.
    """

    implemented_properties: ClassVar[list[str]] = [*_OURS, "free_energy"]  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, engine: Engine, **parameters: Any) -> None:
        """Wrap an engine.

        Args:
            engine: with energies and forces.
            parameters: passed to ASE's ``Calculator``.
        """
        super().__init__(**parameters)
        self.engine = engine
        have = [name for name in _OURS if name in engine.available]
        self.implemented_properties = [*have, "free_energy"]  # pyright: ignore[reportIncompatibleVariableOverride, reportAttributeAccessIssue]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute; called by ASE.

        Raises:
            AdiabatError: of the kinds that :meth:`adiabat.engines.base.Engine.label` raises.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        assert isinstance(self.atoms, Atoms)
        structure = Structure.from_ase(self.atoms)
        wanted = {"energy", "forces"} | (set(properties) - {"free_energy"})
        if "stress" in self.implemented_properties and structure.pbc.all():
            wanted.add("stress")
        labels: dict[str, Any] = dict(self.engine.label(structure, sorted(wanted)).labels)
        labels["energy"] = float(labels["energy"])
        if "stress" in labels:
            labels["stress"] = full_3x3_to_voigt_6_stress(labels["stress"])
        self.results = {**labels, "free_energy": labels["energy"]}
