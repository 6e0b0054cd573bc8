"""The crystal demo's page and figures: predicted bands and densities of states over those of the reference."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.table import Table

from adiabat.core.atomic_file import write_atomically
from adiabat.reports import crystal_words, page, words
from adiabat.reports.band_figures import band_figure
from adiabat.reports.crystal_demo_results import CrystalDemoResults, Errors, TestedCell
from adiabat.reports.dos_figures import dos_figure
from adiabat.reports.electronic_pages import bands_page, dos_page
from adiabat.reports.electronic_style import png, svg
from adiabat.reports.error_figures import MAX_POINTS, learning_curve_figure, parity_figure
from adiabat.reports.figure_style import inline_svg
from adiabat.reports.page import KeyNumber, Section
from adiabat.reports.results import Parity
from adiabat.reports.run_section import run_section
from adiabat.reports.words import count, number

WINDOW: Final = (-10.0, 8.0)
"""eV from the top of the valence bands that figures show: the bands that evaluation judges, and a little more."""

_SUBSCRIPTS: Final = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

_SOURCES: Final = {
    "cp2k": "computed here with CP2K",
    "shipped": "shipped with the package, computed with CP2K",
    "tight-binding": "a Slater–Koster model, no material",
}


def write_report(results: CrystalDemoResults, path: Path) -> None:
    """Write the page, in one piece and only when it is complete."""
    write_atomically(path, crystal_demo_page(results).encode())


def write_figures(results: CrystalDemoResults, directory: Path) -> None:
    """Write PNG, SVG and an interactive page of every tested cell's bands and densities beside their data."""
    for cell in results.cells:
        figures = {
            "bands": (band_figure(cell.bands, window=WINDOW, dos=cell.dos), bands_page(cell.bands, WINDOW)),
            "dos": (dos_figure(cell.dos, window=WINDOW, reference=cell.reference_dos), dos_page(cell.dos, WINDOW)),
        }
        for name, (figure, html) in figures.items():
            for suffix, content in ((".png", png(figure)), (".svg", svg(figure)), (".html", html.encode())):
                write_atomically(directory / cell.folder / f"{name}{suffix}", content)
    larger = dos_figure(results.larger.dos, window=WINDOW)
    for suffix, content in ((".png", png(larger)), (".svg", svg(larger))):
        write_atomically(directory / "larger-cell" / f"dos{suffix}", content)


def crystal_demo_page(results: CrystalDemoResults) -> str:
    """HTML of the whole page."""
    sections = [
        Section("bands", "Bands and densities of states", _bands(results)),
        Section("accuracy", "How well the model predicts", _accuracy(results)),
        Section("training", "How it learned", _training(results)),
        Section("larger", "A larger cell", _larger(results)),
        Section("limits", "What this run does not show", _limits(results)),
        run_section(results.run, _setting_rows(results.run), results.stages),
    ]
    return page.document(
        "Boron nitride: the Hamiltonian of a crystal, learned", _introduction(results), sections, _closing(results)
    )


def summary_table(results: CrystalDemoResults) -> Table:
    """The errors of each tested cell, for a terminal."""
    title = rf"Errors on cells that the model never saw \[meV]; labels: {_SOURCES[results.run['settings']['source']]}"
    table = Table(title=title, title_justify="left")
    for index, heading in enumerate(_COLUMNS):
        table.add_column(heading, justify="right" if index else "left")
    for row in _error_rows(results):
        table.add_row(*row)
    return table


_COLUMNS: Final = ("Cell", "H", "less μ·S", "Bands", "less a shift", "Gap", "Fermi level")


def _error_rows(results: CrystalDemoResults) -> list[tuple[str, ...]]:
    rows = [_error_row(cell.name, cell.errors) for cell in results.cells]
    return [*rows, _error_row("all", results.errors)]


def _error_row(name: str, errors: Any) -> tuple[str, ...]:
    def cell(quantity: str, kind: str = "mae") -> str:
        found: Errors | None = errors.get(quantity)
        return "–" if found is None else number(getattr(found, kind))

    return (
        name,
        cell("hamiltonian"),
        cell("hamiltonian_shifted"),
        cell("bands", "rmse"),
        cell("bands_shifted", "rmse"),
        cell("gap"),
        cell("fermi_level"),
    )


def _introduction(results: CrystalDemoResults) -> str:
    run = results.run
    sizes = _listed(run["cells"]["train"])
    lead = (
        f"A model was trained on the Hamiltonians of {_total(results, 'train')} distorted cells of a boron nitride "
        f"layer ({sizes}), labelled with {run['method']}. From a structure alone it then predicted the Hamiltonian of "
        f"cells it had not seen, up to {results.cells[-1].n_atoms} atoms; bands, gap and Fermi level follow from that "
        "by linear algebra. Everything on this page was computed in "
        f"{number(sum(results.stages.values()) / 60, 2)} minutes on this machine."
    )
    n_cells = sum(_total(results, part) for part in ("train", "validation", "test"))
    origin = crystal_words.source_words(run["settings"]["source"], run["code"], results.stages["labels"], n_cells)
    return page.paragraph(lead, "lead") + page.paragraph(origin) + page.key_numbers(_key_numbers(results))


