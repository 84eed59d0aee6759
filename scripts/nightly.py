"""Run the jobs of conf/nightly.toml one after another, compare them with the nights before, and
write a report.

    bash scripts/nightly.sh
    bash scripts/nightly.sh --config conf/nightly.toml --max-accuracy-drop 0.01 --max-slowdown 0.5

(nightly.sh runs this nightly.py in the environment.)

Each night is a folder runs/nightly/TIMESTAMP with the run folders of its jobs, what they said
(NAME.out, NAME.err) and night.json; runs/nightly/report.html shows all nights. A job that fails
or takes longer than its limit does not keep the others from running.
"""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from jobs.runtime.command import command
from jobs.runtime.errors import (
    EXIT_FAILED,
    EXIT_OK,
    BusyError,
)
from jobs.runtime.files import ROOT
from jobs.runtime.lock import FolderLock
from jobs.runtime.places import local_path
from jobs.runtime.recorded.retention import delete, superfluous
from jobs.runtime.recorded.runs import find_runs
from nights.config import Nightly, read_config
from nights.night import Outcome, fetch, read_nights, run_job, write_night
from nights.regressions import RunsByName, find_regressions
from reports.page import write_page

LOCK_FILE = ".nightly.lock"
REPORT_FILE = "report.html"


@command("nightly")
def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="nightly.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--config", type=local_path, default=ROOT / "conf" / "nightly.toml")
    parser.add_argument("--max-accuracy-drop", type=float, help="0 to 1, of top-1 accuracy")
    parser.add_argument("--max-slowdown", type=float, help="0 to 1, of the usual speed")
    overrides = vars(parser.parse_args())
    # Lets the job that runs end before the night does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_FAILED))
    config = read_config(overrides.pop("config"), overrides)
    runs = config.folder
    try:
        lock = FolderLock(str(runs), LOCK_FILE, "runs in the --config")
    except BusyError as error:
        raise BusyError(f"another night is at work in {runs}") from error
    with closing(lock):
        return _night(config, runs)


def _night(config: Nightly, runs: Path) -> int:
    now = datetime.now()
    night = runs / f"{now:%Y-%m-%d-%H%M%S}"
    night.mkdir()
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    outcomes = [fetch(data_set, night) for data_set in config.fetch]
    for job in config.jobs:
        outcomes.append(run_job(job, night))
        write_night(night, started, outcomes, [])

    earlier = [_runs_by_name(folder) for folder, _ in read_nights(runs) if folder != night]
    regressions = find_regressions(_runs_by_name(night), earlier, config)
    write_night(night, started, outcomes, regressions)
    left = _clean(runs, config.keep)
    write_page(runs, runs / REPORT_FILE)
    return _tell(outcomes, regressions, left, runs / REPORT_FILE)


def _runs_by_name(night: Path) -> RunsByName:
    return {run.name: run for run in find_runs(night) if run.is_ok}


def _clean(runs: Path, keep: int) -> dict[Path, str]:
    folders = [folder for folder, _ in read_nights(runs)]
    found = {folder: find_runs(folder) for folder in folders}
    return delete(superfluous(found, folders, keep))


def _tell(
    outcomes: list[Outcome], regressions: list[str], left: dict[Path, str], report: Path
) -> int:
    failed = [outcome for outcome in outcomes if not outcome.is_ok]
    if not (failed or regressions or left):
        return EXIT_OK
    sentences = [f"{len(failed)} of {len(outcomes)} jobs failed."] if failed else []
    sentences += [f"{outcome.name}: {outcome.error}." for outcome in failed]
    sentences += [f"Worse than usual: {'; '.join(regressions)}."] if regressions else []
    sentences += [f"Not deleted: {folder}: {reason}." for folder, reason in left.items()]
    print(f"nightly: {' '.join(sentences)} See {report}", file=sys.stderr)
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
