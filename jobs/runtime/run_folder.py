"""The run folder: one folder that receives everything a run leaves behind.

    options.json   the resolved options
    log.txt        what the job and Spark said
    result.json    written last, in one atomic step

A folder on hdfs:// (or any other file system fsspec knows) is mirrored: the work happens in a
local staging folder, and `publish` copies what is new.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jobs.runtime import remote
from jobs.runtime.errors import UnavailableError, UsageError
from jobs.runtime.files import write_atomically
from jobs.runtime.lock import FolderLock
from jobs.runtime.strict_json import to_json
from jobs.runtime.text import as_text, in_one_line

logger = logging.getLogger(__name__)

OPTIONS_FILE = "options.json"
RESULT_FILE = "result.json"
LOG_FILE = "log.txt"
LOCK_FILE = ".lock"


class RunFolder:
    """A locked run folder."""

    def __init__(self, path: Path, url: str, locks: Sequence[FolderLock]) -> None:
        self.path = path
        """The local folder to write into."""
        self.url = url
        """Where the user asked for it; equal to `path` unless that is remote."""
        self._locks = locks
        self._mirrored: dict[str, remote.Mark] = {}

    @classmethod
    def open(cls, job: str, run_dir: str | None, *, workers_write: bool = False) -> RunFolder:
        """Create or reopen the folder and take its lock.

        Args:
            job: names the default folder.
            run_dir: where the user wants it, local or remote; None: a new one below runs/.
            workers_write: the job's workers write into a remote folder themselves; only the
                files of the frame around the job, at its top, are mirrored.

        Raises:
            BusyError: another run holds it.
            JobError: it cannot be created or written.
            UsageError: its name is no text.
        """
        url = remote.plain_path(run_dir) if run_dir else _new_folder(job)
        path = _staging_folder(url) if remote.is_remote(url) else Path(url).absolute()
        for name in (url, str(path)):
            if as_text(name) != name:
                raise UsageError(
                    f"--run-dir {in_one_line(name)}: Java cannot write into a folder whose name "
                    "is no UTF-8; choose another"
                )
        locks = [FolderLock(str(path), LOCK_FILE, "--run-dir")]
        folder = cls(path, url if remote.is_remote(url) else str(path), locks)
        if remote.is_remote(url):
            try:
                locks.append(FolderLock(url, LOCK_FILE, "--run-dir"))
            except BaseException:
                folder.close()
                raise
            # What a killed run left here may be older than what is there, or another run's.
            folder._empty()
            folder._mirrored = remote.download_folder(
                url, path, top_only=workers_write, skip=LOCK_FILE
            )
        return folder

    def clear(self) -> None:
        """Delete everything in the folder but its lock (--fresh)."""
        self._empty()
        if self.url != str(self.path):
            remote.delete_content(self.url, but=LOCK_FILE)
            self._mirrored = {}

    def finished_result(
        self,
        options: Mapping[str, Any],
        may_grow: Collection[str] = (),
        defaults: Mapping[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        """The result of a run that has already ended well with these very options, if any.

        Args:
            options: the resolved options.
            may_grow: names of numbers of which more is asked for to go on with the run.
            defaults: what options stood for that an earlier version did not have.

        Raises:
            UsageError: the folder belongs to a run with other options.
        """
        stored = self._read(OPTIONS_FILE)
        if stored is not None:
            stored = {**(defaults or {}), **stored}
            # What is stored went through JSON, which changes names that are no text.
            options = json.loads(to_json(options))
            changed = [name for name in options if stored.get(name) != options[name]]
            if changed and all(
                name in may_grow and _is_more(options[name], stored.get(name)) for name in changed
            ):
                return None
            if changed:
                names = ", ".join(
                    f"{name} (was {stored.get(name)!r}, is {options[name]!r})" for name in changed
                )
                raise UsageError(
                    f"{self.url} holds a run with other options: {names}; "
                    "choose another --run-dir, or start over with --fresh"
                )
        result = self._read(RESULT_FILE)
        return result if result is not None and result.get("status") == "ok" else None

    def write_options(self, options: Mapping[str, Any]) -> None:
        """Store the resolved options."""
        write_atomically(self.path / OPTIONS_FILE, to_json(options, indent=2) + "\n")

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write result.json as the last act, after everything else is published."""
        self.publish()
        write_atomically(self.path / RESULT_FILE, to_json(result, indent=2) + "\n")
        self.publish()

    def publish(self) -> None:
        """Copy what is new to the remote folder (nothing to do for a local one)."""
        if self.url != str(self.path):
            self._mirrored = remote.upload_folder(
                self.path, self.url, skip=LOCK_FILE, last=RESULT_FILE, known=self._mirrored
            )

    def close(self) -> None:
        """Release the lock; a killed process releases it too."""
        for lock in self._locks:
            # Who cannot be told takes it back by himself, see FolderLock.
            with contextlib.suppress(UnavailableError):
                lock.close()

    def _empty(self) -> None:
        for entry in self.path.iterdir():
            if entry.name == LOCK_FILE:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            text = (self.path / name).read_text(encoding="utf-8")
            # Earlier versions wrote NaN and Infinity.
            return json.loads(text, parse_constant=lambda _: None)
        except FileNotFoundError:
            return None
        except json.JSONDecodeError:
            logger.warning("%s/%s is damaged and is ignored", self.url, name)
            return None


def _is_more(value: Any, than: Any) -> bool:
    return isinstance(value, int) and isinstance(than, int) and value > than


def _new_folder(job: str) -> str:
    base = os.path.join("runs", job, f"{datetime.now():%Y%m%d-%H%M%S}")
    names = itertools.chain([base], (f"{base}-{number}" for number in itertools.count(2)))
    return next(name for name in names if not os.path.exists(name))


def _staging_folder(url: str) -> Path:
    # Named after the URL, so that a killed run finds its lock and its files again.
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"spark-jobs-{os.getuid()}" / name
