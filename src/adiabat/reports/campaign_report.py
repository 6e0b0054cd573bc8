"""The page of an active-learning campaign, from its summary alone."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from adiabat.core.atomic_file import write_atomically
from adiabat.reports import page
from adiabat.reports.campaign_figures import cost_figure, errors_figure, uncertainty_figure
from adiabat.reports.page import KeyNumber, Section
from adiabat.reports.words import count, number

_QUANTITIES: Final = {"forces": ("force", "meV/Å"), "energy": ("energy", "meV"), "stress": ("stress", "meV/Å³")}

Rounds = Sequence[Mapping[str, Any]]


def write_campaign_report(summary: Mapping[str, Any], path: Path) -> None:
    """Write the page, in one piece and only when it is complete.

    Args:
        summary: what ``adiabat campaign status --json`` prints.
        path: of the page.
    """
    write_atomically(path, campaign_page(summary).encode())


def campaign_page(summary: Mapping[str, Any]) -> str:
    """HTML of the whole page."""
    rounds = summary["rounds"]
    sections = [
        Section("errors", "Errors against labels", _errors(summary)),
        Section("uncertainty", "What the model did not know", _uncertainty(rounds)),
        Section("selection", "What was chosen", _selection(rounds)),
        Section("failures", "What could not be labelled", _failures(summary["failures"])),
        Section("cost", "What it cost", _cost(rounds)),
        Section("settings", "Settings and events", _settings(summary)),
    ]
    last = rounds[-1]
    state = "is running" if summary["running"] else "is not running"
    lead = (
        f"The campaign {summary['name']} {state}; it stands in round {last['number']}, phase {last['phase']}. "
        f"{_ending(summary['events'])}"
    )
    introduction = page.paragraph(lead, "lead") + page.key_numbers(_key_numbers(summary))
    closing = page.paragraph("Made by adiabat from the database of the campaign.")
    return page.document(f"Active learning: {summary['name']}", introduction, sections, closing)


def _ending(events: Rounds) -> str:
    ends = [event["text"] for event in events if event["kind"] == "ended"]
    return f"It ended for this reason: {ends[-1]}." if ends else "It has not ended."


def _key_numbers(summary: Mapping[str, Any]) -> list[KeyNumber]:
    cost, tested = summary["cost"], _tested(summary["rounds"], "forces")
    numbers = [KeyNumber("Labels", count(cost["labels"]), "", "computed and kept")]
    if tested:
        last = tested[-1]
        numbers.append(
            KeyNumber(
                "Force error",
                number(1000 * last["errors"]["forces"]["mae"]),
                "meV/Å",
                f"mean absolute, {last['n_test']} test structures",
            )
        )
    numbers.append(KeyNumber("Set aside", count(len(_set_aside(summary["failures"]))), "", "structures"))
    spent = cost["label_seconds"] + cost["training_seconds"]
    numbers.append(KeyNumber("Time", number(spent / 60), "min", "labels and trainings together"))
    return numbers


def _tested(rounds: Rounds, quantity: str) -> list[Mapping[str, Any]]:
    return [item for item in rounds if quantity in item["errors"]]


def _errors(summary: Mapping[str, Any]) -> str:
    rounds, figures = summary["rounds"], []
    for quantity, (word, unit) in _QUANTITIES.items():
        tested = _tested(rounds, quantity)
        if tested:
            labels = [item["n_train"] for item in tested]
            errors = [1000 * item["errors"][quantity]["mae"] for item in tested]
            figures.append(
                page.figure(
                    errors_figure(f"errors-{quantity}", labels, errors, quantity=word, unit=unit),
                    f"Error of the {quantity}.",
                    "Mean absolute, on the test set.",
                )
            )
    if not figures:
        return page.paragraph("There is no test set, or no round is tested yet.")
    growing = page.paragraph(
        "The test set is a share of the campaign's own labels, which grows: its later structures are farther from "
        "the start. The last columns compare two models on the same structures.",
        "note",
    )
    return (growing if summary["config"]["test"]["share"] else "") + page.panels(figures) + _error_table(rounds)


def _error_table(rounds: Rounds) -> str:
    rows = [
        (
            str(item["number"]),
            str(item["n_train"]),
            str(item["n_test"]),
            _milli(item["errors"], "forces"),
            _milli(item["errors"], "energy"),
            _milli(item["errors_before"], "forces"),
            _milli(item["errors_before"], "energy"),
        )
        for item in rounds
        if item["errors"]
    ]
    columns = (
        "Round", "Training labels", "Test structures", "Forces [meV/Å]", "Energy [meV]",
        "Forces, model before [meV/Å]", "Energy, model before [meV]",
    )  # fmt: skip
    return page.table("Mean absolute errors on the test set.", columns, rows)


def _milli(errors: Mapping[str, Mapping[str, float]], name: str) -> str:
    return number(1000 * errors[name]["mae"]) if name in errors else "–"


def _uncertainty(rounds: Rounds) -> str:
    known = [item for item in rounds if item["uncertainties"]]
    if not known:
        return page.paragraph("The candidates have no uncertainties: no round has explored with an uncertain model.")
    figure = uncertainty_figure(
        "uncertainty-rounds",
        [item["number"] for item in known],
        [item["uncertainties"] for item in known],
        [item["selected_uncertainties"] for item in known],
    )
    rows = [
        (
            str(item["number"]),
            count(len(item["uncertainties"])),
            *(number(float(np.quantile(item["uncertainties"], level))) for level in (0.5, 0.95, 1.0)),
            number(float(np.median(item["selected_uncertainties"]))) if item["selected_uncertainties"] else "–",
        )
        for item in known
    ]
    columns = ("Round", "Candidates", "Median", "95 %", "Largest", "Median of the chosen")
    caption = "Largest standard deviation of an atom's force in each candidate [eV/Å]."
    return page.figure(figure, "Uncertainty.", caption) + page.table(caption, columns, rows)


def _selection(rounds: Rounds) -> str:
    rows = [
        (f"{item['number']}: {source}", count(found["candidates"]), count(found["selected"]))
        for item in rounds
        for source, found in item["sources"].items()
    ]
    if not rows:
        return page.paragraph("No candidate yet.")
    return page.table("Candidates by the source that made them.", ("Round and source", "Candidates", "Chosen"), rows)


def _set_aside(failures: Rounds) -> list[Mapping[str, Any]]:
    return [item for item in failures if item["status"] == "set-aside"]


def _failures(failures: Rounds) -> str:
    if not failures:
        return page.paragraph("Every structure that was asked for has its label.")
    rows = [
        (
            f"{item['number']} (round {item['round']})",
            item["status"],
            str(item["attempts"]),
            f"{item['kind']}: {item['got']}",
            item["suggestion"],
        )
        for item in failures
    ]
    columns = ("Job", "State", "Attempts", "Why", "What to try")
    return page.table("Structures whose last attempt failed.", columns, rows, numeric=False)


def _cost(rounds: Rounds) -> str:
    seconds = {
        "labels": [item["labels"]["seconds"] for item in rounds],
        "training": [item["training_seconds"] for item in rounds],
    }
    figure = cost_figure("cost-rounds", [item["number"] for item in rounds], seconds)
    phases = ("explore", "select", "label", "train", "test")
    rows = [
        (str(item["number"]), *(number(item["seconds"][phase], 2) if phase in item["seconds"] else "–"
                                for phase in phases))
        for item in rounds
    ]  # fmt: skip
    return page.figure(figure, "Processor time.", "Labels with all their attempts, and trainings.") + page.table(
        "Wall time of each phase [s], waiting for workers included.", ("Round", *phases), rows
    )


def _settings(summary: Mapping[str, Any]) -> str:
    events = [(event["kind"], event["text"]) for event in summary["events"]]
    return page.folded(
        "The configuration, complete", page.preformatted(json.dumps(summary["config"], indent=2, ensure_ascii=False))
    ) + page.table("Events, in order.", ("What", "Details"), events, numeric=False)
