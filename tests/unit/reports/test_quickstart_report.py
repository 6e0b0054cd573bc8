"""The page: self-contained, accessible, and true to the results it was made from."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from adiabat.reports import quickstart_report
from adiabat.reports.quickstart_report import quickstart_page, summary_lines, water_coordinates
from page_outline import Outline
from synthetic_quickstart import GAP_ERROR, synthetic_results

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def page() -> str:
    """The page of made-up results, whose method tries to become markup."""
    results = synthetic_results()
    return quickstart_page(dataclasses.replace(results, run={**results.run, "method": HOSTILE}))


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    """Its structure."""
    parser = Outline()
    parser.feed(page)
    return parser


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    assert "default-src 'none'" in page
    assert not re.search(r"https?://", page)
    assert "@import" not in page


def test_headings_never_skip_a_level(outline: Outline) -> None:
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))


def test_identifiers_are_unique_and_every_reference_has_its_target(outline: Outline) -> None:
    assert len(outline.identifiers) == len(set(outline.identifiers))
    assert set(outline.references) <= set(outline.identifiers)


def test_every_picture_has_words(outline: Outline, page: str) -> None:
    figures = [values for tag, values in outline.attributes if tag == "svg"]
    assert len(figures) == 10
    assert all(values["role"] == "img" and values["aria-labelledby"] for values in figures)
    titles = re.findall(r"<title id=[^>]*>([^<]+)</title>", page)
    assert len(titles) == len(figures)
    assert all(re.search(r"\d", title) for title in titles)
    assert next(values for tag, values in outline.attributes if tag == "canvas")["aria-label"]


def test_view_can_be_reached_by_keyboard(outline: Outline) -> None:
    assert next(values for tag, values in outline.attributes if tag == "canvas")["tabindex"] == "0"
    labelled = {values["for"] for tag, values in outline.attributes if tag == "label"}
    assert labelled == {"view-frame", "view-speed"}


def test_figures_take_the_colors_of_the_page(page: str) -> None:
    figures = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert "var(--first)" in figures
    assert not re.search(r"#[0-9a-f]{6}\b", figures)


def test_view_holds_the_trajectory(page: str) -> None:
    results = synthetic_results()
    data = json.loads(re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, flags=re.DOTALL)[0])
    assert data["symbols"] == ["O", "H", "H"]
    assert sorted(data["bonds"]) == [[0, 1], [0, 2]]
    assert len(data["positions"]) == len(data["time"]) == len(results.dynamics.frame_time)
    gap = next(series for series in data["series"] if series["name"] == "Gap")
    np.testing.assert_allclose(gap["values"], results.electronic.gap, atol=1e-4)  # written to 1e-4 eV


def test_numbers_on_the_page_are_those_of_the_results(page: str) -> None:
    lines = summary_lines(synthetic_results())
    assert lines[0].startswith("Energy error: 1.00 meV")
    assert lines[1].startswith("Force error: 10.0 meV/Å")
    assert lines[4].startswith(f"Gap error in motion: {1000 * GAP_ERROR:.1f} meV")
    assert "5 / 10" in page  # SCF cycles from the model and from atoms


def test_text_of_the_run_cannot_become_markup(page: str) -> None:
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page


def test_water_coordinates_are_bonds_and_angle() -> None:
    positions = np.array([[[0.0, 0, 0], [0, 0, 0.9], [0, 1.1, 0]]])
    np.testing.assert_allclose(water_coordinates(positions), [[0.9, 1.1, 90.0]], atol=1e-12)


def test_page_is_written_whole(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickstart_report, "quickstart_page", lambda _results: page)
    quickstart_report.write_report(synthetic_results(), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
    assert page.endswith("</html>\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
