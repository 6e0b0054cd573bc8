"""The section of a page that says how its run was made: settings, times, software."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adiabat.reports import page
from adiabat.reports.page import Section
from adiabat.reports.words import number


def run_section(run: Mapping[str, Any], settings: Sequence[tuple[str, str]], stages: Mapping[str, float]) -> Section:
    """Settings in the words of a reader, the complete training configuration, times, and software.

    Args:
        run: with ``training``, ``versions`` and ``machine``, as saved.
        settings: name and value of each setting that a reader wants to know.
        stages: seconds by stage, in order.
    """
    times = [(name, number(seconds, 3)) for name, seconds in stages.items()]
    times.append(("all", number(sum(stages.values()), 3)))
    versions = [(name, str(version)) for name, version in run["versions"].items()]
    versions.append(("machine", run["machine"]))
    body = (
        "<h3>Settings</h3>"
        + page.table("What the run was asked for.", ("Setting", "Value"), settings, numeric=False)
        + page.folded(
            "The configuration of the training run, complete", page.preformatted(json.dumps(run["training"], indent=2))
        )
        + "<h3>Time</h3>"
        + page.table("Wall time of each stage; a resumed stage counts all its parts.", ("Stage", "Seconds"), times)
        + "<h3>Versions</h3>"
        + page.table("Software and machine.", ("What", "Version"), versions, numeric=False)
    )
    return Section("settings", "Settings, versions and times", body)
