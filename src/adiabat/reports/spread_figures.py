"""Figures of uncertainty: reliability, error against σ, and coverage, each a function from arrays to inline SVG.

Series are told apart by marker, line style and hatching beside their colour.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.special import ndtri

from adiabat.reports.error_figures import thinned
from adiabat.reports.figure_style import FIRST, GRID, INK, MUTED, SECOND, SURFACE, figure_style, inline_svg

Array = npt.NDArray[np.float64]

BAND: Final = 0.9
"""Share of the errors that the shaded band of :func:`error_figure` holds where σ is right and errors are normal."""


def reliability_figure(name: str, levels: Array, observed: Array, *, quantity: str) -> str:
    """Share of errors within each interval, against the share that it is to hold.

    Args:
        name: a word that is unique on the page.
        levels: (n,) shares that central intervals of a normal distribution hold.
        observed: (n,) shares that they did hold.
        quantity: whose errors these are.
    """
    levels, observed = (np.concatenate([[0.0], part, [1.0]]) for part in (levels, observed))
    with figure_style():
        figure = Figure(figsize=(3.7, 3.5))
        axes = figure.subplots()
        axes.fill_between(levels, levels, observed, color=SECOND, alpha=0.2, linewidth=0)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--", label="σ is right")
        axes.plot(levels, observed, color=FIRST, label=quantity)
        axes.text(0.97, 0.04, "σ too small", ha="right", transform=axes.transAxes, color=MUTED, fontsize=9)
        axes.text(0.03, 0.96, "σ too large", va="top", transform=axes.transAxes, color=MUTED, fontsize=9)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_aspect("equal")
        axes.set_xlabel("share of errors expected within the interval")
        axes.set_ylabel("share found within it")
        axes.legend(loc="upper left", bbox_to_anchor=(0.0, 0.92))
        gaps = np.abs(observed - levels)
        area = float(((gaps[1:] + gaps[:-1]) / 2 * np.diff(levels)).sum())
        place = int(np.abs(levels - 0.68).argmin())
        return inline_svg(
            figure,
            name,
            f"Reliability of σ of the {quantity}: the curve encloses an area of {area:.3f} with the diagonal, where 0 "
            f"is perfect; an interval that should hold {levels[place]:.0%} of the errors holds {observed[place]:.0%}.",
        )


def error_figure(
    name: str, sigmas: Array, errors: Array, bins: tuple[Array, Array], *, quantity: str, unit: str
) -> str:
    """|error| against σ on logarithmic axes, with the band that holds 90 % of normal errors, and root means of bins.

    Args:
        name: a word that is unique on the page.
        sigmas: (n,) standard deviations.
        errors: (n,) predicted − reference, same unit.
        bins: root mean square σ and root mean square error of bins of equal count.
        quantity: whose errors these are.
        unit: of all four.
    """
    shown = np.flatnonzero((sigmas > 0) & (errors != 0))
    shown = shown[thinned(len(shown))]
    x, y = sigmas[shown], np.abs(errors[shown])
    low, high = _range(np.concatenate([x, bins[0][bins[0] > 0]]))
    line = np.array([low, high])
    inner, outer = ndtri(0.5 + (1 - BAND) / 4), ndtri(0.5 + (1 + BAND) / 4)
    with figure_style():
        figure = Figure(figsize=(3.7, 3.5))
        axes = figure.subplots()
        axes.fill_between(
            line, inner * line, outer * line, color=GRID, alpha=0.6, linewidth=0, label=f"{BAND:.0%} if σ is right"
        )
        axes.plot(line, line, color=MUTED, linewidth=1, linestyle="--", label="error = σ")
        size = 4.0 if len(x) < 200 else 2.0
        axes.plot(x, y, linestyle="none", marker="o", markersize=size, color=FIRST, alpha=0.5, markeredgewidth=0)
        axes.plot(
            *bins,
            linestyle="none",
            marker="s",
            markersize=5.5,
            color=SECOND,
            markeredgecolor=SURFACE,
            markeredgewidth=0.8,
            label="root mean square of a bin",
        )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(*_range(np.concatenate([np.quantile(y, [0.02, 1.0]), bins[1]]) if len(y) else bins[1]))
        _plain_ticks(axes)
        axes.set_xlabel(f"σ of the {quantity} [{unit}]")
        axes.set_ylabel(f"absolute error [{unit}]")
        axes.legend(loc="lower right", fontsize=8)
        inside = (y >= inner * x) & (y <= outer * x)
        return inline_svg(
            figure,
            name,
            f"Absolute errors of the {quantity} against their σ, {len(errors)} values on logarithmic axes; "
            f"{inside.mean() if len(y) else 0:.0%} of those drawn lie in the band that holds {BAND:.0%} where σ is "
            f"right. Bins go from σ {bins[0][0]:.3g} and error {bins[1][0]:.3g} to σ {bins[0][-1]:.3g} and error "
            f"{bins[1][-1]:.3g} {unit}.",
        )


def coverage_figure(name: str, coverage: Mapping[str, float], *, quantity: str) -> str:
    """A bar for each interval: the share of errors within it, and a mark where it should end.

    Args:
        name: a word that is unique on the page.
        coverage: share found, by the share expected in per cent, as a text.
        quantity: whose errors these are.
    """
    levels = [float(level) for level in coverage]
    found = [100 * share for share in coverage.values()]
    places = np.arange(len(levels))
    with figure_style():
        figure = Figure(figsize=(3.7, 3.5))
        axes = figure.subplots()
        axes.bar(places, found, width=0.62, color=FIRST, alpha=0.85, label="found", edgecolor=SURFACE, hatch="//")
        axes.hlines(levels, places - 0.42, places + 0.42, color=INK, linewidth=2.2, label="expected")
        for place, share in zip(places, found, strict=True):
            axes.annotate(
                f"{share:.0f} %", (place, 2), ha="center", color=INK, fontsize=9,
                bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip
        axes.set_xticks(places, [f"{level:.3g} %" for level in levels])
        axes.set_ylim(0, 109)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(f"interval about the {quantity}")
        axes.set_ylabel("errors within it [%]")
        axes.legend(loc="upper left", ncols=2)
        pairs = ", ".join(f"{share:.0f} of {level:.3g} %" for share, level in zip(found, levels, strict=True))
        return inline_svg(figure, name, f"Coverage of the intervals of the {quantity}: {pairs}.")


def _range(values: Array) -> tuple[float, float]:
    """From a little below the smallest to a little above the largest."""
    return float(values.min()) / 1.4, float(values.max()) * 1.4


def _plain_ticks(axes: Axes) -> None:
    """Write 0.5, 10, 200 instead of powers of ten, and label more ticks where the range is short."""
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        decades = np.log10(high / low)
        subs = (1.0, 2.0, 5.0) if decades < 2 else (1.0, 3.0) if decades < 3 else (1.0,)
        axis.set_major_locator(LogLocator(base=10, subs=subs))
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.grid(which="minor", visible=False)
