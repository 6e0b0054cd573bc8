"""Figures of densities of states, upright and beside bands."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adiabat.data.dos_result import Array, DensityOfStates
from adiabat.reports.electronic_style import (
    COLUMN,
    GROUP_STYLES,
    default_window,
    energy_label,
    frame,
    legend,
    round_ticks,
)
from adiabat.reports.figure_style import INK, MUTED, figure_style

UNIT: Final = "states/eV/cell"

_WORTH_A_CURVE: Final = 0.08
"""Share of the highest total below which a group goes to the others."""


def dos_figure(
    dos: DensityOfStates, *, window: tuple[float, float] | None = None, reference: DensityOfStates | None = None
) -> Figure:
    """Density over energy; ↓ of collinear spins points down.

    Args:
        dos: what to draw.
        window: energies relative to the zero of the figure [eV].
        reference: a density to compare with, drawn as dots about its own zero.
    """
    window = window or default_window(dos)
    with figure_style():
        figure = Figure(figsize=(1.25 * COLUMN, 2.7))
        axes = figure.subplots()
        frame(axes)
        energies, shown = _shown(dos, dos.zero, window)
        axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
        for name, values, style in dos_curves(dos, shown):
            for channel, sign in zip(range(len(values)), (1, -1), strict=False):
                lines = axes.plot(energies, sign * values[channel, shown], **style)
                lines[0].set_label(name if channel == 0 else "")
        for channel, sign in zip(range(len(dos.total)), (1, -1), strict=False):
            axes.fill_between(energies, sign * dos.total[channel, shown], color=MUTED, alpha=0.14, linewidth=0)
        if reference is not None:
            at, part = _shown(reference, reference.zero, window)
            for channel, sign in zip(range(len(reference.total)), (1, -1), strict=False):
                axes.plot(
                    at,
                    sign * reference.total[channel, part],
                    linestyle="none",
                    marker="o",
                    markersize=2.6,
                    markevery=max(1, len(at) // 90),
                    markerfacecolor="none",
                    markeredgecolor=INK,
                    markeredgewidth=0.7,
                    label=str(reference.metadata.get("method") or "reference") if channel == 0 else None,
                )
        _limits(axes.set_ylim, dos, shown)
        axes.set_xlim(*window)
        axes.set_xlabel(energy_label(dos.zero_name))
        axes.set_ylabel(f"DOS [{UNIT}]")
        _spin_names(axes, dos)
        round_ticks(axes.xaxis)
        if dos.projections or reference is not None:
            legend(figure, [axes], 5)
        return figure


def draw_sideways(axes: Axes, dos: DensityOfStates, zero: float, window: tuple[float, float]) -> None:
    """Density to the right, energy upwards, to stand beside bands on their energy axis.

    Args:
        axes: shares its vertical axis with the bands.
        dos: what to draw.
        zero: energy from which the bands count [eV].
        window: energies relative to it [eV].
    """
    frame(axes)
    energies, shown = _shown(dos, zero, window)
    axes.axhline(0, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    for name, values, style in dos_curves(dos, shown):
        for channel, sign in zip(range(len(values)), (1, -1), strict=False):
            # One plain total beside bands needs no legend: the axis names it.
            named = channel == 0 and bool(dos.projections)
            lines = axes.plot(sign * values[channel, shown], energies, **style)
            lines[0].set_label(name if named else "")
    for channel, sign in zip(range(len(dos.total)), (1, -1), strict=False):
        axes.fill_betweenx(energies, sign * dos.total[channel, shown], color=MUTED, alpha=0.14, linewidth=0)
    _limits(axes.set_xlim, dos, shown)
    axes.set_xlabel(f"DOS\n[{UNIT}]")


def dos_curves(dos: DensityOfStates, shown: npt.NDArray[np.bool_]) -> list[tuple[str, Array, dict[str, Any]]]:
    """Name, values and line of the total, of the groups that matter, and of all others together.

    Args:
        dos: what to draw.
        shown: (n_grid,) energies that are drawn; what matters is judged by them.
    """
    curves: list[tuple[str, Array, dict[str, Any]]] = [
        ("total", dos.total, {"color": INK, "linestyle": "-", "linewidth": 1.1, "zorder": 2})
    ]
    highest = float(dos.total[:, shown].max(initial=0.0))
    peaks = {name: float(values[:, shown].max(initial=0.0)) for name, values in dos.projections.items()}
    largest = sorted(peaks, key=lambda name: peaks[name], reverse=True)[: len(GROUP_STYLES)]
    drawn = [name for name in dos.projections if name in largest and peaks[name] > _WORTH_A_CURVE * highest]
    for name, (color, line, *_) in zip(drawn, GROUP_STYLES, strict=False):
        look = {"color": color, "linestyle": line, "linewidth": 1.3, "zorder": 3}
        curves.append((name, dos.projections[name], look))
    rest = [values for name, values in dos.projections.items() if name not in drawn]
    if rest:
        look = {"color": MUTED, "linestyle": "-", "linewidth": 0.7, "zorder": 2}
        curves.append((f"{len(rest)} others", np.sum(rest, axis=0), look))
    return curves


def _shown(dos: DensityOfStates, zero: float, window: tuple[float, float]) -> tuple[Array, npt.NDArray[np.bool_]]:
    energies = dos.grid - zero
    shown = (energies >= window[0]) & (energies <= window[1])
    return energies[shown], shown


def _limits(set_limits: object, dos: DensityOfStates, shown: npt.NDArray[np.bool_]) -> None:
    assert callable(set_limits)
    highest = 1.06 * float(dos.total[:, shown].max(initial=0.0)) or 1.0
    set_limits(-highest if len(dos.total) == 2 else 0.0, highest)


def _spin_names(axes: Axes, dos: DensityOfStates) -> None:
    if len(dos.total) == 2:
        for name, height, side in (("spin ↑", 0.97, "top"), ("spin ↓", 0.03, "bottom")):
            axes.text(0.02, height, name, transform=axes.transAxes, va=side, ha="left", color=INK)
