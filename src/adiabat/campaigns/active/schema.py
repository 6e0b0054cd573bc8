"""The tables of ``campaign.sqlite``."""

from typing import Final

SCHEMA_VERSION: Final = 1
"""Version of the tables; kept in ``PRAGMA user_version``."""

TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE starts (number INTEGER PRIMARY KEY, structure BLOB NOT NULL) STRICT;
CREATE TABLE rounds (
    number INTEGER PRIMARY KEY,
    phase TEXT NOT NULL,
    config TEXT NOT NULL,           -- explore, select and train of this round, as JSON
    seconds TEXT NOT NULL,          -- wall time by phase, as JSON
    results TEXT NOT NULL           -- of phases that are done, as JSON
) STRICT;
CREATE TABLE candidates (
    round INTEGER NOT NULL REFERENCES rounds,
    number INTEGER NOT NULL,
    structure BLOB NOT NULL,
    source TEXT NOT NULL,
    uncertainty REAL,               -- eV/Å
    details TEXT NOT NULL,          -- JSON
    selected INTEGER,               -- place in the order of choice
    PRIMARY KEY (round, number)
) STRICT;
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,     -- order of the final data set
    key TEXT NOT NULL UNIQUE,       -- structure and engine settings
    round INTEGER NOT NULL REFERENCES rounds,
    purpose TEXT NOT NULL CHECK (purpose IN ('train', 'test')),
    origin TEXT NOT NULL CHECK (origin IN ('computed', 'imported')),
    structure BLOB NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('waiting', 'running', 'done', 'failed', 'set-aside')),
    attempts INTEGER NOT NULL DEFAULT 0,
    worker TEXT NOT NULL DEFAULT '',
    seconds REAL NOT NULL DEFAULT 0,
    kind TEXT NOT NULL DEFAULT '',  -- of the last error, and its three parts
    got TEXT NOT NULL DEFAULT '',
    expected TEXT NOT NULL DEFAULT '',
    suggestion TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE labels (
    job INTEGER PRIMARY KEY REFERENCES jobs,
    record BLOB NOT NULL,
    digest TEXT NOT NULL            -- SHA-256 of the record
) STRICT;
CREATE TABLE disputed (             -- labels of jobs that were set aside because two of them disagree
    job INTEGER NOT NULL REFERENCES jobs,
    record BLOB NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (job, digest)
) STRICT;
CREATE TABLE models (
    round INTEGER NOT NULL REFERENCES rounds,
    member INTEGER NOT NULL,
    path TEXT NOT NULL,             -- relative to the campaign
    content_hash TEXT NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (round, member)
) STRICT;
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    time REAL NOT NULL,             -- seconds since 1970
    kind TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX jobs_by_status ON jobs (status);
"""
