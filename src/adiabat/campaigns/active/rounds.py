"""Rounds and their phases in the database. A phase's results and the step to the next one are one transaction."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from adiabat.campaigns.active.database import Database
from adiabat.campaigns.active.structures import decode_structure, encode_structure
from adiabat.campaigns.exploration.candidate import Candidate

Phase = Literal["explore", "select", "label", "train", "test", "done"]

PHASES: Final[tuple[Phase, ...]] = ("explore", "select", "label", "train", "test", "done")
"""In order. Round 0 has no exploration: its candidates are the start structures."""


@dataclass(frozen=True)
class Round:
    """One round.

    Attributes:
        number: 0-based; round 0 makes the first labels and the first model.
        phase: what is to be done next.
        config: its ``explore``, ``select`` and ``train`` as JSON.
        seconds: wall time by phase that is done.
        results: of phases that are done.
    """

    number: int
    phase: Phase
    config: Mapping[str, Any]
    seconds: Mapping[str, float]
    results: Mapping[str, Any]


class Rounds:
    """The rounds of a campaign."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._phase_began = time.monotonic()

    def all(self) -> list[Round]:
        """In order."""
        return [_round(row) for row in self._database.rows("SELECT * FROM rounds ORDER BY number")]

    def last(self) -> Round:
        """The one that the campaign is in."""
        return self.all()[-1]

    def begin(self, number: int, config: Mapping[str, Any]) -> None:
        """Add a round, within a transaction."""
        phase = "explore" if number else "select"
        self._database.execute("INSERT INTO rounds VALUES (?, ?, ?, '{}', '{}')", number, phase, json.dumps(config))

    def start_clock(self) -> None:
        """Count the time of the current phase from now."""
        self._phase_began = time.monotonic()

    def add_seconds(self) -> None:
        """Add the time of a phase that is left before its end, within a transaction."""
        now = self.last()
        self._database.execute(
            "UPDATE rounds SET seconds = ? WHERE number = ?", json.dumps(self._seconds(now)), now.number
        )
        self.start_clock()

    def advance(self, results: Mapping[str, Any]) -> None:
        """Note results of the current phase and step to the next, within a transaction."""
        now = self.last()
        following = PHASES[PHASES.index(now.phase) + 1]
        self._database.execute(
            "UPDATE rounds SET phase = ?, seconds = ?, results = ? WHERE number = ?",
            following,
            json.dumps(self._seconds(now)),
            json.dumps({**now.results, now.phase: results}),
            now.number,
        )
        self.start_clock()

    def _seconds(self, now: Round) -> dict[str, float]:
        spent = time.monotonic() - self._phase_began
        return {**now.seconds, now.phase: now.seconds.get(now.phase, 0.0) + spent}

    def add_candidates(self, number: int, candidates: Sequence[Candidate]) -> None:
        """Store a round's candidates, within a transaction."""
        for index, candidate in enumerate(candidates):
            self._database.execute(
                "INSERT INTO candidates VALUES (?, ?, ?, ?, ?, ?, NULL)",
                number,
                index,
                encode_structure(candidate.structure),
                candidate.source,
                candidate.uncertainty,
                json.dumps(dict(candidate.details)),
            )

    def candidates(self, number: int) -> list[Candidate]:
        """A round's candidates."""
        rows = self._database.rows("SELECT * FROM candidates WHERE round = ? ORDER BY number", number)
        return [
            Candidate(decode_structure(row["structure"]), row["source"], row["uncertainty"], json.loads(row["details"]))
            for row in rows
        ]

    def mark_selected(self, number: int, chosen: Sequence[int]) -> None:
        """Note the order of choice, within a transaction."""
        for place, index in enumerate(chosen):
            self._database.execute(
                "UPDATE candidates SET selected = ? WHERE round = ? AND number = ?", place, number, index
            )


def _round(row: Any) -> Round:
    return Round(
        row["number"], row["phase"], json.loads(row["config"]), json.loads(row["seconds"]), json.loads(row["results"])
    )
