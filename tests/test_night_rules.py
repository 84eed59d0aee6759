"""What counts as worse than usual, and which nights are kept, without running any."""

from __future__ import annotations

from pathlib import Path

from jobs.runtime.recorded.retention import superfluous
from jobs.runtime.recorded.runs import RecordedRun
from nights.config import Nightly, NightlyJob
from nights.regressions import find_regressions


def recorded(folder: str, accuracy: float, rate: float = 1000.0) -> RecordedRun:
    return RecordedRun(
        Path(folder),
        folder,
        {
            "job": "train_lenet",
            "status": "ok",
            "error": None,
            "started": "2026-01-01T02:00:00+00:00",
            "seconds": 10.0,
            "metrics": {"top1_accuracy": accuracy, "records_per_second": rate},
        },
    )


LIMITS = Nightly(
    max_accuracy_drop=0.01,
    max_slowdown=0.3,
    compare_with=3,
    jobs=[NightlyJob(name="lenet", job="train_lenet", time_limit_minutes=1)],
)


def test_a_regression_is_measured_against_the_median_of_the_last_nights() -> None:
    earlier = [
        {"lenet": recorded("a", accuracy, rate)}
        for accuracy, rate in ((0.5, 1.0), (0.99, 1000), (0.98, 900), (0.2, 1100))
    ]
    assert not find_regressions({"lenet": recorded("b", 0.971, 701)}, earlier, LIMITS)
    worse = find_regressions({"lenet": recorded("b", 0.969, 699)}, earlier, LIMITS)
    assert worse == [
        "lenet: accuracy 96.90 %, usually 98.00 %",
        "lenet: 699 records/s, usually 1000",
    ]
    assert not find_regressions({"other": recorded("b", 0.1)}, earlier, LIMITS)
    assert not find_regressions({"lenet": recorded("b", 0.1)}, [], LIMITS)


def judged(folder: str, **scores: float | None) -> RecordedRun:
    metrics = {"test_sets": {"Set5": {"bicubic": {"psnr_y": 28.0}, "ours": scores}}}
    run = recorded(folder, 0.0)
    return RecordedRun(run.folder, run.name, {**run.result, "metrics": metrics})


def test_lpips_that_rises_is_worse() -> None:
    # Nights of before it was measured, or without weights, say nothing about it.
    earlier = [
        {"srgan": judged("a", psnr_y=30.0, **lpips)}
        for lpips in ({"lpips": 0.20}, {}, {"lpips": None}, {"lpips": 0.22}, {"lpips": 0.24})
    ]
    limits = LIMITS.model_copy(update={"compare_with": 5})
    assert limits.max_lpips_rise == 0.02
    assert not find_regressions({"srgan": judged("b", psnr_y=30.0, lpips=0.239)}, earlier, limits)
    worse = find_regressions({"srgan": judged("b", psnr_y=30.0, lpips=0.241)}, earlier, limits)
    assert worse == ["srgan: LPIPS on Set5 0.241, usually 0.220"]
    assert not find_regressions({"srgan": judged("b", psnr_y=30.0)}, earlier, limits)
    assert not find_regressions(
        {"srgan": judged("b", psnr_y=30.0, lpips=0.9)}, earlier[1:3], limits
    )


def test_the_best_by_lpips_is_kept() -> None:
    folders = [Path(name) for name in "abcd"]
    scores = ((31.0, 0.3), (29.0, 0.1), (30.0, 0.2), (28.0, 0.4))
    runs = {
        folder: [judged(str(folder), psnr_y=psnr, lpips=lpips)]
        for folder, (psnr, lpips) in zip(folders, scores, strict=True)
    }
    assert superfluous(runs, folders, 1) == [Path("c")]


def test_the_newest_and_the_best_are_kept() -> None:
    folders = [Path(name) for name in "abcde"]
    accuracies = (0.9, 0.99, 0.95, 0.8, 0.7)
    runs = {
        folder: [recorded(str(folder), accuracy)]
        for folder, accuracy in zip(folders, accuracies, strict=True)
    }
    assert superfluous(runs, folders, 2) == [Path("a"), Path("c")]
    assert superfluous(runs, folders, 9) == []
