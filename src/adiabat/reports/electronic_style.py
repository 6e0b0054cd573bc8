"""What figures of bands and of densities of states share: energy axes, series styles, and files for print."""

import io
from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adiabat.data.band_structure import BandStructure
from adiabat.data.dos_result import DensityOfStates
from adiabat.reports.figure_style import FIRST, INK, MUTED, SECOND, THIRD, figure_style

FOURTH: Final = "#cc79a7"
"""Reddish purple of Okabe and Ito."""

GROUP_STYLES: Final = (
    (FIRST, "-", "o", True),
    (SECOND, (0, (5, 1.5)), "o", False),
    (THIRD, (0, (1.2, 1.2)), "^", True),
    (FOURTH, (0, (6, 1.5, 1.2, 1.5)), "s", False),
    (MUTED, (0, (3, 1, 1, 1, 1, 1)), "D", True),
)
"""Color, line, marker and whether the marker is filled, for each group: told apart in grey too."""

SPIN_STYLES: Final = ("-", (0, (4, 1.6)))
"""Lines of ↑ and ↓."""

COLUMN: Final = 3.4
"""Width of a column of a journal in inches."""

RESOLUTION: Final = 300
"""Dots per inch of PNG files."""


def energy_label(zero_name: str) -> str:
    """Label of an energy axis."""
    if not zero_name:
        return "energy [eV]"
    return rf"$E - E_\mathrm{{{zero_name}}}$ [eV]"


def default_window(result: BandStructure | DensityOfStates) -> tuple[float, float]:
    """Energies to show, relative to the zero of the figure [eV]: valence bands and what is above the gap."""
    return (-8.0, 8.0) if result.edges is None else (-9.0, max(5.0, result.edges.gap + 4.0))


def legend(figure: Figure, panels: Sequence[Axes], n_columns: int) -> None:
    """One legend of all panels above the figure, where it hides nothing; none where one curve needs no name."""
    found = [panel.get_legend_handles_labels() for panel in panels]
    handles = [handle for some, _ in found for handle in some]
    labels = [label for _, some in found for label in some]
    if not labels:
        return
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=-(-len(labels) // -(-len(labels) // n_columns)),  # rows as equal as can be
        frameon=False,
        fontsize=8,
        handlelength=2.0,
        handletextpad=0.5,
        columnspacing=1.1,
        borderaxespad=0.1,
    )


def frame(axes: Axes) -> None:
    """A closed frame without grid, ticks inwards, as journals print bands."""
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(INK)
    axes.tick_params(direction="in", color=INK, right=True)


def round_ticks(axis: Axis) -> None:
    """Ticks at round numbers: 2, 4, 6 rather than 2.5, 5.0, 7.5."""
    axis.set_major_locator(MaxNLocator(nbins=9, steps=[1, 2, 5, 10]))


def png(figure: Figure) -> bytes:
    """A figure as PNG on white, in print resolution."""
    return _file(figure, "png")


def svg(figure: Figure) -> bytes:
    """A figure as SVG, text kept as text."""
    return _file(figure, "svg")


def _file(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with figure_style():  # whether text stays text is asked when a figure is saved
        figure.savefig(buffer, format=kind, dpi=RESOLUTION, facecolor="white", metadata=metadata)
    return buffer.getvalue()