def _key_numbers(results: CrystalDemoResults) -> list[KeyNumber]:
    errors = results.errors
    numbers = [
        KeyNumber(
            "Hamiltonian error",
            number(errors["hamiltonian_shifted"].mae),
            "meV",
            f"mean absolute, an element, less μ·S; {number(errors['hamiltonian'].mae)} with it",
        ),
        KeyNumber(
            "Band error", number(errors["bands"].rmse), "meV", "root mean square, within 5 eV of the Fermi level"
        ),
    ]
    if "gap" in errors:
        numbers.append(KeyNumber("Gap error", number(errors["gap"].mae), "meV", f"mean absolute, {_n(results)} cells"))
    numbers += [
        KeyNumber(
            "Fermi level error", number(errors["fermi_level"].mae), "meV", "mean absolute, from the electron count"
        ),
        KeyNumber("To predict H", number(1000 * results.predict_seconds, 2), "ms", "a tested cell, on average"),
    ]
    return numbers


def _n(results: CrystalDemoResults) -> int:
    return len(results.cells)


def _bands(results: CrystalDemoResults) -> str:
    intro = (
        f"Lines are the model's, circles are the reference's, {results.run['method']}. Energies count from the top of "
        "the valence bands, or from the Fermi level where there is no gap. Beside the bands stands the density of "
        "states, total and its parts on the two elements."
    )
    return page.paragraph(intro) + "".join(_cell_figures(cell) for cell in results.cells)


def _cell_figures(cell: TestedCell) -> str:
    name = f"cell-{cell.folder.rpartition('/')[2]}"
    reference = cell.bands.reference
    assert reference is not None
    comparison = reference.comparison
    assert comparison is not None
    how_far = (
        f"Along this path, {comparison.n_states} states within 5 eV of the Fermi level differ by "
        f"{number(1000 * comparison.rms)} meV (root mean square)"
    )
    path = "–".join(cell.bands.tick_labels).translate(_SUBSCRIPTS)
    sentence = f"{how_far}. Gap: {_gap(cell.dos)} predicted, {_gap(cell.reference_dos)} in the reference."
    bands = inline_svg(
        band_figure(cell.bands, window=WINDOW, dos=cell.dos), f"{name}-bands", f"Bands of {cell.name}. {how_far}."
    )
    densities = inline_svg(
        dos_figure(cell.dos, window=WINDOW, reference=cell.reference_dos),
        f"{name}-dos",
        f"Density of states of {cell.name}, {cell.n_atoms} atoms, predicted and reference.",
    )
    files = [
        (title, f"{cell.folder}/{file}")
        for title, file in (
            ("interactive bands", "bands.html"),
            ("interactive density of states", "dos.html"),
            ("bands as a table", "bands.csv"),
            ("bands for print", "bands.svg"),
        )
    ]
    return (
        f"<h3>{cell.name}</h3>"
        + page.paragraph(sentence)
        + page.panels(
            [
                page.figure(bands, "Bands", f"along {path}."),
                page.figure(densities, "Density of states.", "Circles are the reference, about its own zero."),
            ]
        )
        + page.links("In files beside this page:", files)
    )


def _gap(dos: Any) -> str:
    return "none" if dos.edges is None else f"{dos.edges.gap:.3f} eV"


def _accuracy(results: CrystalDemoResults) -> str:
    errors, largest = results.errors, results.cells[-1]
    typical = 1000 * float(np.abs(results.hamiltonian.reference).mean())
    text = [
        crystal_words.matrix_words(
            errors["hamiltonian"].mae, errors["hamiltonian_shifted"].mae, typical, results.smallest_overlap
        ),
        crystal_words.band_words(
            errors["bands"].rmse, errors["bands_shifted"].rmse, errors["bands"].largest, errors["bands"].count
        ),
        crystal_words.level_words(errors["gap"].mae if "gap" in errors else None, errors["fermi_level"].mae),
        crystal_words.size_words(
            float(results.validation_error.min()), largest.errors["hamiltonian"].mae, largest.n_atoms
        ),
    ]
    here, there = results.same_atom, ~results.same_atom
    figures = [
        _parity("within", "Within atoms.", _some(results.hamiltonian, here), "H"),
        _parity("between", "Between atoms.", _some(results.hamiltonian, there), "H"),
        _parity("energies", "Bands.", results.energies, "energy"),
    ]
    reading = (
        "Above, the dashed line is perfect agreement. Below, the same errors on a scale on which they can be seen. Of "
        f"the matrix elements a random {count(len(results.hamiltonian.reference))} are kept, of which at most "
        f"{count(MAX_POINTS)} a figure are drawn."
    )
    table = page.table(
        "Errors of each cell [meV]: mean absolute for H, gap and Fermi level, root mean square for bands.",
        _COLUMNS,
        _error_rows(results),
    )
    return (
        "".join(page.paragraph(line) for line in text) + table + page.panels(figures) + page.paragraph(reading, "note")
    )


