"""What a report shows, independent of how: charts' points, failures, pictures, tables."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

from jobs.runtime.errors import JobError, one_line
from jobs.runtime.recorded.files import OddFileError, Scaling, read_recorded
from jobs.runtime.recorded.runs import RecordedRun
from jobs.runtime.text import in_one_line
from mos_study.results import Results, analyse
from mos_study.store import read_trials
from mos_study.study import STUDY_FILE, read_study
from nights.night import NIGHT_FILE
from reports.charts import Points

logger = logging.getLogger(__name__)

Series = dict[str, Points]
CURVES = 6
FAILURES = 6
POINTS = 200


def history(runs: Sequence[RecordedRun]) -> list[tuple[str, str, str, Series]]:
    """Name, title, unit and series of each chart over time; those without points are left out."""
    ok = [run for run in runs if run.is_ok]
    accuracy: Series = {}
    psnr: Series = {}
    lpips: Series = {}
    seconds: Series = {}
    rates: dict[str, Series] = {}
    for run in ok:
        label = series_of(run)
        if run.accuracy is not None:
            _add(accuracy, label, (run.started, 100 * run.accuracy))
        for test_set, value in run.psnr.items():
            _add(psnr, f"{label}, {test_set}", (run.started, value))
        for test_set, value in run.lpips.items():
            _add(lpips, f"{label}, {test_set}", (run.started, value))
        _add(seconds, label, (run.started, run.seconds))
        if run.rate is not None:
            _add(rates.setdefault(run.rate[1], {}), label, (run.started, run.rate[0]))
    charts = [
        ("accuracy", "Accuracy on MNIST", "%", accuracy),
        ("psnr", "PSNR of the luminance", "dB", psnr),
        ("lpips", "LPIPS, distance as people see it", "lower is better", lpips),
        ("time", "Wall clock", "s", seconds),
        *((f"rate-{unit.partition('/')[0]}", "Throughput", unit, rates[unit]) for unit in rates),
    ]
    return [chart for chart in charts if chart[3]]


def learning_curves(runs: Sequence[RecordedRun]) -> list[tuple[str, str, str, str, Series]]:
    """Name, title, x, unit and series: the newest trainings over each other."""
    lenet: Series = {}
    for run in _newest(runs, "train_lenet"):
        epochs = [
            (entry.get("epoch"), entry.get("test_accuracy"))
            for entry in run.metrics.get("history", ())
        ]
        lenet[run.name] = [(x, 100 * y) for x, y in epochs if None not in (x, y)]
    loss: Series = {}
    for run in _newest(runs, "train_srgan"):
        points = _scalars(run.folder / "tensorboard", "Loss")
        if points:
            loss[run.name] = points
    charts = [
        ("curves-lenet", "LeNet5: right answers on the test images", "epoch", "%", lenet),
        ("curves-srgan", "SRGAN: the generator's loss", "step", "loss", loss),
    ]
    return [chart for chart in charts if any(chart[4].values())]


def failures(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """The newest failed runs that no later run of the same series has made good."""
    newest = {series_of(run): run for run in runs}
    failed = [run for run in newest.values() if not run.is_ok]
    return sorted(failed, key=lambda run: run.started, reverse=True)[:FAILURES]


def newest_with(runs: Sequence[RecordedRun], key: str) -> RecordedRun | None:
    """The newest run that has measured something."""
    return next((run for run in reversed(runs) if run.metrics.get(key)), None)


def scaling_tables(root: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Where, and the content of each scaling.json below a folder."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for path in sorted(root.rglob("scaling.json")):
        with contextlib.suppress(OddFileError):
            content = read_recorded(path, Scaling, defaults=True)
            found.append((in_one_line(str(path.parent.relative_to(root))), content))
    return found


def studies(root: Path) -> list[tuple[str, Results]]:
    """Where, and the results of each MOS study below a folder that somebody has finished."""
    found = []
    for path in sorted(root.rglob(STUDY_FILE)):
        try:
            results = analyse(read_study(path.parent), read_trials(path.parent))
        except (OSError, JobError) as error:
            logger.warning("left out: %s", one_line(error))
            continue
        if results.scores:
            found.append((in_one_line(str(path.parent.relative_to(root))), results))
    return found


def series_of(run: RecordedRun) -> str:
    """Runs of one series are compared: the last part of the name in a night, else the job."""
    return run.folder.name if (run.folder.parent / NIGHT_FILE).exists() else run.job


def _newest(runs: Sequence[RecordedRun], job: str) -> list[RecordedRun]:
    return [run for run in runs if run.job == job and run.is_ok][-CURVES:]


def _add(series: Series, label: str, point: tuple[Any, float]) -> None:
    series[label] = [*series.get(label, []), point]


def _scalars(folder: Path, tag: str) -> Points:
    if not folder.is_dir():
        return []
    events = EventAccumulator(str(folder), size_guidance={SCALARS: POINTS}).Reload()
    if tag not in events.Tags()["scalars"]:
        return []
    return [(event.step, event.value) for event in events.Scalars(tag)]
