"""Pictures of a training and of an evaluation, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt

from lenet.evaluation import Evaluation
from lenet.idx import CLASSES, Digits

INK, ACCENT, MUTED = "#1f2937", "#2563eb", "#9ca3af"
STYLE: dict[Any, Any] = {
    "figure.dpi": 120,
    "font.size": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
MISTAKES = 12


def draw_learning_curves(
    path: Path, iterations: Sequence[int], losses: Sequence[float], history: list[dict[str, Any]]
) -> None:
    """Training loss per iteration, and the test's loss and accuracy per epoch.

    Args:
        path: the PNG to write.
        iterations: iteration numbers of `losses`.
        losses: mean training loss of each iteration.
        history: the trainer's, an entry an epoch.
    """
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
        left.plot(iterations, losses, color=MUTED, linewidth=0.8, label="training")
        tested = [entry for entry in history if "test_loss" in entry]
        steps = [entry["iteration"] for entry in tested]
        left.plot(steps, [entry["test_loss"] for entry in tested], "o-", color=ACCENT, label="test")
        left.set(xlabel="iteration", ylabel="loss", yscale="log")
        left.legend(frameon=False)
        accuracy = [100 * entry["test_accuracy"] for entry in tested]
        right.plot([entry["epoch"] for entry in tested], accuracy, "o-", color=ACCENT)
        right.axhline(98.57, color=MUTED, linewidth=1, linestyle="--")
        right.annotate(
            "98.57 %, the experiment",
            (history[-1]["epoch"], 98.57),
            (0, -4),
            textcoords="offset points",
            ha="right",
            va="top",
        )
        right.set(xlabel="epoch", ylabel="test accuracy (%)", ylim=(None, 100))
        right.xaxis.get_major_locator().set_params(integer=True)
        figure.savefig(path)
        plt.close(figure)


def draw_confusion(path: Path, evaluation: Evaluation, digits: Digits) -> None:
    """The confusion matrix, and beside it the mistakes made with the most confidence."""
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(11, 5.2), layout="constrained")
        parts: Any = figure.subfigures(1, 2, width_ratios=(1.15, 1))
        _draw_matrix(parts[0], evaluation)
        _draw_mistakes(parts[1], evaluation, digits)
        figure.savefig(path)
        plt.close(figure)


def _draw_matrix(figure: Any, evaluation: Evaluation) -> None:
    axes = figure.subplots()
    counts = evaluation.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # The square root lets the few mistakes be seen beside the many right answers.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    for row in range(CLASSES):
        for column in range(CLASSES):
            if counts[row, column]:
                color = "white" if shares[row, column] > 0.3 else INK
                axes.text(
                    column, row, counts[row, column], ha="center", va="center", color=color, size=8
                )
    axes.set(
        xlabel="answer",
        ylabel="digit",
        xticks=range(CLASSES),
        yticks=range(CLASSES),
        title=f"{evaluation.correct} of {len(evaluation.labels)} right",
    )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _draw_mistakes(figure: Any, evaluation: Evaluation, digits: Digits) -> None:
    figure.suptitle("the most confident mistakes", fontsize=12)
    cells = figure.subplots(3, MISTAKES // 3).ravel()
    for axes in cells:
        axes.axis("off")
    for axes, index in zip(cells, evaluation.worst_mistakes(MISTAKES), strict=False):
        answer = evaluation.answers[index]
        confidence = evaluation.probabilities[index, answer]
        axes.imshow(digits.images[index], cmap="gray_r")
        axes.set_title(
            f"{digits.labels[index]}, not {answer}\n{100 * confidence:.0f} % sure", fontsize=8
        )
