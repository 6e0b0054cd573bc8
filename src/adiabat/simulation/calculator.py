"""The model as an ASE calculator: energy, forces and stress at each call, electrons when asked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from adiabat.core.errors import StructureError
from adiabat.core.operators import BlockOperator
from adiabat.data.graph import Graph
from adiabat.data.structure import Structure
from adiabat.models.model import Model, to_numpy
from adiabat.models.package import load_model
from adiabat.simulation.electrons import Electrons, predict_electrons


class AdiabatCalculator(Calculator):
    """ASE calculator of a model.

    Energy [eV], forces [eV/Å] and, for three periodic directions, stress [eV/Å³, Voigt order, ASE's sign]
    come from one evaluation. The Hamiltonian and what follows from it are separate methods, so that molecular
    dynamics does not pay for them. ``atoms.info`` may hold ``charge`` and ``spin``.

    Attributes:
        model: the model.
        graph: the neighbor graph of the last evaluation.
    """

    implemented_properties: ClassVar[list[str]] = [  # pyright: ignore[reportIncompatibleVariableOverride]
        "energy",
        "free_energy",
        "forces",
        "stress",
    ]

    def __init__(self, model: Model, *, device: torch.device | str | None = None, **parameters: Any) -> None:
        """Wrap a model.

        Args:
            model: put into evaluation mode, and moved if ``device`` is given.
            device: where to compute; by default where the model is.
            parameters: passed to ASE's ``Calculator``.
        """
        super().__init__(**parameters)
        self.model: Model = (model if device is None else model.to(device)).eval()
        self.graph: Graph | None = None
        self._electrons: tuple[str, Electrons] | None = None

    @classmethod
    def from_file(cls, path: str | Path, *, device: torch.device | str | None = None) -> "AdiabatCalculator":
        """Calculator of a model file.

        Raises:
            FileFormatError: the file is no model, or damaged.
        """
        return cls(load_model(path), device=device)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluate the model; called by ASE.

        Raises:
            StructureError: two atoms at one place, an element that the model does not know, or the stress of
                something that is not periodic in three directions.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        assert isinstance(self.atoms, Atoms)
        structure = Structure.from_ase(self.atoms)
        periodic = bool(structure.pbc.all())
        if "stress" in properties and not periodic:
            raise StructureError(
                f"the stress of {structure.formula}, periodic along {structure.pbc.tolist()}",
                expected="three periodic directions: stress is force per area of a cell",
                suggestion="set atoms.pbc = True and a cell, or do not ask for stress",
            )
        outputs = ("energy", "forces", "stress") if periodic else ("energy", "forces")
        self.graph = self.model.graph(structure, outputs)
        with torch.no_grad():
            prediction = self.model(self.graph.to(next(self.model.parameters()).device), outputs)
        energy = float(prediction.energy)
        self.results = {"energy": energy, "free_energy": energy, "forces": to_numpy(prediction.forces)}
        if periodic:
            self.results["stress"] = full_3x3_to_voigt_6_stress(to_numpy(prediction.stress)[0])

    def get_hamiltonian(self, atoms: Atoms) -> BlockOperator:
        """Predicted Hamiltonian [eV] in the model's basis.

        Raises:
            ModelError: the model has no operator head.
        """
        return self.get_electrons(atoms).hamiltonian

    def get_overlap(self, atoms: Atoms) -> BlockOperator:
        """Exact overlap of the model's basis.

        Raises:
            ModelError: the model has no operator head.
        """
        return self.get_electrons(atoms).overlap

    def get_orbital_energies(self, atoms: Atoms) -> npt.NDArray[np.float64]:
        """Orbital energies [eV] of the predicted Hamiltonian, ascending, (n_orb,).

        Raises:
            ModelError: the model has no operator head.
        """
        return self.get_electrons(atoms).orbitals.energies.numpy()

    def get_gap(self, atoms: Atoms) -> float:
        """HOMO–LUMO gap [eV] of the predicted Hamiltonian.

        Raises:
            ModelError: the model has no operator head.
        """
        return float(self.get_electrons(atoms).orbitals.gap)

    def get_electrons(self, atoms: Atoms) -> Electrons:
        """Everything that follows from the predicted Hamiltonian; the last structure's is kept.

        Raises:
            ModelError: the model has no operator head.
            ElectronicError: an odd number of electrons, or a periodic structure's Hamiltonian.
        """
        structure = Structure.from_ase(atoms)
        if self._electrons is None or self._electrons[0] != structure.content_hash:
            self._electrons = (structure.content_hash, predict_electrons(self.model, structure))
        return self._electrons[1]
