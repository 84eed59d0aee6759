"""What a job over many files has to say of each: failed, damaged, not kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.runtime.errors import PartlyFailedError
from jobs.runtime.run_folder import RunFolder
from jobs.runtime.strict_json import to_json
from jobs.runtime.text import in_one_line

FAILED_FILE = "failed.jsonl"
"""In the run folder: a line for each file that failed or is damaged: name, source, reason."""
NAMED = 3


class Findings:
    """Failures, damage and notes of files, by name; the first two also in failed.jsonl."""

    def __init__(
        self, folder: RunFolder, sources: Mapping[str, str], strict: bool, log: logging.Logger
    ) -> None:
        """Delete what an earlier run wrote.

        Args:
            folder: the run folder.
            sources: path or URL of each file.
            strict: whether the first failure ends the job.
            log: where each finding becomes a line.
        """
        self.failures: dict[str, str] = {}
        """Why there is no result."""
        self.damaged: dict[str, str] = {}
        """What is missing in a result because its source is damaged."""
        self.notes: dict[str, list[str]] = {}
        """What a result does not keep of its source, or how it was changed."""
        self._sources = sources
        self._path = folder.path / FAILED_FILE
        self._place = f"{folder.url}/{FAILED_FILE}"
        self._path.unlink(missing_ok=True)
        self._strict = strict
        self._log = log

    def fail(self, name: str, reason: str) -> None:
        """Note that there will be no result; of a file's failures the first counts.

        Raises:
            PartlyFailedError: the first failure is to end the job.
        """
        if name in self.failures:
            return
        self.failures[name] = in_one_line(reason)
        self._write(name, self.failures[name])
        if self._strict:
            shown = in_one_line(name)
            raise PartlyFailedError(
                f"stopped at the first failure (--strict): {shown}: {self.failures[name]}",
                {"failed": 1, "failures": {shown: self.failures[name]}},
            )

    def damage(self, name: str, loss: str) -> None:
        """Note what is missing in a result."""
        self.damaged[name] = in_one_line(loss)
        self._write(name, self.damaged[name])

    def note(self, name: str, lines: Sequence[str]) -> None:
        """Note what a result does not keep; what was noted of that file before is not repeated."""
        for line in map(in_one_line, lines):
            if line not in self.notes.setdefault(name, []):
                self.notes[name].append(line)
                self._log.info("%s: %s", in_one_line(name), line)

    def metrics(self) -> dict[str, Any]:
        """For result.json."""
        notes = {name: lines for name, lines in self.notes.items() if lines}
        return {
            "failed": len(self.failures),
            "failures": _readable(self.failures),
            "damaged": _readable(self.damaged),
            "notes": _readable(notes),
        }

    def summary(self, files: int) -> str | None:
        """One line if anything failed or is damaged."""
        parts = []
        if self.failures:
            parts.append(_listed(f"{len(self.failures)} of {files} files failed", self.failures))
        if self.damaged:
            some = f"{len(self.damaged)} of {files} files are damaged and done in part"
            parts.append(_listed(some, self.damaged))
        if not parts:
            return None
        which = "the failed ones" if self.damaged else "them"
        again = f", and the same command tries {which} again" if self.failures else ""
        return f"{'; '.join(parts)}; all are in {self._place}{again}"

    def _write(self, name: str, reason: str) -> None:
        shown = in_one_line(name)
        self._log.warning("%s: %s", shown, reason)
        line = {"name": shown, "source": in_one_line(self._sources[name]), "reason": reason}
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(to_json(line, ensure_ascii=False) + "\n")


def _readable(by_name: Mapping[str, Any]) -> dict[str, Any]:
    return {in_one_line(name): value for name, value in by_name.items()}


def _listed(what: str, reasons: Mapping[str, str]) -> str:
    some = [f"{in_one_line(name)}: {why}" for name, why in reasons.items()]
    more = f" and {len(some) - NAMED} more" if len(some) > NAMED else ""
    return f"{what} ({'; '.join(some[:NAMED])}{more})"
