"""Figures of an active-learning campaign, each a function from plain numbers to inline SVG."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from adiabat.reports.figure_style import FIRST, MUTED, SECOND, THIRD, figure_style, inline_svg


def errors_figure(name: str, labels: Sequence[int], errors: Sequence[float], *, quantity: str, unit: str) -> str:
    """Test error of each round against the number of labels it learned from, both axes logarithmic.

    Args:
        name: a word that is unique on the page.
        labels: (n_rounds,) training labels.
        errors: (n_rounds,) mean absolute errors.
        quantity: whose errors these are.
        unit: their unit.
    """
    with figure_style():
        figure = Figure(figsize=(3.7, 2.9))
        axes = figure.subplots()
        axes.plot(labels, errors, color=FIRST, marker="o", markersize=4)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "25" else "")
        axes.grid(which="minor", visible=False)
        axes.set_xlabel("training labels")
        axes.set_ylabel(f"{quantity} error [{unit}]")
        return inline_svg(
            figure,
            name,
            f"The {quantity} error on the test set goes from {errors[0]:.3g} to {errors[-1]:.3g} {unit} while the "
            f"training labels grow from {labels[0]} to {labels[-1]}; logarithmic axes.",
        )


def uncertainty_figure(
    name: str, rounds: Sequence[int], candidates: Sequence[Sequence[float]], selected: Sequence[Sequence[float]]
) -> str:
    """How uncertain the candidates of each round were, and those of them that were chosen.

    Args:
        name: a word that is unique on the page.
        rounds: numbers of the rounds that have candidates with an uncertainty.
        candidates: for each of them the uncertainties [eV/Å].
        selected: for each of them those of the chosen ones.
    """
    with figure_style():
        figure = Figure(figsize=(5.6, 3.1))
        axes = figure.subplots()
        places = np.asarray(rounds, dtype=float)
        axes.boxplot(
            [np.asarray(values) for values in candidates],
            positions=places.tolist(),
            widths=0.5,
            whis=(5, 95),
            showfliers=False,
            manage_ticks=False,
            medianprops={"color": FIRST},
            boxprops={"color": MUTED},
            whiskerprops={"color": MUTED},
            capprops={"color": MUTED},
        )
        for place, values in zip(places, selected, strict=True):
            axes.plot(
                np.full(len(values), place), values, linestyle="none", marker="x", markersize=4.5, color=SECOND,
                label="chosen" if place == places[0] else None,
            )  # fmt: skip
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xticks(places, [str(number) for number in rounds])
        axes.set_xlabel("round")
        axes.set_ylabel("uncertainty [eV/Å]")
        axes.legend(loc="upper right")
        medians = [float(np.median(values)) for values in candidates]
        return inline_svg(
            figure,
            name,
            f"Uncertainty of the candidates of {len(rounds)} rounds: the median goes from {medians[0]:.3g} to "
            f"{medians[-1]:.3g} eV/Å. Boxes hold half of them, whiskers nine tenths; crosses are the chosen ones.",
        )


def cost_figure(name: str, rounds: Sequence[int], seconds: Mapping[str, Sequence[float]]) -> str:
    """Time of each round by what it went into, stacked.

    Args:
        name: a word that is unique on the page.
        rounds: their numbers.
        seconds: by kind of work, for each round [s]; at most three kinds.
    """
    styles = ((FIRST, ""), (SECOND, "//"), (THIRD, ".."))
    with figure_style():
        figure = Figure(figsize=(3.7, 2.9))
        axes = figure.subplots()
        bottom = np.zeros(len(rounds))
        for (kind, values), (color, hatch) in zip(seconds.items(), styles, strict=False):
            minutes = np.asarray(values) / 60
            axes.bar(rounds, minutes, bottom=bottom, color=color, hatch=hatch, label=kind, width=0.6, alpha=0.85)
            bottom += minutes
        axes.set_xticks(list(rounds))
        axes.set_xlabel("round")
        axes.set_ylabel("processor time [min]")
        axes.legend()
        parts = ", ".join(f"{kind} {sum(values) / 60:.3g}" for kind, values in seconds.items())
        return inline_svg(figure, name, f"Processor time of {len(rounds)} rounds, in minutes: {parts} in all.")
