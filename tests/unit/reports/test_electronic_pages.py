"""Figures and pages of bands and densities: complete, self-contained, and readable without color."""

import io
import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from adiabat.data.band_structure import BandComparison, BandEdges, BandStructure, ReferenceBands
from adiabat.data.dos_result import DensityOfStates
from adiabat.reports.band_figures import band_figure
from adiabat.reports.curve_view import Axis, Series, curve_view
from adiabat.reports.dos_figures import dos_curves, dos_figure
from adiabat.reports.electronic_pages import bands_page, dos_page
from adiabat.reports.electronic_style import png, svg
from adiabat.reports.electronic_words import gap_sentence

DISTANCES = np.array([*np.linspace(0, 1, 21), *np.linspace(1, 1.5, 11)])


def bands(n_channels: int = 1, **changes: object) -> BandStructure:
    """An insulator of two bands on a path that jumps."""
    wave = np.cos(2 * np.pi * DISTANCES)
    energies = np.stack([-2 + 0.5 * wave, 1.5 - 0.4 * wave], axis=-1)[None] + 0.3 * np.arange(n_channels)[:, None, None]
    edges = BandEdges(
        2.3, 2.6, False, -1.5, 1.1, np.zeros(3), np.array([0.5, 0.25, 0.0]), np.zeros(3), (0, n_channels - 1)
    )
    result = BandStructure(
        k_frac=np.stack([DISTANCES, 0 * DISTANCES, 0 * DISTANCES], axis=1),
        distances=DISTANCES,
        branches=((0, 21), (21, 32)),
        tick_positions=np.array([0.0, 1.0, 1.5]),
        tick_labels=("Γ", "U|K", "X1"),
        energies=energies,
        spin="none" if n_channels == 1 else "collinear",
        smallest_overlap=np.full(32, 0.07),
        n_dropped=np.zeros(32, dtype=np.int64),
        cell=np.eye(3),
        periodic=np.ones(3, dtype=bool),
        n_electrons=8.0,
        fermi_level=-0.2,
        edges=edges,
        metadata={"formula": "BN", "method": "PBE", "mesh": [6, 6, 1], "source": "a <b> & c.lmdb"},
    )
    return replace(result, **changes)  # type: ignore[arg-type]


def density(n_channels: int = 1, n_groups: int = 2) -> DensityOfStates:
    grid = np.linspace(-6, 6, 241)
    total = np.exp(-((grid[None] + np.array([[2.0], [1.5]])[:n_channels]) ** 2)) + 0.1
    groups = {f"G{k}": total * 2.0**-k / 2 for k in range(n_groups)}
    return DensityOfStates(
        grid, total, "none" if n_channels == 1 else "collinear", "gaussian", 0.1, groups, 8.0, -0.2, bands().edges
    )


def texts(figure) -> list[str]:
    """All texts of an SVG, whose letters must be letters and no outlines."""
    root = ElementTree.fromstring(svg(figure))
    return ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_labels_units_and_zero_are_text_in_the_figure() -> None:
    found = texts(band_figure(bands()))
    assert {"Γ", "U|K", "X₁"} <= set(found)
    # Formulas are set letter by letter: E − E_VBM [eV].
    assert any(sorted("E−E[eV]VBM") == sorted("".join(text.split())) for text in found)
    metal = texts(band_figure(bands(edges=None)))
    assert any(sorted("E−E[eV]F") == sorted("".join(text.split())) for text in metal)
    assert "energy [eV]" in texts(band_figure(bands(edges=None, fermi_level=None)))


def test_a_png_is_white_and_has_print_resolution() -> None:
    picture = Image.open(io.BytesIO(png(band_figure(bands(), dos=density()))))
    assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert picture.convert("RGBA").getpixel((2, picture.height - 3)) == (255, 255, 255, 255)
    assert 1400 < picture.width < 1700  # one and a half columns of a journal


def test_lines_stop_where_the_path_jumps() -> None:
    axes = band_figure(bands()).axes[0]
    lengths = sorted(len(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) > 2)
    assert lengths == [11, 11, 21, 21]


