"""A plot that answers: curves with a readout, zoom and a cursor that the keyboard moves; no library and no network."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adiabat.reports.curve_view_script import SCRIPT

Array = npt.NDArray[np.float64]

DASHES: Final = ("", "7 3", "2 2.5", "8 3 2 3", "4 2 1 2 1 2")
"""Line styles of series, in order, so that color is never needed to tell them apart."""

COLORS: Final = ("--first", "--second", "--third", "--muted", "--ink")
"""Page variables that series are drawn in."""


@dataclass(frozen=True, eq=False)
class Series:
    """Curves that belong together and can be shown or hidden together.

    Attributes:
        name: for the legend and the readout.
        x: (n_points,).
        y: (n_curves, n_points); NaN leaves a point out.
        marks: ``line``, ``ring``, ``disc``, ``triangle``, ``square`` or ``cross``.
        color: a page variable, ``--first``.
        dash: of a line, as in SVG.
        sizes: (n_curves, n_points) from 0 to 1, area of each mark; None for marks of one size.
        breaks: first points after which a line is interrupted.
        curve_names: one for each curve, for the readout: ``band 4``.
    """

    name: str
    x: Array
    y: Array
    marks: str = "line"
    color: str = "--first"
    dash: str = ""
    sizes: Array | None = None
    breaks: Sequence[int] = ()
    curve_names: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis.

    Attributes:
        label: quantity and unit; what follows an underscore is set lower.
        range: what is shown at first.
        ticks: positions and labels; None for round numbers.
        names: for each point of the first series what its place is called in the readout; empty for its number.
        unit: of numbers in the readout.
        symbol: what stands before a number in the readout.
    """

    label: str
    range: tuple[float, float]
    ticks: Sequence[tuple[float, str]] | None = None
    names: Sequence[str] = field(default_factory=tuple)
    unit: str = ""
    symbol: str = ""


def curve_view(name: str, x: Axis, y: Axis, series: Sequence[Series], *, description: str, fallback: str) -> str:
    """HTML of the plot with its data and its script.

    Args:
        name: a word that is unique on the page.
        x: horizontal axis.
        y: vertical axis.
        series: what to draw; the cursor runs along the first one at the beginning.
        description: what the plot shows, for readers who cannot see it.
        fallback: HTML shown where scripts do not run: the figure.
    """
    data = {"x": _axis(x), "y": _axis(y), "series": [_series(item) for item in series]}
    payload = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    toggles = "".join(
        f'<label><input type="checkbox" checked data-series="{index}">'
        f'<svg class="sample" viewBox="0 0 34 12" aria-hidden="true">{_sample(item)}</svg>{escape(item.name)}</label>'
        for index, item in enumerate(series)
    )
    return (
        _MARKUP.replace("@name@", name)
        .replace("@description@", escape(description, quote=True))
        .replace("@toggles@", toggles)
        .replace("@fallback@", fallback)
        + f'<script type="application/json" id="{name}-data">{payload}</script>\n'
        + f"<script>{SCRIPT.replace('@name@', name)}</script>"
    )


def _axis(axis: Axis) -> dict[str, Any]:
    return {
        "label": axis.label,
        "range": [round(value, 6) for value in axis.range],
        "ticks": None if axis.ticks is None else [[round(at, 6), label] for at, label in axis.ticks],
        "names": list(axis.names),
        "unit": axis.unit,
        "symbol": axis.symbol,
    }


def _series(series: Series) -> dict[str, Any]:
    return {
        "name": series.name,
        "marks": series.marks,
        "color": series.color,
        "dash": series.dash,
        "breaks": list(series.breaks),
        "names": list(series.curve_names),
        "x": np.round(series.x, 5).tolist(),
        "y": [[_number(value) for value in curve] for curve in series.y],
        "sizes": None if series.sizes is None else np.round(np.clip(series.sizes, 0, 1), 3).tolist(),
    }


def _number(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None


def _sample(series: Series) -> str:
    color = f"var({series.color})"
    if series.marks == "line":
        return f'<path d="M1 6H33" stroke="{color}" stroke-width="2" stroke-dasharray="{series.dash}" fill="none"/>'
    shape = {
        "ring": f'<circle cx="17" cy="6" r="4" fill="none" stroke="{color}" stroke-width="1.5"/>',
        "disc": f'<circle cx="17" cy="6" r="4" fill="{color}"/>',
        "triangle": f'<path d="M17 1.5L21.5 10.5H12.5Z" fill="{color}"/>',
        "cross": f'<path d="M13 2L21 10M13 10L21 2" stroke="{color}" stroke-width="1.5"/>',
        "square": f'<rect x="13" y="2" width="8" height="8" fill="none" stroke="{color}" stroke-width="1.5"/>',
    }
    return shape[series.marks]


_MARKUP: Final = """
<div class="curve-view" id="@name@">
  <svg class="plot" tabindex="0" role="img" aria-label="@description@" aria-describedby="@name@-keys"></svg>
  <p class="readout-line" id="@name@-readout" role="status" aria-live="polite">Move over the plot, or use the arrow
  keys in it.</p>
  <div class="controls" role="group" aria-label="What is shown">@toggles@
    <button type="button" data-zoom="in" aria-label="Zoom in">+</button>
    <button type="button" data-zoom="out" aria-label="Zoom out">−</button>
    <button type="button" data-zoom="reset">Reset</button>
  </div>
  <p class="note screen-only" id="@name@-keys">Drag to move. Click the plot, then the wheel zooms the vertical axis, and
  with <kbd>Shift</kbd> the horizontal one. Keys: <kbd>←</kbd> <kbd>→</kbd> move the cursor along a curve, <kbd>↑</kbd>
  <kbd>↓</kbd> to the next curve, <kbd>+</kbd> <kbd>−</kbd> zoom, <kbd>PgUp</kbd> <kbd>PgDn</kbd> move the window,
  <kbd>0</kbd> resets.</p>
  <noscript>@fallback@</noscript>
</div>
"""
