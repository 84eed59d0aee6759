"""The runs at a glance, in the terminal.

    python scripts/runs.py list [--runs DIR]
    python scripts/runs.py show RUN
    python scripts/runs.py compare RUN RUN
    python scripts/runs.py clean --keep 10          # of each job; the best stay as well
    python scripts/runs.py clean --keep 10 --dry-run

RUN is a run folder, or its name as `list` shows it.
"""

from __future__ import annotations

import argparse
import os
import pwd
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jobs.runtime.command import command
from jobs.runtime.errors import EXIT_OK, MissingDataError, UsageError
from jobs.runtime.files import ROOT
from jobs.runtime.places import local_path
from jobs.runtime.recorded.retention import delete, reasons_to_stay, superfluous
from jobs.runtime.recorded.runs import RecordedRun, search, table_of_runs
from jobs.runtime.strict_json import to_json
from jobs.runtime.tables import table


@command("runs")
def main() -> int:
    """The exit code."""
    options = _parser().parse_args()
    if not options.runs.is_dir():
        raise MissingDataError(f"--runs {options.runs}: no such folder")
    # As other programs end whose reader (`| head`) has read enough.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if options.act is _clean:
        _refuse_more_than_runs(options.runs)
    runs, odd = search(options.runs)
    for line in odd:
        print(f"runs: left out {line}", file=sys.stderr)
    options.act(options, list(runs))
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True, metavar="list|show|compare|clean")
    for name, act in (("list", _list), ("show", _show), ("compare", _compare), ("clean", _clean)):
        verb = verbs.add_parser(name)
        verb.set_defaults(act=act)
        verb.add_argument("--runs", type=local_path, default=ROOT / "runs", metavar="DIR")
        if name == "show":
            verb.add_argument("run")
        elif name == "compare":
            verb.add_argument("run", nargs=2)
        elif name == "clean":
            verb.add_argument("--keep", type=_positive, required=True, metavar="N")
            verb.add_argument("--dry-run", action="store_true", help="say what would go")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)


def _list(_options: argparse.Namespace, runs: list[RecordedRun]) -> None:
    print(table_of_runs(runs) if runs else "no runs yet")


def _show(options: argparse.Namespace, runs: list[RecordedRun]) -> None:
    print(to_json(_find(options.run, runs).result, indent=2))


def _compare(options: argparse.Namespace, runs: list[RecordedRun]) -> None:
    first, second = (_find(name, runs) for name in options.run)
    for title in ("options", "cluster", "metrics"):
        one, other = (_flat(run.result.get(title) or {}) for run in (first, second))
        names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        print(f"\n{title}" + ("" if names else ": the same"))
        if names:
            rows = [(name, _text(one.get(name)), _text(other.get(name))) for name in names]
            print(table((title, first.name, second.name), rows))


def _refuse_more_than_runs(folder: Path) -> None:
    """Keep `clean` from a folder such as / or a home, with runs of everybody.

    Raises:
        UsageError: a home or this checkout lies in it, or is it.
    """
    whole = folder.resolve()
    homes = {os.path.expanduser("~"), *(user.pw_dir for user in pwd.getpwall())}
    for what, path in (("this checkout", ROOT), *(("a home", Path(home)) for home in homes)):
        place = path.resolve()
        if path.is_absolute() and whole in (place, *place.parents):
            raise UsageError(
                f"--runs {folder}: {what}, {path}, lies in it, so it holds more than runs; "
                "name the folder of the runs alone"
            )


def _refuse_other_checkouts(folder: Path, runs: Iterable[RecordedRun]) -> None:
    """Keep `clean` from a folder with checkouts of this project, whose runs would count as one's.

    Raises:
        UsageError: a run lies in one.
    """
    for place in {parent for run in runs for parent in run.folder.parents}:
        if folder in place.parents and (place / "scripts" / "runs.py").exists():
            raise UsageError(
                f"--runs {folder}: the checkout {place} lies in it, so it holds more than its own "
                "runs; name the folder of the runs alone"
            )


def _clean(options: argparse.Namespace, runs: list[RecordedRun]) -> None:
    _refuse_other_checkouts(options.runs, runs)
    doomed: list[Path] = []
    for job in {run.job for run in runs}:
        members = [run for run in runs if run.job == job]
        by_folder = {run.folder: [run] for run in members}
        doomed += superfluous(by_folder, list(by_folder), options.keep)
    kept = {run.folder for run in runs} - set(doomed)
    left = reasons_to_stay(doomed, kept, options.runs)
    going = [folder for folder in doomed if folder not in left]
    if options.dry_run:
        print(f"would delete {len(going)} of {len(runs)} runs")
        for run in runs:
            if run.folder in going:
                print(f"would delete {run.name}")
    else:
        left |= delete(going)
        print(f"deleted {len(doomed) - len(left)} of {len(runs)} runs")
    for run in runs:
        if run.folder in left:
            print(f"left {run.name}: {left[run.folder]}")


def _find(name: str, runs: list[RecordedRun]) -> RecordedRun:
    for run in runs:
        if run.name == name.rstrip("/") or run.folder.resolve() == Path(name).resolve():
            return run
    raise MissingDataError(f"{name}: no such run; python scripts/runs.py list shows them")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names; lists such as a history are left out."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{prefix}{key}."))
        elif not isinstance(value, list):
            found[prefix + key] = value
    return found


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
