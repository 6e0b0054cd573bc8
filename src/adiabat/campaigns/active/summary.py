"""A campaign as plain JSON values, read from its database alone: what status shows and reports draw."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adiabat.campaigns.active.config import CampaignConfig
from adiabat.campaigns.active.database import Database
from adiabat.campaigns.active.driver_lock import is_driven
from adiabat.campaigns.active.files import CampaignFiles
from adiabat.campaigns.active.rounds import Round, Rounds

_ERRORS = ("energy", "forces", "stress", "hamiltonian")


def summarise(directory: str | Path) -> dict[str, Any]:
    """Read a campaign; it may be running.

    Returns: ``name``, ``config``, ``running``, ``rounds`` (one dictionary each, see :func:`_round`), ``failures``,
        ``jobs`` by status, ``events`` and ``cost``.

    Raises:
        StoreError, SchemaVersionError: see :class:`Database`.
    """
    files = CampaignFiles(Path(directory).absolute())
    database = Database(files.database, readonly=True)
    try:
        row = database.row("SELECT value FROM meta WHERE name = 'config'")
        assert row is not None
        config = CampaignConfig.model_validate_json(row["value"])
        statuses = database.rows(
            "SELECT CASE WHEN origin = 'imported' THEN 'taken over' ELSE status END AS status, COUNT(*) AS n"
            " FROM jobs GROUP BY 1"
        )
        return {
            "name": config.name,
            "config": config.model_dump(mode="json"),
            "running": is_driven(files.directory),
            "rounds": [_round(database, item) for item in Rounds(database).all()],
            "jobs": {row["status"]: row["n"] for row in statuses},
            "failures": _failures(database),
            "events": [dict(row) for row in database.rows("SELECT time, kind, text FROM events ORDER BY number")],
            "cost": _cost(database),
        }
    finally:
        database.close()


def _round(database: Database, item: Round) -> dict[str, Any]:
    """One round: labels until now, what became of its own, its candidates and its test."""
    jobs = database.rows(
        "SELECT purpose, origin, status, seconds FROM jobs WHERE round = ? ORDER BY number", item.number
    )
    computed = [row for row in jobs if row["origin"] == "computed"]
    candidates = database.rows(
        "SELECT source, uncertainty, selected FROM candidates WHERE round = ? ORDER BY number", item.number
    )
    tested = item.results.get("test", {})
    sources = Counter(row["source"] for row in candidates)
    selected = Counter(row["source"] for row in candidates if row["selected"] is not None)
    return {
        "number": item.number,
        "phase": item.phase,
        "n_train": int(
            database.number(
                "SELECT COUNT(*) FROM labels JOIN jobs ON job = jobs.number WHERE purpose = 'train' AND round <= ?",
                item.number,
            )
        ),
        "labels": {
            "asked": len(computed),
            "done": sum(row["status"] == "done" for row in computed),
            "set_aside": sum(row["status"] == "set-aside" for row in computed),
            "seconds": sum(row["seconds"] for row in computed),
        },
        "training_seconds": database.number("SELECT SUM(seconds) FROM models WHERE round = ?", item.number),
        "seconds": dict(item.seconds),
        "sources": {name: {"candidates": n, "selected": selected[name]} for name, n in sorted(sources.items())},
        "uncertainties": [row["uncertainty"] for row in candidates if row["uncertainty"] is not None],
        "selected_uncertainties": [
            row["uncertainty"] for row in candidates if row["uncertainty"] is not None and row["selected"] is not None
        ],
        "errors": _main(tested.get("errors", {})),
        "errors_before": _main(tested.get("errors_before", {})),
        "n_test": tested.get("n_structures", 0),
        "spread": tested.get("spread"),
    }


def _main(errors: Mapping[str, Any]) -> dict[str, Any]:
    return {name: errors[name] for name in _ERRORS if name in errors}


def _failures(database: Database) -> list[dict[str, Any]]:
    rows = database.rows(
        "SELECT number, round, status, attempts, worker, kind, got, expected, suggestion FROM jobs"
        " WHERE kind != '' ORDER BY number"
    )
    return [dict(row) for row in rows]


def _cost(database: Database) -> dict[str, float]:
    return {
        "label_seconds": database.number("SELECT SUM(seconds) FROM jobs"),
        "training_seconds": database.number("SELECT SUM(seconds) FROM models"),
        "labels": database.number("SELECT COUNT(*) FROM jobs WHERE origin = 'computed' AND status = 'done'"),
        "failed_attempts": database.number("SELECT SUM(attempts) FROM jobs"),
    }
