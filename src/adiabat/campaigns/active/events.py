"""What happened in a campaign, line by line, for people."""

import time

from adiabat.campaigns.active.database import Database


def log_event(database: Database, kind: str, text: str) -> None:
    """Add a line, within a transaction."""
    database.execute("INSERT INTO events (time, kind, text) VALUES (?, ?, ?)", time.time(), kind, text)
