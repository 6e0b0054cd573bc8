"""A predicted Hamiltonian of a crystal against its reference, and the bands that follow from each."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adiabat.campaigns.operator_predictions import predict_operator
from adiabat.core.errors import ElectronicError, LabelError
from adiabat.core.operators import BlockOperator, find_pairs
from adiabat.core.orbitals import OrbitalBasis
from adiabat.data.record import Record
from adiabat.data.structure import Structure
from adiabat.electronic.bands import BandStates, solve_bands
from adiabat.electronic.crystal import Crystal
from adiabat.electronic.fermi import fill, insulating_counts
from adiabat.electronic.gap import band_gap
from adiabat.electronic.kpoints import KMesh, mesh_size, monkhorst_pack
from adiabat.electronic.smearing import Smearing
from adiabat.models.model import Model
from adiabat.uncertainty.interface import UncertainModel, central_model

WINDOW: Final = 5.0
"""eV; bands are compared this near the reference's Fermi level."""

_K_SPACING: Final = 0.35
"""1/Å between the k points at which bands are compared."""

_METAL: Final = Smearing("fermi-dirac", 0.05)
"""Where there is no gap, the Fermi levels of both are found with this."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CrystalComparison:
    """One crystal, predicted and reference.

    Attributes:
        reference_elements: elements of the reference H [eV], in the order of the errors.
        errors: H_pred − H_ref [eV], flat over all elements (both parts of complex ones).
        errors_without_shift: the same less the multiple of S that makes them smallest: H is defined up to it.
        shift: that multiple [eV].
        same_atom: whether both orbitals of each error sit on one atom.
        shells: angular momenta of the two orbitals, (n, 2).
        energies_predicted: bands of the prediction [eV] within the window around the reference's Fermi level.
        energies_reference: the same of the reference.
        band_shift: mean of their difference [eV].
        fermi_level_error: predicted − reference [eV].
        gap: of the reference and of the prediction [eV]; None if either is a metal.
        smallest_overlap: λ_min of S(k) at all k compared.
        seconds: time to predict H.
        spreads: standard deviations of H_pred [eV], in the order of the errors, zero beyond the model's pairs; None
            without any.
        central_seconds: time to predict H without them, if there are any.
    """

    reference_elements: Array
    errors: Array
    errors_without_shift: Array
    shift: float
    same_atom: npt.NDArray[np.bool_]
    shells: npt.NDArray[np.int64]
    energies_predicted: Array
    energies_reference: Array
    band_shift: float
    fermi_level_error: float
    gap: tuple[float, float] | None
    smallest_overlap: float
    seconds: float
    spreads: Array | None = None
    central_seconds: float | None = None


def compare_crystals(model: Model | UncertainModel, record: Record) -> CrystalComparison:
    """Predict the Hamiltonian of a labelled crystal and compare it.

    Args:
        model: with an operator head without an H0.
        record: with a ``hamiltonian`` and an ``overlap``.

    Raises:
        LabelError: there is no overlap, or the reference is in another basis or spin layout than the model's.
        BasisError: the number of electrons is not known.
        ElectronicError: matrices that define no bands.
    """
    central = central_model(model)
    reference = central.require_operator()
    target, overlap = record.labels["hamiltonian"], record.labels.get("overlap")
    assert isinstance(target, BlockOperator)
    if not isinstance(overlap, BlockOperator):
        overlap = central.overlap(record.structure)
    basis = reference.orbitals
    _check_layout(basis, reference.spin, record, target)
    prediction = predict_operator(model, record.structure)
    predicted = prediction.mean
    pairs = np.unique(np.concatenate([target.pairs, predicted.pairs, overlap.pairs]), axis=0)
    ours, theirs, metric = (operator.on_pairs(pairs) for operator in (predicted, target, overlap))
    errors = ours.with_values(ours.values - theirs.values)
    shift = _best_shift(errors, metric)
    charge = record.structure.charge
    n_electrons = (record.provenance.orbital_basis or basis).n_electrons(record.structure.atomic_numbers, charge)
    known = find_pairs(target.pairs, pairs) >= 0
    same_atom, shells = _places(theirs, basis, record.structure)
    counted = np.repeat(known, np.diff(theirs.offsets))
    states, mesh = _bands([ours, theirs], metric, record.structure, n_electrons)
    filled = [_fermi_level(part, mesh, n_electrons, ours) for part in states]
    inside = (states[1].energies - filled[1]).abs() <= WINDOW
    predicted_bands, reference_bands = (part.energies[inside].numpy() for part in states)
    spread = prediction.spread
    return CrystalComparison(
        reference_elements=_flat(theirs.values[..., counted]),
        errors=_flat(errors.values[..., counted]),
        errors_without_shift=_flat(_shifted(errors, metric, shift)[..., counted]),
        shift=shift,
        same_atom=_repeated(same_atom[counted], errors),
        shells=_repeated(shells[counted], errors),
        energies_predicted=predicted_bands,
        energies_reference=reference_bands,
        band_shift=float((predicted_bands - reference_bands).mean()) if len(reference_bands) else 0.0,
        fermi_level_error=filled[0] - filled[1],
        gap=_gaps(states, n_electrons, ours),
        smallest_overlap=float(states[1].smallest_overlap.min()),
        seconds=prediction.seconds,
        spreads=None if spread is None else _flat(spread.on_pairs(pairs).values[..., counted]),
        central_seconds=prediction.central_seconds,
    )


def _check_layout(basis: OrbitalBasis, spin: str, record: Record, target: BlockOperator) -> None:
    expected = basis.n_orbitals(record.structure.atomic_numbers)
    if np.array_equal(target.n_orbitals, expected) and target.spin == spin:
        return
    raise LabelError(
        f"a reference Hamiltonian with {target.n_orbitals.tolist()} orbitals on its atoms and spin {target.spin!r}",
        expected=f"{expected.tolist()} in basis {basis.name!r} and spin {spin!r}, which the model was trained in",
        suggestion="evaluate on labels of the same calculation settings, or leave the Hamiltonian out",
    )


def _best_shift(errors: BlockOperator, overlap: BlockOperator) -> float:
    """The μ of least |E − μ S|², with S in the blocks that a shift of all energies changes."""
    parts = [np.real(errors.component(k).values) for k in _diagonal(errors)]
    return float(np.mean([part @ overlap.values for part in parts])) / float(overlap.values @ overlap.values)


def _shifted(errors: BlockOperator, overlap: BlockOperator, shift: float) -> npt.NDArray[np.float64]:
    values = errors.values.copy()
    if errors.spin == "none":
        return values - shift * overlap.values
    for k in _diagonal(errors):
        values[k] -= shift * overlap.values
    return values


def _diagonal(operator: BlockOperator) -> list[int]:
    """Spin components that a shift of all energies changes."""
    return {"none": [0], "collinear": [0, 1], "spinor": [0, 3]}[operator.spin]


def _flat(values: npt.NDArray[np.complex128] | Array) -> Array:
    return np.ascontiguousarray(values).ravel().view(np.float64)


def _repeated(places: npt.NDArray[Any], operator: BlockOperator) -> npt.NDArray[Any]:
    """One row for each number of :func:`_flat`: for each spin component, and both parts of complex elements."""
    parts = 2 if np.iscomplexobj(operator.values) else 1
    n_components = 1 if operator.spin == "none" else len(operator.values)
    return np.tile(np.repeat(places, parts, axis=0), (n_components, *(1,) * (places.ndim - 1)))


def _places(
    operator: BlockOperator, basis: OrbitalBasis, structure: Structure
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """For each element whether both orbitals sit on one atom (n,), and their angular momenta (n, 2)."""
    l_of = [np.repeat(basis.of(z), [2 * l + 1 for l in basis.of(z)]) for z in structure.atomic_numbers]
    pairs = operator.pairs
    home = ~pairs[:, :3].any(axis=1) & (pairs[:, 3] == pairs[:, 4])
    shells = [
        np.stack([np.repeat(l_of[i], len(l_of[j])), np.tile(l_of[j], len(l_of[i]))], axis=1) for i, j in pairs[:, 3:]
    ]
    return np.repeat(home, np.diff(operator.offsets)), np.concatenate(shells)


def _bands(
    hamiltonians: list[BlockOperator], overlap: BlockOperator, structure: Structure, n_electrons: float
) -> tuple[list[BandStates], KMesh]:
    periodic = np.asarray(structure.pbc, dtype=bool)
    mesh = monkhorst_pack(mesh_size(structure.cell, periodic, _K_SPACING))
    crystals = [Crystal(h, overlap, structure.cell, periodic, n_electrons) for h in hamiltonians]
    return [solve_bands(crystal, mesh.k_frac) for crystal in crystals], mesh


def _fermi_level(states: BandStates, mesh: KMesh, n_electrons: float, operator: BlockOperator) -> float:
    occupation = 2 if operator.spin == "none" else 1
    insulates = insulating_counts(states.energies, n_electrons, occupation) is not None
    smearing = Smearing() if insulates else _METAL
    return fill(states.energies, mesh.weights, n_electrons, occupation, smearing).fermi_level


def _gaps(states: list[BandStates], n_electrons: float, operator: BlockOperator) -> tuple[float, float] | None:
    occupation = 2 if operator.spin == "none" else 1
    try:
        predicted, reference = (band_gap(part, n_electrons, occupation).gap for part in states)
    except ElectronicError:  # a metal, or a basis without empty bands: there is no gap to compare
        return None
    return reference, predicted


def shell_errors(comparison: CrystalComparison) -> dict[str, Array]:
    """Errors [eV] by where the two orbitals sit and their angular momenta: ``onsite s–p``, ``pair p–p``."""
    letters = "spdf"
    low, high = comparison.shells.min(axis=1), comparison.shells.max(axis=1)
    groups: dict[str, Array] = {}
    for l1 in range(int(high.max()) + 1):
        for l2 in range(l1, int(high.max()) + 1):
            member = (low == l1) & (high == l2)
            for where, mask in (("onsite", comparison.same_atom), ("pair", ~comparison.same_atom)):
                if (member & mask).any():
                    groups[f"{where} {letters[l1]}–{letters[l2]}"] = comparison.errors[member & mask]
    return groups
