"""Errors and arrays of an evaluation, collected structure by structure and summed up at the end."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adiabat.campaigns.crystal_errors import CrystalComparison
from adiabat.campaigns.crystal_errors import shell_errors as crystal_shell_errors
from adiabat.campaigns.density_check import DensityCheck
from adiabat.campaigns.error_statistics import ErrorStatistics, ErrorSums
from adiabat.campaigns.evaluation_result import Evaluation
from adiabat.campaigns.hamiltonian_errors import HamiltonianComparison, shell_pair_errors
from adiabat.campaigns.predictions import SurfacePrediction
from adiabat.campaigns.spread_scoring import SpreadEvaluation, curves, held_out_samples, scored
from adiabat.data.record import Record
from adiabat.uncertainty.calibration import Calibration

ELEMENTS_PER_STRUCTURE: Final = 2000
"""Matrix elements of one molecule that are kept for parity plots, drawn at random if there are more."""

_NO_GROUP: Final = "(none)"

Array = npt.NDArray[Any]


class ErrorCollector:
    """Takes predictions one by one; keeps sums of all errors and the arrays that figures need.

    Args:
        group_key: key of ``structure.info`` by which errors are also given apart.
        spreads: of an uncertain model its method and members, with nothing scored yet.
    """

    def __init__(self, group_key: str, spreads: SpreadEvaluation | None = None) -> None:
        self._group_key = group_key
        self._spreads = spreads
        self._group: dict[int, str | None] = {}
        self._sums: defaultdict[str, dict[int, ErrorSums]] = defaultdict(dict)
        self._element_sums: defaultdict[str, list[ErrorSums]] = defaultdict(list)
        self._shell_sums: defaultdict[str, list[ErrorSums]] = defaultdict(list)
        self._similarity: defaultdict[str, list[Array]] = defaultdict(list)
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)
        self._cost: defaultdict[str, list[float]] = defaultdict(list)
        self._arrays: defaultdict[str, list[Array]] = defaultdict(list)
        self._smallest_overlap = np.inf
        self._random = np.random.default_rng(0)

    def add_surface(self, record: Record, prediction: SurfacePrediction) -> None:
        """Take energy, forces and stress of one structure, as far as it has labels."""
        index, n_atoms = prediction.index, record.structure.n_atoms
        self._note_group(index, record)
        self._note_time("energy and derivatives", prediction.seconds, prediction.central_seconds)
        if "energy" in record.labels:
            self._add_spread("energy", prediction.energy_spread)
            error = self._pair("energy", index, record.labels["energy"], prediction.energy)
            self._sums["energy"][index] = ErrorSums.of(error)
            self._sums["energy_per_atom"][index] = ErrorSums.of(error / n_atoms)
            self._arrays["energy_n_atoms"].append(np.array([n_atoms]))
        if prediction.forces is not None:
            self._add_spread("forces", prediction.forces_spread)
            error = self._pair("forces", index, record.labels["forces"], prediction.forces)
            self._sums["forces"][index] = ErrorSums.of(error)
            self._arrays["forces_atomic_numbers"].append(record.structure.atomic_numbers)
            symbols = np.array(record.structure.symbols)
            for symbol in np.unique(symbols):
                self._element_sums[str(symbol)].append(ErrorSums.of(error[symbols == symbol]))
        if prediction.stress is not None:
            self._add_spread("stress", prediction.stress_spread)
            error = self._pair("stress", index, record.labels["stress"], prediction.stress)
            self._sums["stress"][index] = ErrorSums.of(error)

    def add_hamiltonian(self, index: int, record: Record, comparison: HamiltonianComparison) -> None:
        """Take the Hamiltonian of one molecule and what follows from it."""
        self._note_group(index, record)
        self._note_time("ΔH", comparison.seconds, comparison.central_seconds)
        same_atom = comparison.same_atom
        for name, errors in {
            "hamiltonian": comparison.errors,
            "hamiltonian_onsite": comparison.errors[same_atom],
            "hamiltonian_pair": comparison.errors[~same_atom],
            "hamiltonian_h0": comparison.h0_errors,
        }.items():
            if errors.size:
                self._sums[name][index] = ErrorSums.of(errors)
        for name, errors in shell_pair_errors(comparison).items():
            self._shell_sums[name].append(ErrorSums.of(errors))
        self._similarity["orbital_similarity"].append(comparison.orbital_similarity)
        self._similarity["coefficient_cosine"].append(comparison.coefficient_cosine)
        self._smallest_overlap = min(self._smallest_overlap, float(comparison.reference.orbitals.smallest_overlap))
        reference = comparison.reference.hamiltonian.to_dense().ravel()
        spreads = None if comparison.spreads is None else comparison.spreads.ravel()
        self._add_elements(index, reference, comparison.errors.ravel(), same_atom.ravel(), spreads)
        self._add_orbitals(index, comparison)

    def add_crystal(self, index: int, record: Record, comparison: CrystalComparison) -> None:
        """Take the Hamiltonian of one crystal and its bands."""
        self._note_group(index, record)
        self._note_time("H", comparison.seconds, comparison.central_seconds)
        same_atom = comparison.same_atom
        bands = comparison.energies_predicted - comparison.energies_reference
        for name, errors in {
            "hamiltonian": comparison.errors,
            "hamiltonian_onsite": comparison.errors[same_atom],
            "hamiltonian_pair": comparison.errors[~same_atom],
            "hamiltonian_shifted": comparison.errors_without_shift,
            "bands": bands,
            "bands_shifted": bands - comparison.band_shift,
            "fermi_level": np.array([comparison.fermi_level_error]),
        }.items():
            if errors.size:
                self._sums[name][index] = ErrorSums.of(errors)
        for name, errors in crystal_shell_errors(comparison).items():
            self._shell_sums[name].append(ErrorSums.of(errors))
        self._smallest_overlap = min(self._smallest_overlap, comparison.smallest_overlap)
        self._add_elements(index, comparison.reference_elements, comparison.errors, same_atom, comparison.spreads)
        self._arrays["bands_structure"].append(np.full(len(bands), index))
        self._arrays["bands_reference"].append(comparison.energies_reference)
        self._arrays["bands_predicted"].append(comparison.energies_predicted)
        if comparison.gap is not None:
            self._sums["gap"][index] = ErrorSums.of(self._pair("gap", index, *comparison.gap))

    def evaluation(
        self, checks: Sequence[DensityCheck], provenance: Mapping[str, Any], calibration: Calibration | None = None
    ) -> Evaluation:
        """Sum up; spreads are judged by the intervals of their calibration."""
        for check in checks:
            self._sums["density_energy"][check.index] = ErrorSums.of(np.array([check.energy_error]))
        everything = set(self._group)
        groups: defaultdict[str, set[int]] = defaultdict(set)
        if any(name is not None for name in self._group.values()):
            for index, name in self._group.items():
                groups[_NO_GROUP if name is None else name].add(index)
        arrays = {name: np.concatenate(parts) for name, parts in self._arrays.items()}
        spreads = self._spreads
        if spreads is not None:
            samples = held_out_samples(arrays)
            calibration = calibration or Calibration()
            spreads = replace(
                spreads,
                calibration=calibration.to_json(),
                scores=scored(samples, calibration),
                cost={kind: float(np.median(ratios)) for kind, ratios in self._cost.items()},
            )
            arrays |= curves(samples)
        return Evaluation(
            n_structures=len(everything),
            errors=self._statistics(everything),
            forces_by_element={
                symbol: ErrorStatistics.of("forces", sums) for symbol, sums in sorted(self._element_sums.items())
            },
            groups={name: self._statistics(members) for name, members in sorted(groups.items())},
            hamiltonian_by_shells={
                name: ErrorStatistics.of("hamiltonian", sums) for name, sums in sorted(self._shell_sums.items())
            },
            similarity={name: float(np.concatenate(parts).mean()) for name, parts in self._similarity.items()},
            smallest_overlap=None if np.isinf(self._smallest_overlap) else self._smallest_overlap,
            density_checks=list(checks),
            seconds={name: float(np.mean(values)) for name, values in self._seconds.items()},
            uncertainty=spreads,
            provenance=provenance,
            arrays=arrays,
        )

    def _statistics(self, members: set[int]) -> dict[str, ErrorStatistics]:
        statistics: dict[str, ErrorStatistics] = {}
        for name, by_structure in self._sums.items():
            sums = [part for index, part in by_structure.items() if index in members]
            if sums:
                # Molecules of any size count alike in the Hamiltonian's error, as in the published ones.
                matrix = name.startswith("hamiltonian")
                statistics[name] = (ErrorStatistics.over_structures if matrix else ErrorStatistics.of)(name, sums)
        return statistics

    def _note_group(self, index: int, record: Record) -> None:
        value = record.structure.info.get(self._group_key)
        self._group[index] = None if value is None else str(value)

    def _pair(self, name: str, index: int, reference: Any, predicted: Any) -> npt.NDArray[np.float64]:
        """Keep one structure's values, at least one row of them; returns predicted − reference."""
        reference, predicted = np.asarray(reference, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
        rows = reference if name == "forces" else reference[None]
        self._arrays[f"{name}_structure"].append(np.full(len(rows), index))
        self._arrays[f"{name}_reference"].append(rows)
        self._arrays[f"{name}_predicted"].append(predicted if name == "forces" else predicted[None])
        return predicted - reference

    def _note_time(self, kind: str, seconds: float, central_seconds: float | None) -> None:
        self._seconds[kind].append(seconds)
        if central_seconds is not None:
            self._cost[kind].append(seconds / central_seconds)

    def _add_spread(self, name: str, spread: Array | float | None) -> None:
        if spread is not None:
            rows = np.asarray(spread, dtype=np.float64)
            self._arrays[f"{name}_spread"].append(rows if name == "forces" else rows[None])

    def _add_elements(
        self, index: int, reference: Array, errors: Array, same_atom: Array, spreads: Array | None
    ) -> None:
        """Keep some elements for parity plots."""
        chosen = np.arange(reference.size)
        if reference.size > ELEMENTS_PER_STRUCTURE:
            chosen = np.sort(self._random.choice(reference.size, ELEMENTS_PER_STRUCTURE, replace=False))
        self._arrays["hamiltonian_structure"].append(np.full(len(chosen), index))
        self._arrays["hamiltonian_reference"].append(reference[chosen])
        self._arrays["hamiltonian_predicted"].append(reference[chosen] + errors[chosen])
        self._arrays["hamiltonian_same_atom"].append(same_atom[chosen])
        if spreads is not None:
            self._arrays["hamiltonian_spread"].append(spreads[chosen])

    def _add_orbitals(self, index: int, comparison: HamiltonianComparison) -> None:
        ours, theirs = comparison.predicted.orbitals, comparison.reference.orbitals
        predicted, reference = ours.energies.numpy(), theirs.energies.numpy()
        occupied = theirs.occupations.numpy() > 0
        # Combinations dropped as linearly dependent have no energy; both share one overlap and drop the same.
        finite = np.isfinite(reference)
        errors = predicted[finite] - reference[finite]
        self._sums["orbital_energies"][index] = ErrorSums.of(errors)
        self._sums["orbital_energies_occupied"][index] = ErrorSums.of(errors[occupied[finite]])
        self._arrays["orbital_energies_structure"].append(np.full(len(errors), index))
        self._arrays["orbital_energies_reference"].append(reference[finite])
        self._arrays["orbital_energies_predicted"].append(predicted[finite])
        self._arrays["orbital_energies_occupied"].append(occupied[finite])
        for name in ("homo", "lumo", "gap"):
            values = np.array([getattr(theirs, name), getattr(ours, name)])
            if np.isfinite(values).all():
                self._sums[name][index] = ErrorSums.of(self._pair(name, index, *values))
