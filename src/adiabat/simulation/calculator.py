"""The model as an ASE calculator: energy, forces and stress at each call, their uncertainty, electrons when asked."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from adiabat.core.errors import ModelError, StructureError
from adiabat.core.operators import BlockOperator
from adiabat.data.graph import Graph
from adiabat.data.structure import Structure
from adiabat.models.model import Model, Prediction, to_numpy
from adiabat.simulation.baseline import Baseline
from adiabat.simulation.committee import ask_members
from adiabat.simulation.electrons import Electrons, predict_electrons, predict_member_electrons
from adiabat.simulation.settings import BiasSettings
from adiabat.uncertainty.interface import UncertainModel, central_model
from adiabat.uncertainty.package import load_any_model
from adiabat.uncertainty.spread import Spread

UNCERTAINTIES: Final = (
    "energy_uncertainty",
    "forces_uncertainty",
    "atomic_energies_uncertainty",
    "stress_uncertainty",
    "unbiased_energy",
)
"""Results that ASE has no name for. One standard deviation each, in the units of what they belong to."""

Drive = Literal["mean", "central"]
"""What moves atoms: the mean of all members, or the central model alone."""


class AdiabatCalculator(Calculator):
    """ASE calculator of a model.

    Energy [eV], forces [eV/Å] and, for three periodic directions, stress [eV/Å³, Voigt order, ASE's sign]
    come from one evaluation. The Hamiltonian and what follows from it are separate methods, so that molecular
    dynamics does not pay for them. ``atoms.info`` may hold ``charge`` and ``spin``.

    An uncertain model adds, to ``results`` and for ``get_property``: ``energy_uncertainty`` [eV],
    ``forces_uncertainty`` (n_atoms, 3) [eV/Å], ``atomic_energies_uncertainty`` (n_atoms,) [eV] where there is one, and
    ``stress_uncertainty`` (6,) [eV/Å³]: one standard deviation each.

    Attributes:
        model: the model; the central one of an uncertain model.
        uncertain: the uncertain model, if it is one.
        graph: the neighbor graph of the last evaluation.
    """

    implemented_properties: ClassVar[list[str]] = [  # pyright: ignore[reportIncompatibleVariableOverride]
        "energy",
        "free_energy",
        "forces",
        "stress",
    ]

    def __init__(
        self,
        model: Model | UncertainModel,
        *,
        device: torch.device | str | None = None,
        drive: Drive = "mean",
        bias: BiasSettings | None = None,
        baseline: Baseline | None = None,
        **parameters: Any,
    ) -> None:
        """Wrap a model.

        Args:
            model: put into evaluation mode, and moved if ``device`` is given.
            device: where to compute; by default where the model is.
            drive: with ``central``, energy and forces are the central model's alone, and uncertainties are computed
                when asked for.
            bias: give energy, forces and stress of the surface that is lower where members disagree. Uncertainties are
                then the members' plain spread.
            baseline: lower level of theory that the model is the difference to; the sum of both is given.
            parameters: passed to ASE's ``Calculator``.

        Raises:
            ModelError: a bias and a model that does not know its uncertainty.
        """
        super().__init__(**parameters)
        self.uncertain = model if isinstance(model, UncertainModel) else None
        if device is not None:
            model.to(device)
        self.model: Model = central_model(model).eval()
        self.drive, self.bias, self.baseline = drive, bias, baseline
        if self.uncertain is not None:
            self.implemented_properties = [*type(self).implemented_properties, *UNCERTAINTIES]  # pyright: ignore[reportIncompatibleVariableOverride, reportAttributeAccessIssue]
        elif bias is not None:
            self._require_uncertain()
        self.graph: Graph | None = None
        self._electrons: tuple[str, Electrons] | None = None

    @classmethod
    def from_file(
        cls, path: str | Path, *, device: torch.device | str | None = None, **options: Any
    ) -> "AdiabatCalculator":
        """Calculator of a model file, or of the file of an uncertain model.

        Raises:
            FileFormatError: the file is no model, or damaged.
        """
        return cls(load_any_model(path), device=device, **options)

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
        if not periodic and {"stress", "stress_uncertainty"} & set(properties):
            raise StructureError(
                f"the stress of {structure.formula}, periodic along {structure.pbc.tolist()}",
                expected="three periodic directions: stress is force per area of a cell",
                suggestion="set atoms.pbc = True and a cell, or do not ask for stress",
            )
        outputs = ("energy", "forces", "stress") if periodic else ("energy", "forces")
        self.graph = self.model.graph(structure, outputs)
        graph = self.graph.to(next(self.model.parameters()).device)
        results = self._evaluate(graph, outputs, uncertain=bool(set(UNCERTAINTIES) & set(properties)))
        self.results = results if self.baseline is None else self.baseline.added_to(results, self.atoms)

    def _evaluate(self, graph: Graph, outputs: Collection[str], *, uncertain: bool) -> dict[str, Any]:
        if self.bias is not None:
            return self._biased(graph, outputs, self.bias)
        if self.uncertain is not None and self.drive == "mean":
            predicted = self.uncertain.predict(graph, outputs)
            return _results(predicted.mean) | _spreads(predicted.spread)
        with torch.no_grad():
            results = _results(self.model(graph, outputs))
        if self.uncertain is not None and uncertain:
            results |= _spreads(self.uncertain.predict(graph, outputs).spread)
        return results

    def _biased(self, graph: Graph, outputs: Collection[str], settings: BiasSettings) -> dict[str, Any]:
        committee = ask_members(self._require_uncertain().members, graph, outputs)
        bias = committee.bias(settings)
        mean = float(committee.energies.mean())
        energy = mean + bias.energy
        results: dict[str, Any] = {
            "energy": energy,
            "free_energy": energy,
            "forces": committee.forces.mean(axis=0) + bias.forces,
            "unbiased_energy": mean,
            "energy_uncertainty": committee.energy_uncertainty,
            "forces_uncertainty": committee.forces.std(axis=0, ddof=1),
        }
        if committee.stresses is not None and bias.stress is not None:
            results["stress"] = full_3x3_to_voigt_6_stress(committee.stresses.mean(axis=0) + bias.stress)
            results["stress_uncertainty"] = full_3x3_to_voigt_6_stress(committee.stresses.std(axis=0, ddof=1))
        return results

    def get_largest_force_uncertainty(self, atoms: Atoms) -> float:
        """Largest standard deviation of an atom's force, √(σ_x² + σ_y² + σ_z²) [eV/Å].

        Raises:
            ModelError: the model does not know its uncertainty.
        """
        self._require_uncertain()
        spread: Any = self.get_property("forces_uncertainty", atoms)
        return largest_force_uncertainty(spread)

    def get_gap_uncertainty(self, atoms: Atoms) -> float:
        """Standard deviation of the HOMO–LUMO gap over the members [eV].

        Raises:
            ModelError: the model has no operator head, or does not know its uncertainty.
        """
        return float(np.std([float(one.orbitals.gap) for one in self.get_member_electrons(atoms)], ddof=1))

    def get_orbital_energies_uncertainty(self, atoms: Atoms) -> npt.NDArray[np.float64]:
        """Standard deviation of each orbital energy over the members [eV], (n_orb,).

        Raises:
            ModelError: the model has no operator head, or does not know its uncertainty.
        """
        return np.std([one.orbitals.energies.numpy() for one in self.get_member_electrons(atoms)], axis=0, ddof=1)

    def get_member_electrons(self, atoms: Atoms) -> list[Electrons]:
        """The electrons that each member predicts.

        Raises:
            ModelError: the model has no operator head, or does not know its uncertainty.
        """
        return predict_member_electrons(self._require_uncertain().members, Structure.from_ase(atoms))

    def _require_uncertain(self) -> UncertainModel:
        if self.uncertain is None:
            raise ModelError(
                "a request for an uncertainty from a single model",
                expected="an uncertain model: an ensemble, or a model with a posterior",
                suggestion="make one with `adiabat uncertainty`, and give its file",
            )
        return self.uncertain

    def require_operator(self) -> None:
        """Refuse to give electrons where there are none.

        Raises:
            ModelError: the model has no operator head, or is one of the difference between two levels of theory.
        """
        if self.baseline is not None:
            raise ModelError(
                "a request for electrons from a model of the difference between two levels of theory",
                expected="a model of the whole Hamiltonian: what a difference predicts is no Hamiltonian",
                suggestion="add the two operators yourself, or ask another model for the electrons",
            )
        self.model.require_operator()

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
        self.require_operator()
        structure = Structure.from_ase(atoms)
        if self._electrons is None or self._electrons[0] != structure.content_hash:
            self._electrons = (structure.content_hash, predict_electrons(self.model, structure))
        return self._electrons[1]


def largest_force_uncertainty(standard_deviations: npt.NDArray[np.float64]) -> float:
    """Largest √(σ_x² + σ_y² + σ_z²) of any atom [eV/Å], from (n_atoms, 3)."""
    return float(np.linalg.norm(standard_deviations, axis=-1).max())


def _results(prediction: Prediction) -> dict[str, Any]:
    assert prediction.energy is not None
    assert prediction.forces is not None
    energy = float(prediction.energy)
    results: dict[str, Any] = {"energy": energy, "free_energy": energy, "forces": to_numpy(prediction.forces)}
    if prediction.stress is not None:
        results["stress"] = full_3x3_to_voigt_6_stress(to_numpy(prediction.stress)[0])
    return results


def _spreads(spread: Spread) -> dict[str, Any]:
    results: dict[str, Any] = {}
    if spread.energy is not None:
        results["energy_uncertainty"] = float(spread.energy)
    if spread.forces is not None:
        results["forces_uncertainty"] = to_numpy(spread.forces)
    if spread.atomic_energies is not None:
        results["atomic_energies_uncertainty"] = to_numpy(spread.atomic_energies)
    if spread.stress is not None:
        results["stress_uncertainty"] = full_3x3_to_voigt_6_stress(to_numpy(spread.stress)[0])
    return results
