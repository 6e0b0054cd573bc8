"""How good spreads are, as a table for the terminal."""

from collections.abc import Iterator
from typing import Final

from rich.table import Table

from adiabat.campaigns.spread_scoring import SpreadEvaluation
from adiabat.uncertainty.scores import SpreadScores

TARGET_NAMES: Final = {"energy": "energy", "forces": "forces", "stress": "stress", "hamiltonian": "Hamiltonian"}


def spread_table(uncertainty: SpreadEvaluation) -> Table:
    """One column a target, one row a measure."""
    scores = [(TARGET_NAMES[name], uncertainty.scores[name]) for name in TARGET_NAMES if name in uncertainty.scores]
    title = f"Uncertainty by {uncertainty.method} of {uncertainty.n_members}, {_calibrations(uncertainty)}"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name, part in scores:
        table.add_column(f"{name} [{part.unit}]".replace("[", r"\["), justify="right")
    columns = [dict(_measures(part)) for _, part in scores]
    for measure in dict.fromkeys(measure for column in columns for measure in column):
        table.add_row(measure, *(column.get(measure, "") for column in columns))
    return table


def _calibrations(uncertainty: SpreadEvaluation) -> str:
    """For instance: calibrated by scaling on 50 structures."""
    parts = [uncertainty.calibration[name] for name in uncertainty.scores]
    methods = {part["method"] for part in parts}
    if methods == {"none"}:
        return "not calibrated"
    frames = sorted({str(part["n_frames"]) for part in parts if part["method"] != "none"})
    return f"calibrated by {' and '.join(sorted(methods))} on {' and '.join(frames)} structures"


def _measures(scores: SpreadScores) -> Iterator[tuple[str, str]]:
    yield "root mean square error", f"{scores.rmse:.4g}"
    yield "root mean square σ", f"{scores.sharpness:.4g}"
    for level, share in scores.coverage.items():
        yield f"within the {float(level):.3g} % interval", f"{100 * share:.1f} %"
    yield "miscalibration area, 0 to 0.5", f"{scores.miscalibration_area:.3f}"
    yield "of it overconfidence", f"{scores.overconfidence:+.3f}"
    yield "ENCE", f"{scores.ence:.3f}"
    yield "CRPS", f"{scores.crps:.4g}"
    yield "negative log likelihood", _number(scores.nll)
    yield "rank correlation of |error| and σ", _number(scores.rank_correlation)
    yield "  if errors were N(0, σ²)", _number(scores.rank_correlation_expected)
    if scores.rank_correlation_atoms is not None:
        yield "  per atom", _number(scores.rank_correlation_atoms)
    yield "  per structure", _number(scores.rank_correlation_structures)
    yield "values", str(scores.n_values)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
