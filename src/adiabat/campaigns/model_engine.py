"""A trained model in the place of a reference calculator, so that what labels in parallel also predicts in parallel."""

from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from adiabat.core.operators import BlockOperator
from adiabat.data.record import Labels, Provenance
from adiabat.data.structure import Structure
from adiabat.engines.base import Engine
from adiabat.models.model import Model
from adiabat.models.package import load_model
from adiabat.simulation.electrons import predict_electrons

_ELECTRONIC: Final = frozenset({"hamiltonian", "overlap", "density_matrix", "orbital_energies", "fermi_level"})


@dataclass(frozen=True)
class ModelEngine(Engine):
    """Predictions of a model, in the form of labels.

    Attributes:
        path: model package.
        content_hash: of the package; part of the settings, so that another model's predictions are other labels.
    """

    name: ClassVar[str] = "adiabat"
    path: Path
    content_hash: str

    @property
    def available(self) -> frozenset[str]:
        """What the model has heads for."""
        model = _model(self.path)
        surface = frozenset({"energy", "forces"}) if model.config.energy else frozenset[str]()
        return surface | (_ELECTRONIC if model.has_operator else frozenset())

    def provenance(self, structure: Structure) -> Provenance:
        """The model stands for the method."""
        model = _model(self.path)
        return Provenance(
            code="adiabat",
            code_version=metadata.version("adiabat"),
            method=f"model {self.content_hash[:12]}",
            settings={"model": self.content_hash},
            orbital_basis=model.reference.orbitals if model.reference else None,
        )

    def _compute(self, structure: Structure, targets: frozenset[str]) -> Labels:
        model = _model(self.path)
        labels: dict[str, npt.NDArray[np.float64] | BlockOperator] = {}
        if targets & {"energy", "forces"}:
            prediction = model(model.graph(structure, targets), targets & {"energy", "forces"})
            assert prediction.energy is not None
            labels["energy"] = prediction.energy.detach().double().numpy().reshape(())
            if prediction.forces is not None:
                labels["forces"] = prediction.forces.detach().double().numpy()
        if targets - {"energy", "forces"}:
            electrons = predict_electrons(model, structure)
            labels |= {
                "hamiltonian": electrons.hamiltonian,
                "overlap": electrons.overlap,
                "density_matrix": electrons.density_matrix,
                "orbital_energies": electrons.orbitals.energies.numpy(),
                "fermi_level": electrons.orbitals.fermi_level.numpy(),
            }
        return labels


@cache
def _model(path: Path) -> Model:
    """One model a process; a worker answers many structures with it."""
    return load_model(path).eval()
