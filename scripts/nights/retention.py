"""Which runs are kept: the newest, and the best of each kind."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from reports.collect import RecordedRun


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


def delete(folders: Iterable[Path]) -> None:
    """Delete folders with everything in them."""
    for folder in folders:
        shutil.rmtree(folder)
