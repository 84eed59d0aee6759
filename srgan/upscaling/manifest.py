"""What made each result, in a file of the output folder: done is recorded, not guessed.

Lines of JSON. The first says whose results these are, the others what is known of each:

    {"model": SHA-256 of the model, "options": text}
    {"name": ..., "source": [bytes, ns, ns], "sha256": of the source's content, "result": bytes}

Before a file is upscaled, its line has no "result", and "was" says what lies in the result's place.
Results come into their places in one step, so whatever else lies there later is the result, even
if nobody was left to note it down. A job appends a line for each result, and replaces the whole
file when it begins and ends.

A source is unchanged while its bytes, the time of its last change and, on local disks, that of any
change to it (ctime, which nobody can set back) are those in the record: to read every source every
night would take hours for a terabyte. Where only times differ, the content decides.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any, NamedTuple

from srgan.errors import BadDataError, OptionsError
from srgan.listing import Listing, Version, everything, list_folder
from srgan.storage import exists, file_system, is_remote, join, read_bytes, write_atomically
from srgan.upscaling.pieces import Entry

MANIFEST = ".upscale.json"
"""So earlier versions called it, which wrote the first line alone."""
WRITE_SECONDS = 30.0
"""At least, between two writes where files cannot be appended to."""


@dataclass(frozen=True)
class Record:
    """What is known of a result."""

    source: Version
    """Version of the file that it was made from."""
    sha256: str | None
    """Of the content of that file; None where an earlier version made the result."""
    result: int | None
    """Size of the result in bytes; None while it is to be made."""
    was: Version | None = None
    """Size and time of what lies in its place until it is made; None for nothing."""


class Status(NamedTuple):
    """What there is to do."""

    waiting: Sequence[Entry]
    """What is new or has changed; if it has a digest, only if its content has another one."""
    done: int
    """How many results are in their places, as they were written."""
    taken_over: int
    """How many of these nobody has recorded: they are newer than their sources."""
    blocked: Sequence[tuple[Entry, str]]
    """What has no place for its result, and why."""
    spoilt: Sequence[Entry]
    """Which of the waiting have not changed: their results are not as they were written."""


class Manifest:
    """The manifest of an output folder that nobody else writes into."""

    def __init__(self, output: str, model: bytes, options: str = "", fresh: bool = False) -> None:
        """Read it, and look at what lies in the folder.

        Args:
            output: folder for the results, local or a URL.
            model: a model file's content.
            options: text of all else that results depend on; empty while that is at its defaults.
            fresh: nothing that lies there counts as done.

        Raises:
            OptionsError: what lies there is another model's, or of other options.
            BadDataError: the manifest is damaged.
            MissingDataError: the folder or the manifest may not be read.
        """
        self._output = output
        self._path = join(output, MANIFEST)
        self._header = {"model": hashlib.sha256(model).hexdigest(), "options": options}
        self._records: dict[str, Record] = {}
        self._is_written = False
        self._next_write = 0.0
        self._journal: IO[bytes] | None = None
        there = list_folder(output, everything) if exists(output) else Listing()
        self._results = {file.name: file for file in there.files}
        self._folders = frozenset(there.folders)
        self._unreadable = {one.name: one.reason for one in there.unusable if one.is_folder}
        if fresh:
            for file in there.files:
                self._records[file.name] = Record((), None, None, file.version[:2])
        elif exists(self._path):
            self._read()

    def status(self, entries: Iterable[Entry]) -> Status:
        """What is to be done of the entries."""
        waiting: list[Entry] = []
        blocked: list[tuple[Entry, str]] = []
        spoilt: list[Entry] = []
        done = taken_over = 0
        for entry in entries:
            place = self._place(entry)
            reason = self._in_the_way(place)
            result, record = self._results.get(place), self._records.get(place)
            if reason is not None:
                blocked.append((entry, reason))
            elif result is None or not result.size:
                waiting.append(entry)
            elif record is None and result.modified >= int(entry.version[1]):
                # By an earlier version, or by others: their times are all that there is to go by.
                self._set(place, Record(entry.version, None, result.size))
                done, taken_over = done + 1, taken_over + 1
            elif record is None or record.result is None or _has_changed(entry, record):
                waiting.append(entry)
            elif record.result != result.size:
                waiting.append(entry)
                spoilt.append(entry)
            elif entry.version == record.source or record.sha256 is None:
                done += 1
            else:
                waiting.append(replace(entry, digest=record.sha256))
        return Status(
            waiting=waiting, done=done, taken_over=taken_over, blocked=blocked, spoilt=spoilt
        )

    def unchanged(self, entry: Entry) -> None:
        """Note that a source has the content that its result was made from."""
        place = self._place(entry)
        self._set(place, replace(self._records[place], source=entry.version))

    def begin(self, entries: Sequence[Entry]) -> None:
        """Note what is about to be upscaled.

        Args:
            entries: their digests are those of the content.

        Raises:
            WriteError: the manifest cannot be written.
        """
        if not entries:
            return
        for entry in entries:
            place = self._place(entry)
            there = self._results.get(place)
            was = None if there is None else there.version[:2]
            self._set(place, Record(entry.version, entry.digest, None, was))
        self._write()
        if not is_remote(self._path):
            self._journal = open(file_system(self._path)[1], "ab", buffering=0)  # noqa: SIM115

    def finished(self, entry: Entry, size: int) -> None:
        """Note that a result of so many bytes is in its place.

        Raises:
            OSError: the manifest cannot be written.
        """
        place = self._place(entry)
        record = replace(self._records[place], result=size, was=None)
        self._set(place, record)
        if self._journal is not None:
            self._journal.write(_line(place, record))
        elif time.monotonic() > self._next_write:
            self._write()

    def close(self) -> None:
        """Write what is not yet written.

        Raises:
            WriteError: the manifest cannot be written.
        """
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if not self._is_written:
            self._write()

    def _set(self, place: str, record: Record) -> None:
        self._records[place] = record
        self._is_written = False

    def _read(self) -> None:
        data = read_bytes(self._path)
        first, *lines = [_parsed(line) for line in data.splitlines()] or [None]
        if first is None or not isinstance(first.get("model"), str):
            raise BadDataError(
                f"{self._path}: damaged; delete it to go by the times of the results, or do all of "
                "them again with --fresh"
            )
        if first["model"] != self._header["model"]:
            raise OptionsError(
                f"--output {self._output} holds results of another model; choose another folder, "
                "or do all of them again with --fresh"
            )
        options, before = self._header["options"], first.get("options", "")
        if before != options:
            raise OptionsError(
                f"--output {self._output} holds results of other options (was "
                f"{before or 'defaults'}, is {options or 'defaults'}); choose another folder, or "
                "do all of them again with --fresh"
            )
        for line in lines:
            # A line may be cut off where the machine lost its power.
            record = None if line is None else _record(line)
            if line is not None and record is not None:
                self._records[line["name"]] = record
        self._is_written = data == self._content()
        for place, record in list(self._records.items()):
            self._settle(place, record)

    def _settle(self, place: str, record: Record) -> None:
        """See whether a result has come into its place, or has gone, since the last job ended."""
        there = self._results.get(place)
        if there is None and not any(place.startswith(f"{name}/") for name in self._unreadable):
            del self._records[place]
            self._is_written = False
        elif there is not None and record.result is None and there.version[:2] != record.was:
            self._set(place, replace(record, result=there.size, was=None))

    def _in_the_way(self, place: str) -> str | None:
        if place in self._folders:
            return "a folder of that name is in the way in the output folder"
        folder = place.rpartition("/")[0]
        while folder:
            if folder in self._results:
                return f"{folder} is in the way in the output folder: a file, not a folder"
            if folder in self._unreadable:
                return f"{folder} in the output folder {self._unreadable[folder]}"
            folder = folder.rpartition("/")[0]
        return None

    def _place(self, entry: Entry) -> str:
        """The name of the result, relative to the output folder."""
        return entry.target[len(self._output.rstrip("/")) + 1 :]

    def _content(self) -> bytes:
        lines = (_line(place, record) for place, record in self._records.items())
        return b"".join([_encoded(self._header), *lines])

    def _write(self) -> None:
        begin = time.monotonic()
        write_atomically(self._path, self._content())
        end = time.monotonic()
        self._is_written = True
        self._next_write = end + max(WRITE_SECONDS, 20 * (end - begin))


def _has_changed(entry: Entry, record: Record) -> bool:
    # Without a digest, times are all there is; but ctime also changes with a file's rights.
    known = 1 if record.sha256 is not None else 2
    return entry.version[:known] != record.source[:known]


def _line(place: str, record: Record) -> bytes:
    line: dict[str, Any] = {"name": place, "source": record.source, "sha256": record.sha256}
    if record.result is None:
        return _encoded({**line, "was": record.was})
    return _encoded({**line, "result": record.result})


def _encoded(line: Mapping[str, Any]) -> bytes:
    # Names need not be text: in ASCII their bytes come out as they went in.
    text = json.dumps(line, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.encode("ascii") + b"\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _record(line: Mapping[str, Any]) -> Record | None:
    source, was, result = line.get("source"), line.get("was"), line.get("result")
    if not isinstance(line.get("name"), str) or not isinstance(source, list):
        return None
    was = tuple(was) if isinstance(was, list) else None
    return Record(tuple(source), line.get("sha256"), result, was)