def _some(values: Parity, chosen: Any) -> Parity:
    return Parity(values.reference[chosen], values.predicted[chosen])


def _parity(name: str, title: str, values: Parity, quantity: str) -> str:
    drawn = parity_figure(
        f"parity-{name}",
        values.reference,
        values.predicted,
        quantity=quantity,
        unit="eV",
        error_unit="meV",
        error_scale=1000.0,
        source="reference",
    )
    return page.figure(drawn, title, f"{count(len(values.reference))} values.")


def _training(results: CrystalDemoResults) -> str:
    curves, units = {"the Hamiltonian": results.validation_error}, {"the Hamiltonian": "meV"}
    said = words.learning_words(results.steps, curves, units, results.stages["training"], "cells")
    drawn = learning_curve_figure(
        "learning", results.steps, results.validation_error, quantity="Hamiltonian", unit="meV", structures="cells"
    )
    before = (
        "Before the first step, two parts of the Hamiltonian were fitted by least squares: smooth functions of the "
        "distance for every Slater–Koster integral between atoms, and a sum over neighbors within an atom. The network "
        "learned what these leave."
    )
    title = "Hamiltonian error"
    caption = f"on {_total(results, 'validation')} validation cells; logarithmic axis."
    return page.paragraph(before) + page.paragraph(said) + page.panels([page.figure(drawn, title, caption)])


def _larger(results: CrystalDemoResults) -> str:
    larger, smallest = results.larger, results.cells[0]
    gap, small = (dos.edges.gap if dos.edges is not None else None for dos in (larger.dos, smallest.dos))
    said = crystal_words.larger_words(
        larger.n_atoms, larger.n_orbitals, larger.predict_seconds, larger.solve_seconds, gap, small or 0.0
    )
    drawn = inline_svg(
        dos_figure(larger.dos, window=WINDOW), "larger-dos", f"Predicted density of states of {larger.n_atoms} atoms."
    )
    return page.paragraph(said) + page.figure(drawn, "Density of states.", f"Predicted, {larger.n_atoms} atoms.")


def _limits(results: CrystalDemoResults) -> str:
    method = results.run["method"]
    points = (
        "One material, one layer of it, near its equilibrium. Defects, edges and other phases were not in the data.",
        f"The model can be no better than {method}. Kohn–Sham gaps are smaller than measured ones, and excitons, which "
        "rule the optics of layers, are in neither.",
        "The tested cells come from the same recipe as the training cells, but for their size; cells further from "
        "equilibrium will be worse.",
        f"{_n(results)} tested cells and one seed: the third digit of these errors means nothing.",
    )
    return page.bullets(points)


def _setting_rows(run: dict[str, Any]) -> list[tuple[str, str]]:
    """Settings in the words of a reader."""
    settings, cells = run["settings"], run["cells"]
    uses = (("train", "Training cells"), ("validation", "Validation cells"), ("test", "Test cells"))
    return [
        ("Labels", _SOURCES[settings["source"]]),
        ("Method", f"{run['method']}, {run['code']}"),
        *((title, f"{sum(n for _, n in cells[part])}: {_listed(cells[part])}") for part, title in uses),
        ("Distortions", "strain up to 3 %, displacements of 0.05 Å (standard deviation of a coordinate)"),
        ("Training", f"{count(settings['training_steps'])} steps of {settings['batch_size']} cells"),
        ("Seed", str(settings["seed"])),
    ]


def _listed(sizes: list[list[int]]) -> str:
    return ", ".join(f"{n} of {size} atoms" for size, n in sizes)


def _total(results: CrystalDemoResults, part: str) -> int:
    return sum(n for _, n in results.run["cells"][part])


def _closing(results: CrystalDemoResults) -> str:
    settings, versions = results.run["settings"], results.run["versions"]
    option = {"cp2k": "--cp2k", "shipped": "--no-cp2k", "tight-binding": "--fast"}[settings["source"]]
    return page.paragraph(
        f"Made by adiabat {versions['adiabat']}. The run directory holds every number of this page: labels, model, "
        f"bands and densities. To repeat it: adiabat demo-crystal {option} --seed {settings['seed']} -o <new directory>"
    )
