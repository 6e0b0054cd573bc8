"""Figures of bands: lines between high-symmetry points, fat bands, reference bands, and a density beside them."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adiabat.data.band_structure import Array, BandStructure
from adiabat.data.dos_result import DensityOfStates
from adiabat.reports.dos_figures import draw_sideways
from adiabat.reports.electronic_style import (
    COLUMN,
    GROUP_STYLES,
    SPIN_STYLES,
    default_window,
    energy_label,
    frame,
    legend,
    round_ticks,
)
from adiabat.reports.figure_style import FIRST, INK, MUTED, SECOND, figure_style

REFERENCE_MARKS: Final = 45
"""Points of a reference band that are marked at most; more would hide the bands below them."""

FAT_AREA: Final = 38.0
"""Area of the mark of a state that lies wholly on a group [points²]."""

FAT_MARKS: Final = 50
"""Marks along a fat band; more would run together, and rings could not be told from discs."""

_SMALLEST_SHARE: Final = 0.02
_TINY_SHIFT: Final = 5e-4


def band_figure(
    bands: BandStructure, *, window: tuple[float, float] | None = None, dos: DensityOfStates | None = None
) -> Figure:
    """Bands, with weights as the size of marks and a reference as open circles, if there are any.

    Args:
        bands: what to draw.
        window: energies relative to the zero of the figure [eV].
        dos: density to draw beside the bands, on the same energies.
    """
    window = window or default_window(bands)
    with figure_style():
        if dos is None:
            figure = Figure(figsize=(COLUMN, 3.1))
            axes = figure.subplots()
            panels = [axes]
        else:
            figure = Figure(figsize=(1.5 * COLUMN, 3.3))
            axes, beside = figure.subplots(1, 2, sharey=True, width_ratios=[2.4, 1])
            draw_sideways(beside, dos, bands.zero, window)
            panels = [axes, beside]
        draw_bands(axes, bands, window)
        axes.set_ylabel(energy_label(bands.zero_name))
        round_ticks(axes.yaxis)
        legend(figure, panels, 3 if dos is None else 4)
        return figure


def draw_bands(axes: Axes, bands: BandStructure, window: tuple[float, float]) -> None:
    """Draw bands, ticks and the line of the Fermi level into axes."""
    frame(axes)
    _draw_ticks(axes, bands)
    if bands.zero_name:
        axes.axhline(0, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    _draw_lines(axes, bands)
    for (name, weights), style in zip(bands.weights.items(), GROUP_STYLES, strict=False):
        _draw_fat(axes, bands, name, weights, style, window)
    if bands.reference is not None:
        _draw_reference(axes, bands, window)
    axes.set_xlim(float(bands.distances[0]), float(bands.distances[-1]))
    axes.set_ylim(*window)


def _draw_ticks(axes: Axes, bands: BandStructure) -> None:
    for position in bands.tick_positions:
        axes.axvline(float(position), color=INK, linewidth=0.6, zorder=1)
    axes.set_xticks(bands.tick_positions, [_label(label) for label in bands.tick_labels])
    axes.tick_params(axis="x", length=0)


def _label(label: str) -> str:
    """A point's label with its index lowered: Σ0 as Σ₀."""
    return label.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _draw_lines(axes: Axes, bands: BandStructure) -> None:
    has_weights = bool(bands.weights)
    for channel, name in enumerate(bands.channel_names):
        color, width = (MUTED, 0.7) if has_weights else (FIRST if channel == 0 else INK, 1.2)
        for part, (start, stop) in enumerate(bands.branches):
            energies = np.where(np.isfinite(bands.energies[channel]), bands.energies[channel], np.nan) - bands.zero
            lines = axes.plot(
                bands.distances[start:stop],
                energies[start:stop],
                color=color,
                linewidth=width,
                linestyle=SPIN_STYLES[channel],
                zorder=2,
            )
            if part == 0 and (name or bands.reference is not None):
                lines[0].set_label(_source(bands, name))


def _source(bands: BandStructure, channel: str) -> str:
    if bands.reference is None:
        return f"spin {channel}"
    name = "model" if bands.metadata.get("method") == "model" else str(bands.metadata.get("method") or "bands")
    return f"{name} {channel}".strip()


def _draw_fat(
    axes: Axes,
    bands: BandStructure,
    name: str,
    weights: Array,
    style: tuple[str, Any, str, bool],
    window: tuple[float, float],
) -> None:
    """Discs, rings, triangles … whose area is the share of a group in the state."""
    color, _, marker, filled = style
    look: dict[str, Any] = {"facecolor": color, "edgecolor": "none", "alpha": 0.55}
    if not filled:
        look = {"facecolor": "none", "edgecolor": color, "linewidth": 0.9}
    points = _evenly(bands)
    for channel in range(len(bands.energies)):
        energies = bands.energies[channel, points] - bands.zero
        shares = np.clip(weights[channel, points], 0, 1)
        x = np.broadcast_to(bands.distances[points, None], energies.shape)
        shown = (energies > window[0]) & (energies < window[1]) & (shares > _SMALLEST_SHARE)
        axes.scatter(x[shown], energies[shown], s=FAT_AREA * shares[shown], marker=marker, zorder=3, **look)
    axes.scatter([], [], s=0.7 * FAT_AREA, marker=marker, label=name, **look)


def _evenly(bands: BandStructure) -> npt.NDArray[np.int64]:
    """Points of the path at nearly even distances."""
    wanted = np.linspace(bands.distances[0], bands.distances[-1], FAT_MARKS)
    return np.unique(np.abs(bands.distances[None, :] - wanted[:, None]).argmin(axis=1))


def _draw_reference(axes: Axes, bands: BandStructure, window: tuple[float, float]) -> None:
    reference = bands.reference
    assert reference is not None
    # What a shift of the zero of potential could mend says nothing; it is removed, and the legend says so.
    shift = 0.0 if reference.comparison is None else reference.comparison.shift
    placed = np.flatnonzero(np.isfinite(reference.distances))
    every = placed[:: max(1, len(placed) // REFERENCE_MARKS)]
    label = reference.source
    if abs(shift) >= _TINY_SHIFT:
        label += f" (shifted by {-1000 * shift:+.0f} meV)".replace("-", "−")
    for channel, marker in zip(range(len(reference.energies)), ("o", "^"), strict=False):
        energies = reference.energies[channel, every] - bands.zero - shift
        x = np.broadcast_to(reference.distances[every, None], energies.shape)
        shown = (energies > window[0]) & (energies < window[1])
        axes.plot(
            x[shown],
            energies[shown],
            linestyle="none",
            marker="x" if bands.weights else marker,
            markersize=3.2,
            markerfacecolor="none",
            markeredgecolor=INK if bands.weights else SECOND,
            markeredgewidth=0.8,
            label=label if channel == 0 else None,
            zorder=4,
        )
