"""The runs below a folder, and what is worth comparing of each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from jobs.runtime.recorded.files import OddFileError, Result, moment, read_recorded
from jobs.runtime.run_folder import LOG_FILE, RESULT_FILE
from jobs.runtime.tables import table
from jobs.runtime.text import counted, four_digits, in_one_line

RATES = {
    "records_per_second": "records/s",
    "crops_per_second": "crops/s",
    "megapixels_per_second": "megapixels/s",
}
"""How fast a job did its work: the metric and its unit."""


@dataclass(frozen=True)
class RecordedRun:
    """A run that has written its result.json."""

    folder: Path
    name: str
    """The folder's path below the one that was searched."""
    result: Mapping[str, Any]

    @property
    def job(self) -> str:
        """Such as "train_lenet"."""
        return str(self.result["job"])

    @property
    def is_ok(self) -> bool:
        """Whether it ended well."""
        return self.result["status"] == "ok"

    @property
    def started(self) -> datetime:
        """When it began."""
        return moment(self.result["started"])

    @property
    def seconds(self) -> float:
        """How long it took."""
        return float(self.result["seconds"])

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What it measured; empty after most failures."""
        return self.result["metrics"]

    @property
    def accuracy(self) -> float | None:
        """Share of digits that were read right, 0 to 1."""
        return self.metrics.get("top1_accuracy")

    @property
    def psnr(self) -> dict[str, float]:
        """PSNR (Y, dB) by test set, of the model that was trained, or judged last."""
        return self._by_test_set("psnr_y")

    @property
    def lpips(self) -> dict[str, float]:
        """Likewise LPIPS, of which less is better; only of test sets that it was measured on."""
        return self._by_test_set("lpips")

    @property
    def rate(self) -> tuple[float, str] | None:
        """Work done in a second, and its unit."""
        for key, unit in RATES.items():
            if self.metrics.get(key):
                return float(self.metrics[key]), unit
        return None

    @property
    def quality(self) -> str:
        """The most telling result in a few words."""
        if not self.is_ok:
            return str(self.result["error"])
        if self.accuracy is not None:
            return f"{100 * self.accuracy:.2f} %"
        if self.psnr:
            lpips = self.lpips
            return "; ".join(
                f"{name} {value:.2f} dB" + (f", LPIPS {lpips[name]:.3f}" if name in lpips else "")
                for name, value in self.psnr.items()
            )
        if "done" in self.metrics:
            return counted(self.metrics["done"], "file")
        return "done"

    def _by_test_set(self, metric: str) -> dict[str, float]:
        found = {}
        for test_set, scores in self.metrics.get("test_sets", {}).items():
            by_method = [values for values in scores.values() if isinstance(values, Mapping)]
            values = by_method[-1] if by_method else scores
            if values.get(metric) is not None:
                found[test_set] = float(values[metric])
        return found


class Found(NamedTuple):
    """What lies below a folder."""

    runs: Sequence[RecordedRun]
    """The oldest first."""
    odd: Sequence[str]
    """Results that are none, each with the reason."""


def search(root: Path) -> Found:
    """All runs below a folder."""
    runs: list[RecordedRun] = []
    odd: list[str] = []

    def note(error: OSError) -> None:
        odd.append(f"{in_one_line(os.path.relpath(error.filename, root))}: {error.strerror}")

    below = os.walk(root, onerror=note)
    folders = [Path(here) for here, subs, files in below if RESULT_FILE in (*subs, *files)]
    for path in sorted(folder / RESULT_FILE for folder in folders):
        name = in_one_line(str(path.parent.relative_to(root)))
        try:
            result = read_recorded(path, Result)
        except OddFileError as error:
            odd.append(f"{name}: {error}")
            continue
        runs.append(RecordedRun(path.parent, name, {"error": None, "metrics": {}, **result}))
    return Found(sorted(runs, key=lambda run: (run.started, run.name)), odd)


def find_runs(root: Path) -> list[RecordedRun]:
    """All runs below a folder, the oldest first; what is no whole result.json is passed over."""
    return list(search(root).runs)


def last_lines(run: RecordedRun, count: int = 12) -> list[str]:
    """The end of a run's log.txt."""
    try:
        text = (run.folder / LOG_FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rstrip().splitlines()[-count:]


def table_of_runs(runs: Sequence[RecordedRun]) -> str:
    """A line for each run."""
    return table(
        ("run", "job", "began", "time", "result", "speed"),
        (
            (
                run.name,
                run.job,
                f"{run.started.astimezone():%Y-%m-%d %H:%M}",
                f"{run.seconds:.0f} s",
                ("" if run.is_ok else "FAILED: ") + run.quality,
                f"{four_digits(run.rate[0])} {run.rate[1]}" if run.rate else "",
            )
            for run in runs
        ),
    )
