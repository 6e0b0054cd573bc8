"""Pages of bands and of densities of states: a plot that answers, the numbers, and where they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from adiabat.data.band_structure import Array, BandStructure
from adiabat.data.dos_result import DensityOfStates
from adiabat.reports import page
from adiabat.reports.band_figures import band_figure
from adiabat.reports.curve_view import COLORS, DASHES, Axis, Series, curve_view
from adiabat.reports.dos_figures import dos_curves, dos_figure
from adiabat.reports.electronic_style import default_window
from adiabat.reports.electronic_words import band_numbers, dos_numbers, gap_sentence, method_name
from adiabat.reports.figure_style import inline_svg
from adiabat.reports.page import Section
from adiabat.reports.words import number

_ZERO: Final = {"VBM": "E − VBM", "F": "E − Fermi level", "": "E"}
_MARKS: Final = ("disc", "ring", "triangle", "square", "disc")
_WORDS: Final = {
    "source": "Source",
    "method": "Method",
    "formula": "Formula",
    "basis": "Orbital basis",
    "path": "Path",
    "mesh": "k-mesh",
    "smearing": "Smearing",
    "structure_hash": "Structure (SHA-256)",
    "adiabat_version": "adiabat",
}


def bands_page(bands: BandStructure, window: tuple[float, float] | None = None) -> str:
    """HTML of a page about one band structure; ``window`` in eV relative to the zero of the figure."""
    window = window or default_window(bands)
    formula = str(bands.metadata.get("formula", "a crystal"))
    introduction = page.paragraph(gap_sentence(bands, bands.label_of), "lead") + page.key_numbers(band_numbers(bands))
    sections = [Section("bands", "Bands", _band_view(bands, window) + "".join(map(page.paragraph, bands.notes)))]
    if bands.edges is not None:
        sections.append(Section("edges", "Band edges", _edges(bands)))
    if bands.reference is not None and bands.reference.comparison is not None:
        sections.append(Section("reference", "Against the reference", _comparison(bands)))
    sections.append(Section("origin", "Where this comes from", _origin(bands.metadata)))
    return page.document(f"Bands of {formula}", introduction, sections, page.paragraph(_CLOSING))


def dos_page(dos: DensityOfStates, window: tuple[float, float] | None = None) -> str:
    """HTML of a page about one density of states; ``window`` in eV relative to the zero of the figure."""
    window = window or default_window(dos)
    formula = str(dos.metadata.get("formula", "a crystal"))
    introduction = page.paragraph(gap_sentence(dos), "lead") + page.key_numbers(dos_numbers(dos))
    sections = [
        Section("dos", "Density of states", _dos_view(dos, window) + "".join(map(page.paragraph, dos.notes))),
        Section("origin", "Where this comes from", _origin({**dos.metadata, "method of broadening": _broadening(dos)})),
    ]
    return page.document(f"Density of states of {formula}", introduction, sections, page.paragraph(_CLOSING))


_CLOSING: Final = "Made by adiabat from saved results; the HDF5 and CSV files beside this page hold all numbers."


def _band_view(bands: BandStructure, window: tuple[float, float]) -> str:
    bands, numbers = _near(bands, window)
    series = [_line_series(bands, channel, numbers) for channel in range(len(bands.energies))]
    for (name, weights), color, marks in zip(bands.weights.items(), COLORS, _MARKS, strict=False):
        for channel, channel_name in enumerate(bands.channel_names):
            energies = bands.energies[channel].T - bands.zero
            series.append(
                Series(
                    f"{name} {channel_name}".strip(),
                    bands.distances,
                    np.where(np.isfinite(energies), energies, np.nan),
                    marks=marks,
                    color=color,
                    sizes=weights[channel].T,
                )
            )
    if bands.reference is not None:
        series += _reference_series(bands)
    zero = f"E − E_{bands.zero_name}" if bands.zero_name else "E"
    fallback = inline_svg(band_figure(bands, window=window), "static-bands", "The same bands as a figure.")
    return curve_view(
        "band-view",
        Axis(
            "",
            (float(bands.distances[0]), float(bands.distances[-1])),
            ticks=list(zip(bands.tick_positions.tolist(), bands.tick_labels, strict=True)),
            names=[_place(bands, k) for k in range(len(bands.k_frac))],
        ),
        Axis(f"{zero} [eV]", window, unit="eV", symbol=_ZERO[bands.zero_name]),
        series,
        description=f"Bands along {'–'.join(bands.tick_labels)}. {gap_sentence(bands, bands.label_of)}",
        fallback=fallback,
    )


def _near(bands: BandStructure, window: tuple[float, float]) -> tuple[BandStructure, list[int]]:
    """The bands that may be seen when the window is zoomed out, and their numbers from 1; others make a page heavy."""
    span = window[1] - window[0]
    energies = bands.energies - bands.zero
    kept = ((energies > window[0] - span) & (energies < window[1] + span)).any(axis=(0, 1))
    weights = {name: values[:, :, kept] for name, values in bands.weights.items()}
    return replace(bands, energies=bands.energies[:, :, kept], weights=weights), (np.flatnonzero(kept) + 1).tolist()


def _line_series(bands: BandStructure, channel: int, numbers: Sequence[int]) -> Series:
    energies = bands.energies[channel].T - bands.zero
    name = bands.channel_names[channel]
    color = "--muted" if bands.weights else COLORS[0] if channel == 0 else "--ink"
    return Series(
        f"spin {name}" if name else method_name(bands.metadata),
        bands.distances,
        np.where(np.isfinite(energies), energies, np.nan),
        color=color,
        dash=DASHES[channel],
        breaks=[start for start, _ in bands.branches],
        curve_names=[f"band {index}" for index in numbers],
    )


def _reference_series(bands: BandStructure) -> list[Series]:
    reference = bands.reference
    assert reference is not None
    shift = 0.0 if reference.comparison is None else reference.comparison.shift
    placed = np.isfinite(reference.distances)
    found: list[Series] = []
    for channel, marks in zip(range(len(reference.energies)), ("ring", "triangle"), strict=False):
        energies = reference.energies[channel, placed].T - bands.zero - shift
        found.append(
            Series(
                f"{reference.source} {bands.channel_names[channel]}".strip(),
                reference.distances[placed],
                np.where(np.isfinite(energies), energies, np.nan),
                marks="cross" if bands.weights else marks,
                color="--ink" if bands.weights else "--second",
                curve_names=[f"band {index + 1}" for index in range(len(energies))],
            )
        )
    return found


def _place(bands: BandStructure, k: int) -> str:
    """A point in words: Γ, or between Γ and M, with its coordinates."""
    coordinates = ", ".join(f"{component:.3f}".replace("-", "−") for component in bands.k_frac[k] + 0.0)
    at = bands.distances[k]
    here = np.flatnonzero(np.abs(bands.tick_positions - at) < 1e-9)
    if len(here):
        return f"{bands.tick_labels[int(here[0])]} ({coordinates})"
    after = int(np.searchsorted(bands.tick_positions, at))
    start, stop = (bands.tick_labels[index].split("|") for index in (after - 1, after))
    return f"{start[-1]}–{stop[0]} ({coordinates})"


def _dos_view(dos: DensityOfStates, window: tuple[float, float]) -> str:
    energies = dos.grid - dos.zero
    shown = (energies >= window[0]) & (energies <= window[1])
    channels = ("",) if len(dos.total) == 1 else ("↑", "↓")
    series: list[Series] = []
    colors = ("--ink", *COLORS[:4])
    for index, (name, values, _) in enumerate(dos_curves(dos, shown)):
        signs = np.array([[1.0], [-1.0]])[: len(values)]
        series.append(
            Series(
                name,
                energies[shown],
                signs * values[:, shown],
                color=colors[index % len(colors)],
                dash=DASHES[(index + index // len(colors)) % len(DASHES)],
                curve_names=channels if len(values) == 2 else ("",),
            )
        )
    highest = 1.06 * float(dos.total[:, shown].max(initial=0.0)) or 1.0
    zero = f"E − E_{dos.zero_name}" if dos.zero_name else "E"
    return curve_view(
        "dos-view",
        Axis(f"{zero} [eV]", window, unit="eV", symbol=_ZERO[dos.zero_name]),
        Axis("DOS [states/eV/cell]", (-highest if len(dos.total) == 2 else 0.0, highest), unit="states/eV/cell"),
        series,
        description=f"Density of states over energy. {gap_sentence(dos)}",
        fallback=inline_svg(dos_figure(dos, window=window), "static-dos", "The same density as a figure."),
    )


def _edges(bands: BandStructure) -> str:
    edges = bands.edges
    assert edges is not None
    spins = [f" {bands.channel_names[channel]}" if len(bands.energies) == 2 else "" for channel in edges.channels]
    rows = [
        ("Top of the valence bands", f"{edges.vbm:.4f}", _point(bands, edges.k_vbm) + spins[0]),
        ("Bottom of the conduction bands", f"{edges.cbm:.4f}", _point(bands, edges.k_cbm) + spins[1]),
        ("Gap", f"{edges.gap:.4f}", "direct" if edges.is_direct else "indirect"),
        ("Smallest direct gap", f"{edges.direct_gap:.4f}", _point(bands, edges.k_direct)),
    ]
    rows = [tuple(cell.replace("-", "−") for cell in row) for row in rows]
    caption = "Among the points of the path and of the k-mesh; k in fractions of the reciprocal lattice."
    return page.table(caption, ("", "Energy [eV]", "k"), rows)


def _point(bands: BandStructure, k: Array) -> str:
    label = bands.label_of(k)
    coordinates = ", ".join(f"{component:.3f}" for component in np.round(k, 6) + 0.0)
    return f"({coordinates})" if label.startswith("(") else f"{label} ({coordinates})"


def _comparison(bands: BandStructure) -> str:
    reference = bands.reference
    assert reference is not None
    comparison = reference.comparison
    assert comparison is not None
    low, high = comparison.window
    rows = [
        ("Root mean square", number(1000 * comparison.rms), number(1000 * comparison.rms_shifted)),
        ("Largest", "", number(1000 * comparison.largest)),
    ]
    text = (
        f"{comparison.n_states} states of {reference.source} from {low:g} to {high:g} eV about its Fermi level are "
        f"compared, band by band at the same k. The best common shift is {number(1000 * comparison.shift)} meV; a "
        "periodic Hamiltonian leaves the zero of energy open, so differences are given with and without it. The plot "
        "shows the reference without it."
    ).replace("-", "−")
    return page.paragraph(text) + page.table("Differences [meV].", ("", "as they are", "without the shift"), rows)


def _origin(metadata: Mapping[str, Any]) -> str:
    rows: list[tuple[str, str]] = []
    for name, value in metadata.items():
        text = " × ".join(map(str, value)) if isinstance(value, list) else str(value)
        if text:
            rows.append((_WORDS.get(name, name.capitalize().replace("_", " ")), text))
    return page.table("Settings and sources.", ("", ""), rows, numeric=False)


def _broadening(dos: DensityOfStates) -> str:
    return f"{dos.method}, {dos.width:g} eV" if dos.width else dos.method
