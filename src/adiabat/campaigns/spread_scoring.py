"""The spreads of an evaluation as samples, to judge them by or to calibrate them with, and what was found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adiabat.campaigns.error_statistics import UNITS
from adiabat.uncertainty import metrics
from adiabat.uncertainty.calibration import TARGETS, Calibration, Target
from adiabat.uncertainty.calibration_fit import HeldOut
from adiabat.uncertainty.scores import SpreadScores, score_spreads

LEVELS: Final = np.arange(1, 100) / 100
"""Where reliability curves are saved."""

_NOTHING: Final = 1e-6
"""Values and spreads that are both this small beside the others are zero by symmetry, and say nothing of spreads."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SpreadEvaluation:
    """How good the spreads of an uncertain model are.

    Attributes:
        method: how it finds them.
        n_members: models that they stand for.
        calibration: that they were given, as plain JSON.
        scores: by target. Of Hamiltonians, the elements of ``arrays.npz``.
        cost: by kind of prediction, time with spreads over time of the central model alone, median over batches.
    """

    method: str
    n_members: int
    calibration: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, SpreadScores] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return {
            "method": self.method,
            "n_members": self.n_members,
            "calibration": dict(self.calibration),
            "scores": {name: scores.to_json() for name, scores in self.scores.items()},
            "cost": dict(self.cost),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SpreadEvaluation":
        """Inverse of :meth:`to_json`."""
        scores = {name: SpreadScores.from_json(values) for name, values in data["scores"].items()}
        return cls(data["method"], data["n_members"], data["calibration"], scores, data["cost"])


def held_out_samples(arrays: Mapping[str, Array]) -> dict[str, HeldOut]:
    """Errors and spreads of each target that an evaluation has spreads of.

    Left out are matrix elements without a spread, which lie beyond the model's pairs, and what is zero by symmetry.

    Args:
        arrays: of an evaluation [eV, Å].
    """
    return {target: sample for target in TARGETS if (sample := _sample(arrays, target)) is not None}


def _sample(arrays: Mapping[str, Array], target: Target) -> HeldOut | None:
    spreads = arrays.get(f"{target}_spread")
    if spreads is None:
        return None
    spreads = np.asarray(spreads, dtype=np.float64).ravel()
    errors = np.ravel(arrays[f"{target}_predicted"] - arrays[f"{target}_reference"])
    rows = arrays[f"{target}_structure"]
    each = len(errors) // max(len(rows), 1)
    nothing = (spreads <= _NOTHING * _size(spreads)) & (np.abs(errors) <= _NOTHING * _size(errors))
    if target == "hamiltonian":
        nothing |= spreads == 0
    kept = ~nothing
    return HeldOut(
        errors[kept],
        spreads[kept],
        np.repeat(rows, each)[kept],
        n_atoms=arrays["energy_n_atoms"][kept].astype(np.float64) if target == "energy" else 1.0,
        atom=np.repeat(np.arange(len(rows)), each)[kept] if target == "forces" else None,
    )


def _size(values: Array) -> float:
    return float(np.sqrt(np.square(values).mean())) if len(values) else 0.0


def scored(samples: Mapping[str, HeldOut], calibration: Calibration) -> dict[str, SpreadScores]:
    """Scores of each target, in the unit in which its errors are quoted; intervals are the calibration's."""
    found: dict[str, SpreadScores] = {}
    for target in TARGETS:
        sample = samples.get(target)
        if sample is not None and len(sample.errors):
            unit, factor = UNITS[target]
            found[target] = score_spreads(
                sample.errors / factor,
                sample.spreads / factor,
                sample.structure,
                unit=unit,
                half_widths=_half_widths(calibration, target),
                atom=sample.atom,
                n_atoms=sample.n_atoms if isinstance(sample.n_atoms, np.ndarray) else None,
            )
    return found


def _half_widths(calibration: Calibration, target: Target) -> dict[float, float]:
    """Of the levels that are quoted, those that the calibration has an interval for."""
    part = calibration.of(target)
    known = dict(part.factors) if part.method == "conformal" else metrics.COVERAGES
    return {level: part.half_width(level) for level in metrics.COVERAGES if level in known}


def curves(samples: Mapping[str, HeldOut]) -> dict[str, Array]:
    """Reliability curves and binned calibrations as arrays, for figures."""
    arrays: dict[str, Array] = {}
    for target, sample in samples.items():
        if len(sample.errors):
            arrays["reliability_levels"] = LEVELS
            arrays[f"{target}_reliability"] = metrics.reliability_curve(sample.errors, sample.spreads, LEVELS)
            said, met = metrics.binned_calibration(sample.errors, sample.spreads, n_bins=15)
            arrays[f"{target}_bins_spread"], arrays[f"{target}_bins_error"] = said, met
    return arrays
