"""What the members of an uncertain model say one by one, and the surface that is lower where they disagree.

E_b = Ē − τ (√(σ² + s²) − s),   σ² = Σ_k (E_k − Ē)²/(K − 1)
∇σ² = −2 Σ_k (E_k − Ē)(F_k − F̄)/(K − 1)

so that F_b = F̄ − τ Σ_k (E_k − Ē)(F_k − F̄)/((K − 1) √(σ² + s²)), and the same with stresses. Sources:
[vanderoord2023], [kulichenko2023].
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adiabat.core.errors import ModelError
from adiabat.data.graph import Graph
from adiabat.models.model import Model, to_numpy
from adiabat.simulation.settings import BiasSettings

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Committee:
    """Predictions of K members for one structure.

    Attributes:
        energies: (K,) in eV.
        forces: (K, n_atoms, 3) in eV/Å.
        stresses: (K, 3, 3) in eV/Å³, or None.
    """

    energies: Array
    forces: Array
    stresses: Array | None = None

    @property
    def energy_uncertainty(self) -> float:
        """σ_E [eV]."""
        return float(self.energies.std(ddof=1))

    def bias(self, settings: BiasSettings) -> "Bias":
        """What is added to the mean on the biased surface."""
        deviations = self.energies - self.energies.mean()
        softened = float(np.hypot(self.energy_uncertainty, settings.softening))
        weights = -settings.strength * deviations / ((len(deviations) - 1) * softened)
        return Bias(
            energy=-settings.strength * (softened - settings.softening),
            forces=np.tensordot(weights, self.forces - self.forces.mean(axis=0), axes=1),
            stress=None
            if self.stresses is None
            else np.tensordot(weights, self.stresses - self.stresses.mean(axis=0), axes=1),
        )


@dataclass(frozen=True, eq=False)
class Bias:
    """Energy [eV], forces (n_atoms, 3) [eV/Å] and stress (3, 3) [eV/Å³] that a bias adds."""

    energy: float
    forces: Array
    stress: Array | None


def ask_members(members: Sequence[Model], graph: Graph, outputs: Collection[str]) -> Committee:
    """Ask each member for energy, forces and, if it is among the outputs, stress.

    Raises:
        ModelError: fewer than two members, between which there is no spread.
    """
    if len(members) < 2:
        raise ModelError(
            f"{len(members)} member",
            expected="two members or more, between which there is a spread",
            suggestion="train an ensemble, or give the posterior a number of members",
        )
    predictions = []
    with torch.no_grad():
        for member in members:
            predictions.append(member(graph, outputs))
    return Committee(
        np.array([float(prediction.energy) for prediction in predictions]),
        np.stack([to_numpy(prediction.forces) for prediction in predictions]),
        np.stack([to_numpy(prediction.stress)[0] for prediction in predictions]) if "stress" in outputs else None,
    )
