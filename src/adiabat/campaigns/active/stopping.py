"""When a campaign ends: a function of what is known, and of nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adiabat.campaigns.active.config import StopConfig
from adiabat.campaigns.active.rounds import Round


@dataclass(frozen=True)
class Spent:
    """What a campaign has cost.

    Attributes:
        labels: computed, those on their way included.
        seconds: processor time of labels and trainings.
    """

    labels: int
    seconds: float


def reason_to_stop(rounds: Sequence[Round], spent: Spent, config: StopConfig) -> str | None:
    """Why no further label is to be computed, in words; None to go on.

    It is asked between rounds, and after the exploration of a round.

    Args:
        rounds: in order, the last one done or explored.
        spent: until now.
        config: the rules.
    """
    last = rounds[-1]
    if last.phase != "done":
        return _nothing_to_ask(last.results.get("explore"), config)
    tests = [tested for item in rounds if (tested := item.results.get("test", {})).get("errors")]
    if tests:
        for name, unit in (("forces", "eV/Å"), ("energy", "eV")):
            target = getattr(config, name)
            found = tests[-1]["errors"].get(name, {}).get("mae")
            if target is not None and found is not None and found <= target:
                return f"test error of {name} {found:.4g} {unit}, at or below {target:g} {unit}"
    if config.max_labels is not None and spent.labels >= config.max_labels:
        return f"{spent.labels} labels, all that stop.max_labels allows"
    if config.max_cpu_hours is not None and spent.seconds >= 3600 * config.max_cpu_hours:
        return f"{spent.seconds / 3600:.3g} processor hours, all that stop.max_cpu_hours allows"
    if config.patience is not None and _stalled(tests, config.min_gain) >= config.patience:
        return f"no gain on the test set over {config.patience} rounds"
    if last.number and not last.results.get("select", {}).get("n", 1):
        return "no candidate that is not labelled already"
    if last.number >= config.max_rounds:
        return f"{last.number} rounds, all that stop.max_rounds allows"
    return None


def _nothing_to_ask(explored: Mapping[str, Any] | None, config: StopConfig) -> str | None:
    if explored is None:
        return None
    if not explored["n"]:
        return "no candidate from the exploration"
    found = explored.get("uncertainty_p95")
    if config.uncertainty is not None and found is not None and found <= config.uncertainty:
        return f"candidates' uncertainty {found:.4g} eV/Å (95th percentile), at or below {config.uncertainty:g} eV/Å"
    return None


def _stalled(tests: Sequence[Mapping[str, Any]], min_gain: float) -> int:
    """How many of the last rounds had no gain: their model against the one before, on the same test set."""
    stalled = 0
    for tested in tests:
        before = tested["errors_before"]
        name = "forces" if "forces" in before else "energy"
        gained = name not in before or tested["errors"][name]["mae"] <= (1 - min_gain) * before[name]["mae"]
        stalled = 0 if gained else stalled + 1
    return stalled
