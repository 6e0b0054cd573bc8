"""A predicted Hamiltonian against its reference, and the orbitals that follow from each."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from adiabat.campaigns.operator_predictions import predict_operator
from adiabat.core.errors import LabelError
from adiabat.core.operators import BlockOperator
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.record import Record
from adiabat.electronic.similarity import coefficient_cosine, orbital_similarity
from adiabat.models.config import OperatorReference, level_of
from adiabat.models.model import Model
from adiabat.physics.h0 import superposed_density_hamiltonian
from adiabat.simulation.electrons import Electrons, dense, solve_electrons
from adiabat.uncertainty.interface import UncertainModel, central_model

_SHELL_LETTERS: Final = "spdf"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HamiltonianComparison:
    """One molecule, predicted and reference.

    Attributes:
        basis: shells of each element.
        predicted: electrons of the predicted Hamiltonian.
        reference: electrons of the reference Hamiltonian, in the same overlap.
        errors: (n_orb, n_orb) H_pred − H_ref [eV].
        h0_errors: (n_orb, n_orb) H0 − H_ref [eV], what is there without a model.
        orbital_similarity: (n_occupied,) |⟨ψ_pred|ψ_ref⟩|.
        coefficient_cosine: (n_occupied,) cosine of the coefficients.
        seconds: time to predict ΔH.
        spreads: (n_orb, n_orb) standard deviations of H_pred [eV], zero beyond the model's pairs; None without any.
        central_seconds: time to predict ΔH without them, if there are any.
    """

    basis: OrbitalBasis
    predicted: Electrons
    reference: Electrons
    errors: Array
    h0_errors: Array
    orbital_similarity: Array
    coefficient_cosine: Array
    seconds: float
    spreads: Array | None = None
    central_seconds: float | None = None

    @property
    def same_atom(self) -> npt.NDArray[np.bool_]:
        """(n_orb, n_orb) whether both orbitals sit on one atom."""
        atoms = self.predicted.orbital_atoms.numpy()
        return atoms[:, None] == atoms[None, :]


def compare_hamiltonians(model: Model | UncertainModel, record: Record) -> HamiltonianComparison:
    """Predict the Hamiltonian of a labelled molecule and compare it.

    Args:
        model: with an operator head.
        record: with a ``hamiltonian``. Its ``h0`` is used if it was computed with the model's settings, its
            ``overlap`` if there; else both are computed.

    Raises:
        LabelError: the reference is in another basis than the model's.
        ElectronicError: an open shell.
    """
    central = central_model(model)
    reference_level = central.require_operator()
    structure, labels = record.structure, record.labels
    target = labels["hamiltonian"]
    assert isinstance(target, BlockOperator)
    _check_basis(reference_level, record, target)
    overlap = labels.get("overlap")
    if not isinstance(overlap, BlockOperator):
        overlap = central.overlap(structure)
    prediction = predict_operator(model, structure)
    h0 = labels.get("h0")
    if not isinstance(h0, BlockOperator) or not h0_is_of(reference_level, record):
        h0 = superposed_density_hamiltonian(structure, **reference_level.level)
    predicted = prediction.mean + h0
    ours = solve_electrons(structure, predicted, overlap, reference_level.basis)
    theirs = solve_electrons(structure, target, overlap, reference_level.basis)
    n_occupied = structure.n_electrons // 2
    coefficients = ours.orbitals.coefficients, theirs.orbitals.coefficients
    similarity = orbital_similarity(*coefficients, theirs.orbitals.energies, dense(overlap), n_occupied)
    reference = target.to_dense()
    return HamiltonianComparison(
        basis=reference_level.orbitals,
        predicted=ours,
        reference=theirs,
        errors=predicted.to_dense() - reference,
        h0_errors=h0.to_dense() - reference,
        orbital_similarity=similarity.numpy(),
        coefficient_cosine=coefficient_cosine(*coefficients, n_occupied).numpy(),
        seconds=prediction.seconds,
        spreads=None if prediction.spread is None else prediction.spread.to_dense(),
        central_seconds=prediction.central_seconds,
    )


def h0_is_of(reference: OperatorReference, record: Record) -> bool:
    """Whether the record's H0 is the one that the model's ΔH adds to."""
    return level_of(record.provenance.settings) == reference.level


def shell_pair_errors(comparison: HamiltonianComparison) -> dict[str, Array]:
    """Errors [eV] by where the two orbitals sit and their angular momenta: ``onsite s–p``, ``pair p–p``."""
    shells = np.array(comparison.basis.shell_sequence(comparison.predicted.structure.atomic_numbers))
    l = np.repeat(shells, 2 * shells + 1)
    same_atom = comparison.same_atom
    groups: dict[str, Array] = {}
    for low in range(int(l.max()) + 1):
        for high in range(low, int(l.max()) + 1):
            # The matrix is symmetric: s–p stands for p–s as well.
            member = (l[:, None] == low) & (l[None, :] == high)
            for where, mask in (("onsite", same_atom), ("pair", ~same_atom)):
                if (member & mask).any():
                    name = f"{where} {_SHELL_LETTERS[low]}–{_SHELL_LETTERS[high]}"
                    groups[name] = comparison.errors[member & mask]
    return groups


def _check_basis(reference: OperatorReference, record: Record, target: BlockOperator) -> None:
    numbers = record.structure.atomic_numbers
    labelled = record.provenance.orbital_basis
    expected = reference.orbitals.n_orbitals(numbers)
    if np.array_equal(target.n_orbitals, expected) and (labelled is None or labelled.name == reference.basis):
        return
    name = f" in basis {labelled.name!r}" if labelled else ""
    raise LabelError(
        f"a reference Hamiltonian with {target.n_orbitals.tolist()} orbitals on its atoms{name}",
        expected=f"{expected.tolist()} in basis {reference.basis!r}, which the model was trained in",
        suggestion="evaluate on labels of the same basis (`adiabat label --basis`), or leave the Hamiltonian out",
    )
