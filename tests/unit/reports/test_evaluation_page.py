"""The page of an evaluation, from results as they are saved; and the sentences that judge uncertainties."""

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from adiabat.reports import spread_words
from adiabat.reports.evaluation_page import evaluation_page
from adiabat.reports.spread_figures import coverage_figure, error_figure, reliability_figure
from page_outline import Outline


def scores(coverage: float = 0.68, rank: float | None = 0.4, expected: float | None = 0.6, n: int = 400) -> Any:
    return {
        "n_values": 9 * n, "n_structures": n, "unit": "meV/Å", "rmse": 10.0, "sharpness": 9.0, "crps": 5.0, "nll": None,
        "coverage": {"50": 0.4, "68.27": coverage, "95": 0.9}, "miscalibration_area": 0.07, "overconfidence": 0.07,
        "ence": 0.3, "rank_correlation": rank, "rank_correlation_expected": expected,
        "rank_correlation_atoms": 0.5, "rank_correlation_structures": 0.6,
    }  # fmt: skip


def results(*, uncertain: bool = True) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    sigma = random.lognormal(-4, 0.5, (40, 3))
    reference = random.normal(size=(40, 3))
    arrays = {"forces_reference": reference, "forces_predicted": reference + sigma * random.normal(size=(40, 3))}
    error = {"mae": 7.0, "rmse": 9.0, "mean": 0.1, "largest": 40.0, "count": 120, "unit": "meV/Å"}
    metrics: dict[str, Any] = {
        "n_structures": 8, "errors": {"forces": error}, "uncertainty": None,
        "seconds": {"energy and derivatives": 0.01}, "provenance": {"data": {"file": "<x>.lmdb"}},
    }  # fmt: skip
    if uncertain:
        arrays |= {
            "forces_spread": sigma, "reliability_levels": np.arange(1, 100) / 100,
            "forces_reliability": np.arange(1, 100) / 120, "forces_bins_spread": np.array([0.01, 0.03]),
            "forces_bins_error": np.array([0.012, 0.02]),
        }  # fmt: skip
        calibration = {"forces": {"method": "scaling", "scale": 1.7, "floor": 0.0, "n_frames": 50}}
        metrics["uncertainty"] = {
            "method": "ensemble", "n_members": 4, "calibration": calibration, "scores": {"forces": scores()},
            "cost": {"energy and derivatives": 4.1},
        }  # fmt: skip
    return metrics, arrays


def check_outline(html: str) -> None:
    """Headings skip no level, identifiers are unique, and what is referred to is there."""
    outline = Outline()
    outline.feed(html)
    assert outline.headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(outline.headings))
    assert len(outline.identifiers) == len(set(outline.identifiers))
    assert set(outline.references) <= set(outline.identifiers)


def test_the_page_shows_errors_and_uncertainty_and_is_sound() -> None:
    html = evaluation_page(*results())
    check_outline(html)
    for words in ("ensemble", "by scaling on 50 structures, with a factor of 1.70", "4.10", "68 %", "&lt;x&gt;.lmdb"):
        assert words in html
    assert html.count("<svg") == 4  # parity, reliability, error against σ, coverage
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", html)
    assert "https://" not in html


def test_figures_take_the_colors_of_the_page() -> None:
    figures = "".join(re.findall(r"<svg.*?</svg>", evaluation_page(*results()), flags=re.DOTALL))
    assert "var(--second)" in figures
    assert not re.search(r"#[0-9a-f]{6}\b", figures)


def test_a_plain_models_page_says_nothing_of_uncertainty() -> None:
    html = evaluation_page(*results(uncertain=False))
    check_outline(html)
    assert "Uncertainty" not in html
    assert html.count("<svg") == 1


@pytest.mark.parametrize(
    ("coverage", "n", "verdict"),
    [
        (0.69, 400, "as near as"),
        (0.50, 400, "too small"),
        (0.85, 400, "too large"),
        (0.60, 20, "as near as"),  # 20 structures know a share to 10 %
        (0.40, 20, "too small"),
    ],
)
def test_the_size_of_sigma_is_judged_by_what_the_structures_can_tell(coverage: float, n: int, verdict: str) -> None:
    assert verdict in spread_words.size_sentence("forces", scores(coverage, n=n))


@pytest.mark.parametrize(
    ("rank", "expected", "verdict"),
    [
        (0.58, 0.6, "as well as it could"),
        (0.4, 0.6, "in part"),
        (0.1, 0.6, "mostly elsewhere"),
        (0.6, 0.3, "more from place to place"),
        (None, 0.6, "no order"),
    ],
)
def test_the_order_of_sigma_is_judged_by_that_of_normal_errors(
    rank: float | None, expected: float, verdict: str
) -> None:
    assert verdict in spread_words.order_sentence(scores(rank=rank, expected=expected))


def test_spreads_as_they_come_are_called_so() -> None:
    uncertainty = {"method": "last-layer", "n_members": 16, "calibration": {}, "scores": {"energy": {}}}
    assert "not calibrated" in spread_words.method_sentence(uncertainty)
    assert "posterior of the last layer" in spread_words.method_sentence(uncertainty)


def test_figures_say_in_words_what_they_show() -> None:
    levels = np.arange(1, 100) / 100
    assert "area of 0.000" in reliability_figure("a", levels, levels, quantity="force")
    # Everything found inside: the area above the diagonal is one half, less the first step's corner.
    assert "area of 0.49" in reliability_figure("b", levels, np.ones(99), quantity="force")
    svg = coverage_figure("c", {"50": 0.31, "95": 0.8}, quantity="energy")
    assert "31 of 50 %, 80 of 95 %" in svg
    random = np.random.default_rng(1)
    sigma = random.lognormal(0, 1, 4000)
    bins = np.array([0.5, 2.0]), np.array([0.5, 2.0])
    share = re.search(r"(\d+)% of those", error_figure("d", sigma, sigma * random.normal(size=4000), bins,
                                                       quantity="force", unit="meV/Å"))  # fmt: skip
    assert share is not None
    assert int(share[1]) == pytest.approx(90, abs=3)


def test_a_single_value_and_a_zero_spread_can_be_drawn() -> None:
    bins = np.array([0.0, 0.2]), np.array([0.1, 0.3])
    svg = error_figure("e", np.array([0.0, 0.2]), np.array([0.1, 0.3]), bins, quantity="energy", unit="meV")
    assert svg.startswith("<svg")
