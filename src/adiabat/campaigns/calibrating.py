"""Calibrate an uncertain model on labelled structures that training did not see."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from adiabat.campaigns.evaluation import evaluate
from adiabat.campaigns.spread_scoring import held_out_samples
from adiabat.core.errors import LabelError
from adiabat.data.record import Record
from adiabat.uncertainty.calibrated import Calibrated, uncalibrated
from adiabat.uncertainty.calibration import CalibrationMethod
from adiabat.uncertainty.calibration_fit import LEVELS, fit_calibration
from adiabat.uncertainty.interface import UncertainModel


def calibrate(
    model: UncertainModel,
    records: Sequence[Record],
    method: CalibrationMethod = "scaling",
    *,
    floor: bool = False,
    levels: Sequence[float] = LEVELS,
    batch_size: int = 16,
    data: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> Calibrated:
    """The same model, its spreads calibrated for every target that the structures have labels of.

    Args:
        model: a calibration that it has is replaced.
        records: labelled, and neither trained on nor used to choose the model.
        method: ``scaling``, ``conformal`` or ``none``, see :mod:`adiabat.uncertainty.calibration`.
        floor: for ``scaling``, fit an error that no spread accounts for as well.
        levels: for ``conformal``, the coverages wanted.
        batch_size: structures predicted together.
        data: plain JSON that says which structures these are, kept with the calibration.
        console: where to show progress.

    Raises:
        LabelError: no label with a spread, or too few structures for a level.
        ConfigError, ModelError: see ``calibration_fit.fit_calibration``.
    """
    raw = uncalibrated(model)
    found = held_out_samples(evaluate(raw, records, batch_size=batch_size, console=console).arrays)
    if not found:
        raise LabelError(
            f"{len(records)} structures without a label of which {raw.method} gives a spread",
            expected="energies, forces, stress or Hamiltonians that it predicts with a spread",
            suggestion="calibrate on structures with the labels that the model was trained on",
        )
    return Calibrated(raw, fit_calibration(found, method, floor=floor, levels=levels, data=data))
