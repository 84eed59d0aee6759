"""Tonight's runs against the usual: the median of the last nights."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from jobs.runtime.recorded.runs import RecordedRun
from jobs.runtime.text import four_digits
from nights.config import Nightly

RunsByName = Mapping[str, RecordedRun]


def find_regressions(
    tonight: RunsByName, earlier: Sequence[RunsByName], limits: Nightly
) -> list[str]:
    """A line for each job that was worse or slower than usual.

    Args:
        tonight: the runs that ended well, by the names of conf/nightly.toml.
        earlier: likewise of the nights before, the newest last.
        limits: how much worse is worse.
    """
    lines: list[str] = []
    for name, run in tonight.items():
        before = [night[name] for night in earlier if name in night and night[name].job == run.job]
        lines += _compare(name, run, before[-limits.compare_with :], limits)
    return lines


def _compare(
    name: str, run: RecordedRun, before: Sequence[RecordedRun], limits: Nightly
) -> Iterator[str]:
    accuracies = [one.accuracy for one in before if one.accuracy is not None]
    if run.accuracy is not None and accuracies:
        usual = statistics.median(accuracies)
        if usual - run.accuracy > limits.max_accuracy_drop:
            yield f"{name}: accuracy {100 * run.accuracy:.2f} %, usually {100 * usual:.2f} %"
    for test_set, psnr in run.psnr.items():
        values = [one.psnr[test_set] for one in before if test_set in one.psnr]
        if values and statistics.median(values) - psnr > limits.max_psnr_drop:
            usual = statistics.median(values)
            yield f"{name}: PSNR on {test_set} {psnr:.2f} dB, usually {usual:.2f} dB"
    for test_set, lpips in run.lpips.items():
        values = [one.lpips[test_set] for one in before if test_set in one.lpips]
        if values and lpips - statistics.median(values) > limits.max_lpips_rise:
            usual = statistics.median(values)
            yield f"{name}: LPIPS on {test_set} {lpips:.3f}, usually {usual:.3f}"
    yield from _compare_speed(name, run, before, limits.max_slowdown)


def _compare_speed(
    name: str, run: RecordedRun, before: Sequence[RecordedRun], max_slowdown: float
) -> Iterator[str]:
    """By the rate of the work itself where it is known, else by the whole job's time."""
    rates = [one.rate[0] for one in before if one.rate is not None]
    if run.rate is not None and rates:
        usual, (rate, unit) = statistics.median(rates), run.rate
        if rate < (1 - max_slowdown) * usual:
            yield f"{name}: {four_digits(rate)} {unit}, usually {four_digits(usual)}"
    elif before and run.rate is None:
        usual = statistics.median(one.seconds for one in before)
        if (1 - max_slowdown) * run.seconds > usual:
            yield f"{name}: {run.seconds:.0f} s, usually {usual:.0f} s"
