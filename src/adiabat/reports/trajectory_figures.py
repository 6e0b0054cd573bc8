"""Figures along a trajectory: energies, orbital energies, gap, and where the molecule went.

Every series has its own marker or line style beside its color, and every axis its unit.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adiabat.reports.error_figures import thinned
from adiabat.reports.figure_style import FIRST, INK, MUTED, SECOND, SURFACE, figure_style, inline_svg

MAX_LINE_POINTS: Final = 2000
"""Points that a curve over a whole run shows at most; denser ones fall on one printed dot."""

CLOSE_UP: Final = 80.0
"""Length of a close-up [fs]: about nine periods of the O–H stretch."""

WIDE: Final = (8.6, 4.2)
"""Size of a full-width figure in inches."""

Array = npt.NDArray[np.float64]


def energy_conservation_figure(
    name: str, time: Array, potential: Array, kinetic: Array, total: Array, n_atoms: int
) -> str:
    """Potential, kinetic and total energy in a part of the run, and what the total loses or gains in all of it.

    Args:
        name: a word that is unique on the page.
        time: (n,) [fs].
        potential: (n,) [eV].
        kinetic: (n,) [eV].
        total: (n,) [eV].
        n_atoms: number of atoms, for the error an atom.
    """
    zero = potential.min()
    error = 1000 * (total - total[0]) / n_atoms
    close = time <= time[0] + CLOSE_UP
    thin = slice(None, None, -(-len(time) // MAX_LINE_POINTS))
    with figure_style():
        figure = Figure(figsize=WIDE)
        energies, drift = figure.subplots(2, 1, height_ratios=[1.6, 1])
        for values, label, style, color, width in (
            (potential - zero, "potential", "-", FIRST, 1.3),
            (kinetic, "kinetic", "--", SECOND, 1.3),
            (total - zero, "total", "-", INK, 2.0),
        ):
            energies.plot(time[close], values[close], style, color=color, linewidth=width, label=label)
        energies.set_ylabel("energy [eV]")
        energies.set_xlim(time[close][0], time[close][-1])
        _legend_above(figure, energies)
        drift.axhline(0, color=MUTED, linewidth=1, linestyle="--")
        drift.plot(time[thin], error[thin], color=INK, linewidth=0.6)
        drift.set_ylabel("change of total\n[meV/atom]")
        drift.set_xlabel("time [fs]")
        drift.set_xlim(time[0], time[-1])
        figure.align_ylabels()
        return inline_svg(
            figure,
            name,
            f"Potential and kinetic energy exchange up to {np.ptp(kinetic):.2g} eV, while the total stays within "
            f"{np.abs(error).max():.2g} meV per atom of its first value over {time[-1]:.0f} fs.",
        )


def orbital_energy_figure(
    name: str, time: Array, energies: Array, n_occupied: int, checkpoint_time: Array, checkpoint_energies: Array
) -> str:
    """Valence and lowest empty orbital energies over time, with DFT at the checkpoints.

    Args:
        name: a word that is unique on the page.
        time: (n,) [fs].
        energies: (n, n_shown) model orbital energies [eV], ascending.
        n_occupied: how many of the shown orbitals are occupied.
        checkpoint_time: (n_checkpoints,) [fs].
        checkpoint_energies: (n_checkpoints, n_shown) DFT orbital energies [eV].
    """
    with figure_style():
        figure, panels = _close_up_and_whole(time, checkpoint_time)
        for index in range(energies.shape[1]):
            occupied = index < n_occupied
            for axes, width in zip(panels, (1.3, 0.5), strict=True):
                axes.plot(
                    time,
                    energies[:, index],
                    linestyle="-" if occupied else (0, (3, 1)),
                    color=FIRST if occupied else SECOND,
                    linewidth=width,
                    label=("occupied, model" if occupied else "empty, model") if index in (0, n_occupied) else None,
                )
                _checkpoints(axes, checkpoint_time, checkpoint_energies[:, index], "DFT" if index == 0 else None)
        for index, label in ((n_occupied - 1, "HOMO"), (n_occupied, "LUMO")):
            level = (1, energies[:, index].mean())
            panels[1].annotate(
                label, level, xycoords=("axes fraction", "data"), xytext=(6, 0), textcoords="offset points", va="center"
            )
        panels[0].set_ylabel("orbital energy [eV]")
        _legend_above(figure, panels[0])
        return inline_svg(
            figure,
            name,
            f"{n_occupied} occupied and {energies.shape[1] - n_occupied} empty orbital energies over {time[-1]:.0f} "
            f"fs from the predicted Hamiltonian, with DFT values at {len(checkpoint_time)} times.",
        )


def gap_figure(name: str, time: Array, gap: Array, checkpoint_time: Array, checkpoint_gap: Array) -> str:
    """HOMO–LUMO gap over time, with DFT at the checkpoints.

    Args:
        name: a word that is unique on the page.
        time: (n,) [fs].
        gap: (n,) gap from the predicted Hamiltonian [eV].
        checkpoint_time: (n_checkpoints,) [fs].
        checkpoint_gap: (n_checkpoints,) gap from DFT [eV].
    """
    with figure_style():
        figure, panels = _close_up_and_whole(time, checkpoint_time)
        for axes, width, size in zip(panels, (1.2, 0.6), (2.8, 0), strict=True):
            axes.plot(
                time, gap, ".-", markersize=size, color=FIRST, linewidth=width, label="from the predicted Hamiltonian"
            )
            _checkpoints(axes, checkpoint_time, checkpoint_gap, "DFT at the same geometry")
        panels[0].set_ylabel("HOMO–LUMO gap [eV]")
        _legend_above(figure, panels[0])
        return inline_svg(
            figure,
            name,
            f"The gap moves between {gap.min():.2f} and {gap.max():.2f} eV over {time[-1]:.0f} fs; DFT values at "
            f"{len(checkpoint_time)} times lie between {checkpoint_gap.min():.2f} and {checkpoint_gap.max():.2f} eV.",
        )


def _close_up_and_whole(time: Array, checkpoint_time: Array) -> tuple[Figure, tuple[Axes, Axes]]:
    """Two panels of one quantity: some tens of fs around a checkpoint, and the whole run.

    A period of the O–H stretch takes 9 fs; in a whole run of picoseconds it cannot be seen.
    """
    figure = Figure(figsize=WIDE)
    close, whole = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1.3], gridspec_kw={"wspace": 0.08})
    middle = float(checkpoint_time[len(checkpoint_time) // 2])
    begin = max(float(time[0]), min(middle - CLOSE_UP / 2, float(time[-1]) - CLOSE_UP))
    close.set_xlim(begin, min(begin + CLOSE_UP, float(time[-1])))
    whole.set_xlim(time[0], time[-1])
    close.set_xlabel("time, a close-up [fs]")
    whole.set_xlabel("time, the whole run [fs]")
    return figure, (close, whole)


def coverage_figure(name: str, training: Array, visited: Array) -> str:
    """Where the trajectory went among the training geometries: angle against the two bond lengths.

    Args:
        name: a word that is unique on the page.
        training: (n_train, 3) two bond lengths [Å] and the angle between them [degree].
        visited: (n_frames, 3) the same along the trajectory.
    """
    with figure_style():
        figure = Figure(figsize=(5.2, 3.8))
        axes = figure.subplots()
        chosen = visited[thinned(len(visited), 600)]
        for bond in (0, 1):
            axes.plot(
                training[:, bond],
                training[:, 2],
                "o",
                markersize=4.5,
                markerfacecolor="none",
                markeredgecolor=SECOND,
                markeredgewidth=0.9,
                label="labelled for training" if bond == 0 else None,
            )
            axes.plot(
                chosen[:, bond], chosen[:, 2], ".", markersize=3, color=FIRST, label="trajectory" if bond == 0 else None
            )
        axes.set_xlabel("O–H bond length [Å]")
        axes.set_ylabel("H–O–H angle [degree]")
        _legend_above(figure, axes)
        return inline_svg(
            figure,
            name,
            f"Bond length against angle: the trajectory spans {visited[:, :2].min():.2f} to "
            f"{visited[:, :2].max():.2f} Å and {visited[:, 2].min():.0f} to {visited[:, 2].max():.0f} degrees, "
            f"training {training[:, :2].min():.2f} to {training[:, :2].max():.2f} Å and {training[:, 2].min():.0f} to "
            f"{training[:, 2].max():.0f} degrees.",
        )


def _checkpoints(axes: Axes, time: Array, values: Array, label: str | None) -> None:
    axes.plot(
        time,
        values,
        "o",
        markersize=7,
        markerfacecolor=SURFACE,
        markeredgecolor=INK,
        markeredgewidth=1.4,
        label=label,
        zorder=4,
    )


def _legend_above(figure: Figure, axes: Axes) -> None:
    """Put the legend of ``axes`` above the figure, where it hides no data and takes no width from a panel."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), frameon=False)
