"""The jobs of one night, one after another, and what became of each."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jobs.runtime.files import ROOT, write_atomically
from jobs.runtime.recorded.files import Night, OddFileError, read_recorded
from jobs.runtime.strict_json import to_json
from jobs.runtime.text import in_one_line
from nights.config import NightlyJob

NIGHT_FILE = "night.json"
GRACE_SECONDS = 120.0
"""Between SIGTERM, upon which a job writes a checkpoint, and SIGKILL."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    name: str
    """As in conf/nightly.toml."""
    job: str
    code: int | None
    """Its exit code; None where it had to be ended."""
    seconds: float
    error: str | None
    """The last line that it said on stderr, where it failed."""

    @property
    def is_ok(self) -> bool:
        """Whether it ended well."""
        return self.code == 0


def run_job(job: NightlyJob, night: Path) -> Outcome:
    """Run a job with its run folder in the night's; its output goes beside it, into NAME.out."""
    words = [*job.command_line(night), "--run-dir", str(night / job.name)]
    submit = ["bash", str(ROOT / "scripts" / "submit.sh"), job.job, "--profile", job.profile]
    return _run(
        [*submit, "--", *words],
        name=job.name,
        job=job.job,
        night=night,
        seconds=job.time_limit_minutes * 60,
    )


def fetch(data_set: str, night: Path) -> Outcome:
    """Fetch what is missing of a data set."""
    command = ["python", str(ROOT / "scripts" / "fetch_data.py"), data_set]
    return _run(command, name=f"fetch-{data_set}", job="fetch_data", night=night, seconds=3600)


def write_night(
    night: Path, started: str, outcomes: Sequence[Outcome], regressions: Sequence[str]
) -> None:
    """Store what became of a night."""
    content = {
        "started": started,
        "jobs": [asdict(outcome) for outcome in outcomes],
        "regressions": list(regressions),
    }
    write_atomically(night / NIGHT_FILE, to_json(content, indent=2) + "\n")


def read_nights(runs: Path) -> list[tuple[Path, Mapping[str, Any]]]:
    """The folders of all finished nights and their night.json, the oldest first."""
    found: list[tuple[Path, Mapping[str, Any]]] = []
    for path in sorted(runs.glob(f"*/{NIGHT_FILE}")):
        with contextlib.suppress(OddFileError):
            found.append((path.parent, read_recorded(path, Night, defaults=True)))
    return found


def odd_nights(runs: Path) -> list[str]:
    """The nights whose night.json is none, each with the reason."""
    odd = []
    for path in sorted(runs.glob(f"*/{NIGHT_FILE}")):
        try:
            read_recorded(path, Night)
        except OddFileError as error:
            odd.append(f"{in_one_line(path.parent.name)}: {error}")
    return odd


def _run(command: Sequence[str], name: str, job: str, night: Path, seconds: float) -> Outcome:
    begin = time.monotonic()
    with (
        open(night / f"{name}.out", "wb") as out,
        open(night / f"{name}.err", "wb") as err,
        subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        ) as process,
    ):
        code, error = _wait(process, seconds)
    if code and error is None:
        lines = (night / f"{name}.err").read_text(encoding="utf-8", errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        error = said[-1] if said else f"ended with {code} and said nothing"
    return Outcome(
        name=name, job=job, code=code, seconds=round(time.monotonic() - begin, 1), error=error
    )


def _wait(process: subprocess.Popen[bytes], seconds: float) -> tuple[int | None, str | None]:
    try:
        return process.wait(seconds), None
    except subprocess.TimeoutExpired:
        _end(process)
        return None, f"took longer than its limit of {seconds / 60:g} minutes and was ended"
    except BaseException:
        # Whoever ends the night ends its job, too.
        _end(process)
        raise


def _end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
