"""Raters, what they are to see, and their ratings, in SQLite.

A rater's trials are written when they come, in the order in which they will be seen; a rating
fills the first empty one. So each is stored once, whatever is sent twice or out of turn, and
what has been acknowledged is on the disk.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from jobs.runtime.errors import UsageError
from mos_study.order import Kind, Trial
from mos_study.study import DamagedStudyError

RATINGS_FILE = "ratings.sqlite"
WAIT_SECONDS = 30
SCHEMA = """
CREATE TABLE IF NOT EXISTS raters (
    rater INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    secret_hash TEXT NOT NULL,
    joined TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS trials (
    rater INTEGER NOT NULL REFERENCES raters,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('calibration', 'main', 'repeat')),
    image INTEGER NOT NULL,
    version TEXT NOT NULL,
    rating INTEGER CHECK (rating BETWEEN 1 AND 5),
    rated TEXT,
    PRIMARY KEY (rater, position)
) STRICT, WITHOUT ROWID;
"""


class NameTakenError(UsageError):
    """Somebody of this name rates already."""


class Progress(NamedTuple):
    """How far a rater has come: trials rated, and all."""

    done: int
    total: int


class StoredTrial(NamedTuple):
    """A trial of a rater and what came of it; `rating` and `rated` (ISO 8601) may still lack."""

    rater: int
    name: str
    position: int
    kind: Kind
    image: int
    version: str
    rating: int | None
    rated: str | None


class RatingStore:
    """The database of a study; may be used by several threads and processes.

    Raises:
        DamagedStudyError: the file in the study's folder is no such database.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RATINGS_FILE
        self._local = threading.local()
        # SQLite would make it with the umask's mode; its other files take the mode of this one.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            connection = self._connection()
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            raise DamagedStudyError(f"{self._path}: cannot be used ({error})") from error

    def add_rater(self, name: str, trials: Sequence[Trial]) -> tuple[int, str]:
        """A new rater's number and secret.

        Raises:
            NameTakenError: there is one of this name.
        """
        secret = secrets.token_urlsafe(16)
        # Commits at its end, and takes everything back after an exception.
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                rater = connection.execute(
                    "INSERT INTO raters (name, secret_hash, joined) VALUES (?, ?, ?)",
                    (name, _hash(secret), _now()),
                ).lastrowid
            except sqlite3.IntegrityError as error:
                raise NameTakenError(f"{name}: this name is taken") from error
            assert rater is not None
            connection.executemany(
                "INSERT INTO trials (rater, position, kind, image, version) VALUES (?, ?, ?, ?, ?)",
                [(rater, position, *trial) for position, trial in enumerate(trials)],
            )
        return rater, secret

    def knows(self, rater: int, secret: str) -> bool:
        """Whether this is the secret of that rater."""
        connection = self._connection()
        row = connection.execute(
            "SELECT secret_hash FROM raters WHERE rater = ?", (rater,)
        ).fetchone()
        return row is not None and secrets.compare_digest(row[0], _hash(secret))

    def progress(self, rater: int) -> Progress:
        """How far a rater has come."""
        connection = self._connection()
        row = connection.execute(
            "SELECT COUNT(rating), COUNT(*) FROM trials WHERE rater = ?", (rater,)
        ).fetchone()
        return Progress(*row)

    def trial(self, rater: int, position: int) -> Trial | None:
        """What a rater sees at a position; None behind the end."""
        connection = self._connection()
        row = connection.execute(
            "SELECT kind, image, version FROM trials WHERE rater = ? AND position = ?",
            (rater, position),
        ).fetchone()
        return Trial(*row) if row else None

    def rate(self, rater: int, position: int, rating: int) -> bool:
        """Store a rating, from 1 to 5, if it is this position's turn; whether it was."""
        connection = self._connection()
        changed = connection.execute(
            "UPDATE trials SET rating = ?, rated = ? "
            "WHERE rater = ? AND position = ? AND rating IS NULL "
            "AND position = (SELECT COUNT(rating) FROM trials WHERE rater = ?)",
            (rating, _now(), rater, position, rater),
        ).rowcount
        return changed == 1

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection, in autocommit."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=WAIT_SECONDS, isolation_level=None)
            # With WAL, NORMAL could lose what was acknowledged before a power cut.
            connection.execute("PRAGMA synchronous = FULL")
            self._local.connection = connection
        return connection


def read_trials(folder: Path) -> list[StoredTrial]:
    """Everything that a study's raters saw or will see, by rater and in the order of rating.

    Raises:
        DamagedStudyError: the file is no such database.
    """
    path = folder / RATINGS_FILE
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute(
                "SELECT rater, name, position, kind, image, version, rating, rated "
                "FROM trials JOIN raters USING (rater) ORDER BY rater, position"
            ).fetchall()
    except sqlite3.Error as error:
        raise DamagedStudyError(f"{path}: cannot be read ({error})") from error
    return [StoredTrial(*row) for row in rows]


def _hash(secret: str) -> str:
    # Secrets are random and long: a slow hash would add nothing.
    return hashlib.sha256(secret.encode()).hexdigest()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