def test_spin_fat_bands_and_reference_differ_in_more_than_color() -> None:
    share = np.random.default_rng(0).random((2, 32, 2))
    compared = BandComparison(0.31, 0.01, 0.3, 0.02, (-5.0, 5.0), 64)
    reference = ReferenceBands(DISTANCES, bands(2).energies + 0.3, "DFT", 0.1, compared)
    figure = band_figure(bands(2, weights={"B p": share, "N p": 1 - share}, reference=reference))
    axes = figure.axes[0]
    styles = {line.get_linestyle() for line in axes.lines if line.get_label().startswith("PBE")}
    assert len(styles) == 2
    markers = [line.get_marker() for line in axes.lines if line.get_marker() not in ("None", None)]
    assert set(markers) == {"x"}
    filled = {bool(len(marks.get_facecolor())) for marks in axes.collections}
    assert filled == {True, False}
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["PBE ↑", "PBE ↓", "B p", "N p", "DFT (shifted by −300 meV)"]
    # The reference is drawn where it lies after the shift: on the bands.
    drawn = next(line for line in axes.lines if line.get_marker() == "x")
    assert np.abs(drawn.get_ydata()[:, None] - (bands(2).energies[0] + 1.5).ravel()[None]).min(axis=1).max() < 1e-9


def test_small_groups_of_a_density_become_others() -> None:
    many = density(n_groups=9)
    curves = dos_curves(many, np.ones(241, dtype=bool))
    assert [name for name, _, _ in curves] == ["total", "G0", "G1", "G2", "6 others"]
    rest = sum(values for name, values in many.projections.items() if name not in ("G0", "G1", "G2"))
    np.testing.assert_allclose(curves[-1][1], rest)
    styles = [(str(look["linestyle"]), look["linewidth"]) for _, _, look in curves]
    assert len(set(styles)) == len(styles)


def test_spin_down_points_down() -> None:
    figure = dos_figure(density(2), reference=density(2))
    lows, highs = figure.axes[0].get_ylim()
    assert lows == -highs
    assert {"spin ↑", "spin ↓"} <= {text.get_text() for text in figure.axes[0].texts}


def payload(html: str, name: str) -> dict:
    return json.loads(re.search(rf'id="{name}-data">(.*?)</script>', html, re.S).group(1))  # type: ignore[union-attr]


@pytest.mark.parametrize("page", [bands_page(bands(weights={"N": np.full((1, 32, 2), 0.5)})), dos_page(density(2))])
def test_a_page_asks_the_network_for_nothing(page: str) -> None:
    assert "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!#)", page)
    assert not re.findall(r"url\((?!#)|@import|fetch\(|XMLHttpRequest|import\(", page)
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # the name of SVG, which nothing fetches


def test_the_plot_of_bands_has_its_data_and_its_keys() -> None:
    page = bands_page(bands(2))
    data = payload(page, "band-view")
    assert [series["name"] for series in data["series"]] == ["spin ↑", "spin ↓"]
    assert data["series"][0]["dash"] != data["series"][1]["dash"]
    assert data["x"]["ticks"] == [[0.0, "Γ"], [1.0, "U|K"], [1.5, "X1"]]
    assert data["x"]["names"][0] == "Γ (0.000, 0.000, 0.000)"
    assert data["x"]["names"][5].startswith("Γ–U (0.250")
    assert data["x"]["names"][25].startswith("K–X1")
    assert data["series"][0]["breaks"] == [0, 21]
    assert data["series"][0]["y"][0][0] == pytest.approx(-1.5 + 1.5)
    assert 'tabindex="0"' in page
    assert 'aria-live="polite"' in page
    for word in ("<noscript>", "Shift", "a &lt;b&gt; &amp; c.lmdb"):
        assert word in page


def test_dropped_states_and_bands_far_away_are_left_out_of_the_page() -> None:
    energies = np.concatenate([np.full((1, 32, 1), -200.0), bands().energies, np.full((1, 32, 1), np.inf)], axis=-1)
    data = payload(bands_page(bands(energies=energies)), "band-view")
    assert data["series"][0]["names"] == ["band 2", "band 3"]


def test_a_page_without_an_electron_count_claims_no_gap() -> None:
    unknown = bands(edges=None, fermi_level=None, n_electrons=None)
    assert "not known" in gap_sentence(unknown)
    assert "insulator" not in bands_page(unknown)
    assert "A metal" in gap_sentence(bands(edges=None)) or "a metal" in gap_sentence(bands(edges=None))


def test_text_of_a_user_cannot_leave_the_data() -> None:
    name = "</script><script>alert(1)</script>"
    series = Series(name, np.zeros(2), np.zeros((1, 2)))
    view = curve_view("v", Axis("", (0, 1)), Axis("", (0, 1)), [series], description=name, fallback="")
    assert "<script>alert" not in view
    assert payload(view, "v")["series"][0]["name"] == name
