"""The page of an evaluation: errors, and where the model gives them, how good its uncertainties are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adiabat.core.atomic_file import write_atomically
from adiabat.core.units import MICRO_HARTREE
from adiabat.reports import page, spread_words
from adiabat.reports.error_figures import MAX_POINTS, parity_figure
from adiabat.reports.page import KeyNumber, Section
from adiabat.reports.spread_figures import coverage_figure, error_figure, reliability_figure
from adiabat.reports.words import count, number

Array = npt.NDArray[np.float64]

TARGETS: Final = {
    "energy": ("energy", "eV", "meV", 1e-3),
    "forces": ("force", "eV/Å", "meV/Å", 1e-3),
    "stress": ("stress", "eV/Å³", "meV/Å³", 1e-3),
    "hamiltonian": ("matrix element", "eV", "µHa", MICRO_HARTREE),
}
"""For each target what one value is called, its unit, the unit of its errors, and that unit in eV and Å."""

_TITLES: Final = {"energy": "Energy", "forces": "Forces", "stress": "Stress", "hamiltonian": "Hamiltonian"}

_READING: Final = (
    "Reliability: the share of errors within the central interval of a normal distribution, for every share that it "
    "should hold. Error against σ: each value by itself; squares are bins of equal count and should lie on the dashed "
    "line. Coverage: intervals as the calibration gives them."
)


def write_evaluation_page(metrics: Mapping[str, Any], arrays: Mapping[str, Array], path: Path) -> None:
    """Write the page, in one piece and only when it is complete."""
    write_atomically(path, evaluation_page(metrics, arrays).encode())


def evaluation_page(metrics: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    """HTML of the whole page.

    Args:
        metrics: ``metrics.json`` of an evaluation.
        arrays: its ``arrays.npz`` [eV, Å].
    """
    sections = [Section("errors", "Errors", _errors(metrics, arrays))]
    uncertainty = metrics.get("uncertainty")
    if uncertainty and uncertainty["scores"]:
        sections.append(Section("uncertainty", "Uncertainty", _uncertainty(uncertainty, arrays)))
    sections.append(Section("origin", "Where this comes from", _origin(metrics)))
    lead = f"{count(metrics['n_structures'])} labelled structures were predicted and compared. Errors are predicted − "
    introduction = page.paragraph(f"{lead}reference.", "lead") + page.key_numbers(_key_numbers(metrics))
    closing = page.paragraph("Made by adiabat from the results of `adiabat evaluate`.")
    return page.document("Evaluation of a model", introduction, sections, closing)


def _key_numbers(metrics: Mapping[str, Any]) -> list[KeyNumber]:
    errors = metrics["errors"]
    names = {"energy_per_atom": "Energy error", "forces": "Force error", "hamiltonian": "Hamiltonian error"}
    found = [
        KeyNumber(title, number(errors[name]["mae"]), errors[name]["unit"], "mean absolute")
        for name, title in names.items()
        if name in errors
    ]
    uncertainty = metrics.get("uncertainty") or {"scores": {}}
    for name, scores in uncertainty["scores"].items():
        share = scores["coverage"].get("68.27")
        if share is not None:
            title = f"{_TITLES[name]} within one σ"
            found.append(KeyNumber(title, f"{100 * share:.0f}", "%", "68 % if σ is right"))
    return found


def _errors(metrics: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    figures: list[str] = []
    for target, (quantity, unit, error_unit, factor) in TARGETS.items():
        if f"{target}_reference" in arrays:
            reference, predicted = (np.ravel(arrays[f"{target}_{side}"]) for side in ("reference", "predicted"))
            lowest = reference.min() if target == "energy" else 0.0
            svg = parity_figure(
                f"parity-{target}", reference - lowest, predicted - lowest,
                quantity=quantity, unit=unit, error_unit=error_unit, error_scale=1 / factor, source="reference",
            )  # fmt: skip
            above = ", above the lowest" if target == "energy" else ""
            caption = f"{count(len(reference))} values{above}{_drawn(len(reference))}."
            figures.append(page.figure(svg, f"{_TITLES[target]}.", caption))
    rows = [
        (
            name.replace("_", " "),
            error["unit"],
            *(number(error[key]) for key in ("mae", "rmse", "mean", "largest")),
            count(error["count"]),
        )
        for name, error in metrics["errors"].items()
    ]
    columns = ("", "unit", "mean absolute", "root mean square", "mean", "largest", "values")
    return page.panels(figures) + page.table("All errors.", columns, rows)


def _drawn(n_values: int) -> str:
    return f", {count(MAX_POINTS)} of them drawn" if n_values > MAX_POINTS else ""


def _uncertainty(uncertainty: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    parts = [page.paragraph(spread_words.method_sentence(uncertainty)), page.paragraph(_READING, "note")]
    for target, scores in uncertainty["scores"].items():
        parts.append(f"<h3>{_TITLES[target]}</h3>")
        parts.append(page.paragraph(spread_words.size_sentence(target, scores)))
        parts.append(page.paragraph(spread_words.order_sentence(scores)))
        parts.append(page.panels(_figures(target, scores, arrays)))
    parts.append(_score_table(uncertainty))
    if uncertainty["cost"]:
        rows = [(kind, f"{ratio:.2f}") for kind, ratio in uncertainty["cost"].items()]
        parts.append(page.table("Time with uncertainty over time of the central model alone.", ("", "times"), rows))
    return "".join(parts)


def _figures(target: str, scores: Mapping[str, Any], arrays: Mapping[str, Array]) -> list[str]:
    quantity, _, unit, factor = TARGETS[target]
    sigmas = np.ravel(arrays[f"{target}_spread"]) / factor
    errors = np.ravel(arrays[f"{target}_predicted"] - arrays[f"{target}_reference"]) / factor
    bins = arrays[f"{target}_bins_spread"] / factor, arrays[f"{target}_bins_error"] / factor
    levels, observed = arrays["reliability_levels"], arrays[f"{target}_reliability"]
    area = f"Area to the diagonal {number(scores['miscalibration_area'], 2)}."
    return [
        page.figure(
            reliability_figure(f"reliability-{target}", levels, observed, quantity=quantity), "Reliability.", area
        ),
        page.figure(
            error_figure(f"spread-{target}", sigmas, errors, bins, quantity=quantity, unit=unit),
            "Error against σ.",
            f"{count(len(errors))} values{_drawn(len(errors))}.",
        ),
        page.figure(
            coverage_figure(f"coverage-{target}", scores["coverage"], quantity=quantity),
            "Coverage.",
            "Share of errors within each interval.",
        ),
    ]


_MEASURES: Final = {
    "rmse": "root mean square error",
    "sharpness": "root mean square σ",
    "crps": "continuous ranked probability score",
    "nll": "negative log likelihood",
    "miscalibration_area": "miscalibration area (0 to 0.5)",
    "overconfidence": "of it overconfidence",
    "ence": "expected normalized calibration error",
    "rank_correlation": "rank correlation of |error| and σ",
    "rank_correlation_expected": "the same of normal errors with these σ",
    "rank_correlation_atoms": "the same by atom",
    "rank_correlation_structures": "the same by structure",
}


def _score_table(uncertainty: Mapping[str, Any]) -> str:
    scores = uncertainty["scores"]
    columns = ("", *(f"{_TITLES[name]} [{part['unit']}]" for name, part in scores.items()))
    rows = [
        (title, *("–" if part[key] is None else number(part[key]) for part in scores.values()))
        for key, title in _MEASURES.items()
    ]
    return page.table("Measures; those with a unit are in that of the column.", columns, rows)


def _origin(metrics: Mapping[str, Any]) -> str:
    rows = [(name, f"{1e3 * seconds:.3g}") for name, seconds in metrics["seconds"].items()]
    times = page.table("Time a structure.", ("", "ms"), rows)
    return times + page.preformatted(json.dumps(metrics["provenance"], indent=2, ensure_ascii=False))
