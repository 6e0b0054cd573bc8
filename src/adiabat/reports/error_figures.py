"""Figures of accuracy: parity plots and learning curves, each a function from arrays to inline SVG.

Every series has its own marker or line style beside its color, and every axis its unit.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from adiabat.reports.figure_style import FIRST, MUTED, figure_style, inline_svg

MAX_POINTS: Final = 1500
"""Points that a scatter plot shows at most; more only make the page heavy. All points enter the numbers."""

Array = npt.NDArray[np.float64]


def thinned(count: int, most: int = MAX_POINTS, seed: int = 0) -> npt.NDArray[np.int64]:
    """Sorted indices of at most ``most`` of ``count`` points, always the same ones for one ``seed``."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def parity_figure(
    name: str,
    reference: Array,
    predicted: Array,
    *,
    quantity: str,
    unit: str,
    error_unit: str,
    error_scale: float,
    source: str = "DFT",
) -> str:
    """Prediction against reference, and below it the error on a scale on which it can be seen.

    Args:
        name: a word that is unique on the page.
        reference: (n,) values of the reference method.
        predicted: (n,) values of the model, same unit.
        quantity: what the values are, for the axes.
        unit: their unit.
        error_unit: unit of the error axis.
        error_scale: value of one ``unit`` in ``error_unit``.
        source: what to call the reference method.
    """
    chosen = thinned(len(reference))
    errors = (predicted - reference) * error_scale
    low, high = float(reference.min()), float(reference.max())
    size = 4.5 if len(chosen) < 100 else 2.2
    with figure_style():
        figure = Figure(figsize=(3.7, 4.6))
        parity, residual = figure.subplots(2, 1, sharex=True, height_ratios=[2.6, 1])
        parity.plot([low, high], [low, high], color=MUTED, linewidth=1, linestyle="--", zorder=1)
        _scatter(parity, reference[chosen], predicted[chosen], size)
        parity.set_ylabel(f"model [{unit}]")
        residual.axhline(0, color=MUTED, linewidth=1, linestyle="--", zorder=1)
        _scatter(residual, reference[chosen], errors[chosen], size)
        reach = 1.15 * float(np.abs(errors).max(initial=0.0)) or 1.0
        residual.set_ylim(-reach, reach)
        residual.set_ylabel(f"error [{error_unit}]")
        residual.set_xlabel(f"{source} {quantity} [{unit}]")
        figure.align_ylabels()
        return inline_svg(
            figure,
            name,
            f"Model against {source}, {quantity}: {len(reference)} values between {low:.3g} and {high:.3g} {unit}, and "
            f"below them the errors, mean absolute {np.abs(errors).mean():.3g} and largest {np.abs(errors).max():.3g} "
            f"{error_unit}.",
        )


def _scatter(axes: Axes, x: Array, y: Array, size: float) -> None:
    axes.plot(x, y, linestyle="none", marker="o", markersize=size, color=FIRST, alpha=0.75, markeredgewidth=0)


def learning_curve_figure(
    name: str, steps: Array, errors: Array, *, quantity: str, unit: str, structures: str = "geometries"
) -> str:
    """Error on the validation geometries while the model was trained.

    Args:
        name: a word that is unique on the page.
        steps: (n_points,) optimizer steps.
        errors: (n_points,) mean absolute error.
        quantity: whose error it is.
        unit: unit of the errors.
        structures: what the validation structures are called.
    """
    with figure_style():
        figure = Figure(figsize=(3.7, 2.9))
        axes = figure.subplots()
        axes.plot(steps, errors, color=FIRST, marker="o", markersize=2.5)
        axes.set_yscale("log")
        _plain_log_ticks(axes)
        axes.set_ylabel(f"{quantity} error [{unit}]")
        axes.set_xlabel("training step")
        return inline_svg(
            figure,
            name,
            f"The {quantity} error on the validation {structures} goes from {errors[0]:.3g} to {errors[-1]:.3g} {unit} "
            f"over {int(steps[-1])} steps; logarithmic axis.",
        )


def _plain_log_ticks(axes: Axes) -> None:
    """Write 0.5, 10, 200 instead of powers of ten, and label more ticks where the range is short."""
    low, high = axes.get_ylim()
    labelled = (1.0, 2.0, 5.0) if np.log10(high / low) < 2 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=labelled))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(which="minor", visible=False)
