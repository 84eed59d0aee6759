"""Which runs are kept: the newest, and the best of each kind."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from fnmatch import fnmatch
from pathlib import Path

from jobs.runtime.errors import BusyError, JobError, one_line
from jobs.runtime.lock import FolderLock
from jobs.runtime.recorded.runs import RecordedRun
from jobs.runtime.run_folder import LOCK_FILE, LOG_FILE, OPTIONS_FILE, RESULT_FILE
from jobs.runtime.text import in_one_line

OUTPUTS = (
    OPTIONS_FILE,
    RESULT_FILE,
    LOG_FILE,
    LOCK_FILE,
    ".stop",
    ".*.json.*",
    "tensorboard",
    "snapshots",
    "model.bigdl",
    "learning-curves.png",
    "confusion.png",
    "predictions.csv",
    "checkpoints",
    "*.safetensors",
    "pictures",
    "contact-sheet.png",
    "contact-sheet.jpg",
    "scores.csv",
    "failed.jsonl",
)
"""What the jobs write into their run folders: names and patterns."""


def best_of_each(runs: Mapping[Path, Sequence[RecordedRun]]) -> set[Path]:
    """The folders with the best run of each job, by accuracy, by PSNR and LPIPS on each test set.

    Args:
        runs: the runs in each folder that is kept or deleted as a whole.
    """
    best: dict[tuple[str, str], tuple[float, Path]] = {}
    for folder, members in runs.items():
        for run in members:
            if not run.is_ok:
                continue
            values = {f"psnr {name}": psnr for name, psnr in run.psnr.items()}
            values.update((f"lpips {name}", -lpips) for name, lpips in run.lpips.items())
            if run.accuracy is not None:
                values["accuracy"] = run.accuracy
            for what, value in values.items():
                key = (run.job, what)
                if key not in best or value > best[key][0]:
                    best[key] = (value, folder)
    return {folder for _, folder in best.values()}


def superfluous(
    runs: Mapping[Path, Sequence[RecordedRun]], folders: Sequence[Path], keep: int
) -> list[Path]:
    """What may be deleted so that the newest `keep` folders and the best are left.

    Args:
        runs: see `best_of_each`.
        folders: all of them, the oldest first.
        keep: how many of the newest stay.
    """
    best = best_of_each(runs)
    return [folder for folder in folders[:-keep] if folder not in best]


def delete(folders: Iterable[Path]) -> dict[Path, str]:
    """Delete folders with everything in them, but none that somebody works in.

    Args:
        folders: see `superfluous`.

    Returns:
        Why some are left.
    """
    left = {}
    # Of nested ones the outer first, so that nothing is looked for where it has gone.
    for folder in sorted(folders, key=lambda folder: len(folder.parts)):
        try:
            if folder.exists():
                _delete(folder)
        except JobError as error:
            left[folder] = one_line(error)
        except OSError as error:
            left[folder] = f"{error.filename or folder}: {error.strerror or error}"
    return left


def _delete(folder: Path) -> None:
    with ExitStack() as held:
        for lock in sorted(folder.rglob(LOCK_FILE)):
            try:
                held.enter_context(closing(FolderLock(str(lock.parent), LOCK_FILE, "folder")))
            except BusyError as error:
                raise JobError("a job is at work in it") from error
        shutil.rmtree(folder)


def is_output(name: str) -> bool:
    """Whether jobs write a file or folder of that name into their run folders."""
    return any(fnmatch(name, pattern) for pattern in OUTPUTS)


def reasons_to_stay(
    doomed: Collection[Path], kept: Collection[Path], root: Path
) -> dict[Path, str]:
    """Which of the runs that may go had better stay, and why.

    Args:
        doomed: run folders below `root`.
        kept: the other run folders there.
        root: the folder that was searched. It stays, and what lies in it alone lies in no run.
    """
    found: dict[Path, str] = {}
    # The inner ones first: whoever holds one that stays, stays.
    for folder in sorted(doomed, key=lambda folder: -len(folder.parts)):
        around = [one for one in kept if one != root and one in folder.parents]
        within = [one for one in (*kept, *found) if folder in one.parents]
        foreign = sorted(
            entry.name
            for entry in folder.iterdir()
            if entry not in doomed and not is_output(entry.name)
        )
        if folder == root:
            found[folder] = "the others lie in it"
        elif around:
            found[folder] = f"it lies in {in_one_line(around[-1].name)}, which is kept"
        elif within:
            found[folder] = f"it holds {in_one_line(within[-1].name)}, which is kept"
        elif not (folder / OPTIONS_FILE).is_file():
            found[folder] = f"it is no run folder, since it has no {OPTIONS_FILE}"
        elif foreign:
            found[folder] = f"it holds {in_one_line(foreign[0])}, which no job has written"
    return found
