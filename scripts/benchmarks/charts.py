"""The charts that comparisons share."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BLUE, ORANGE, GREY = "#3b6fb6", "#e08b3c", "#9a9a9a"


def bars_of(path: Path, runs: Mapping[str, Sequence[float]], label: str) -> None:
    """A bar for the median of each side's runs, and a line from the lowest to the highest."""
    names = list(runs)[::-1]
    medians = [statistics.median(runs[name]) for name in names]
    below = [median - min(runs[name]) for median, name in zip(medians, names, strict=True)]
    above = [max(runs[name]) - median for median, name in zip(medians, names, strict=True)]
    figure, axes = plt.subplots(figsize=(8, 0.5 * len(names) + 1), layout="constrained")
    axes.barh(names, medians, xerr=[below, above], color=BLUE, ecolor=GREY, capsize=3)
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
