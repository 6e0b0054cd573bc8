"""Where a campaign stands, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_SHOWN_FAILURES: Final = 10


def status_parts(summary: Mapping[str, Any]) -> list[Table | Text]:
    """What ``adiabat campaign status`` prints.

    Args:
        summary: see ``campaigns.active.summary.summarise``.
    """
    parts: list[Table | Text] = [_heading(summary), _rounds(summary["rounds"])]
    if summary["failures"]:
        parts.append(_failures(summary["failures"]))
    parts += [Text(f"{event['kind']}: {event['text']}", style="dim") for event in summary["events"][-5:]]
    return parts


def _heading(summary: Mapping[str, Any]) -> Text:
    last = summary["rounds"][-1]
    state = "running" if summary["running"] else "not running"
    jobs = ", ".join(f"{n} {status}" for status, n in sorted(summary["jobs"].items())) or "none yet"
    return Text(f"{summary['name']}: {state}, round {last['number']}, phase {last['phase']}; labels: {jobs}", "bold")


def _rounds(rounds: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="rounds", title_justify="left")
    for name in (
        "round",
        "train",
        "labels",
        "set aside",
        "σ 95 % [eV/Å]",
        "F [meV/Å]",
        "E [meV]",
        "label s",
        "train s",
    ):
        table.add_column(escape(name), justify="right")  # Rich would take a unit in brackets for its markup
    for item in rounds:
        labels, errors = item["labels"], item["errors"]
        found = item["uncertainties"]
        table.add_row(
            str(item["number"]),
            str(item["n_train"]),
            f"{labels['done']}/{labels['asked']}",
            str(labels["set_aside"]),
            f"{np.quantile(found, 0.95):.3f}" if found else "–",
            _milli(errors, "forces"),
            _milli(errors, "energy"),
            f"{labels['seconds']:.0f}",
            f"{item['training_seconds']:.0f}",
        )
    return table


def _milli(errors: Mapping[str, Mapping[str, float]], name: str) -> str:
    return f"{1000 * errors[name]['mae']:.1f}" if name in errors else "–"


def _failures(failures: Sequence[Mapping[str, Any]]) -> Table:
    shown = failures[:_SHOWN_FAILURES]
    title = "failures" if len(shown) == len(failures) else f"failures, the first {len(shown)} of {len(failures)}"
    table = Table(title=title, title_justify="left")
    for name in ("job", "round", "attempts", "state", "why"):
        table.add_column(name, overflow="fold")
    for item in shown:
        why = Text(f"{item['kind']}: {item['got']}\nexpected: {item['expected']}\ntry: {item['suggestion']}")
        table.add_row(str(item["number"]), str(item["round"]), str(item["attempts"]), item["status"], why)
    return table
