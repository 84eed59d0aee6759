"""Test a trained LeNet5 on MNIST, or let it read pictures of digits.

    spark-submit --properties-file conf/local.conf jobs/evaluate_lenet.py --model runs/tonight
    spark-submit --properties-file conf/local.conf jobs/evaluate_lenet.py \\
        --model runs/tonight/snapshots/epoch-0003 --predict FOLDER

The run folder receives confusion.png (the confusion matrix, and the most confident mistakes),
predictions.csv with --predict, log.txt and result.json.
"""

from __future__ import annotations

import csv
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from jobs.runtime import remote
from jobs.runtime.job import Run, run_job
from jobs.runtime.options import JobOptions
from jobs.runtime.text import in_one_line, number
from lenet.idx import read_digits

if TYPE_CHECKING:
    from lenet.digit_pictures import DigitPictures

logger = logging.getLogger("jobs.evaluate_lenet")


class Options(JobOptions):
    """What to test on what."""

    model: str = Field(
        description="run folder, snapshot folder, or file that saveModel wrote, local or hdfs://"
    )
    data: str = Field("data/mnist", description="folder with MNIST's four files, local or hdfs://")
    predict: str | None = Field(
        None,
        description="read the PNG pictures of digits in this folder instead of MNIST: dark on "
        "light or light on dark, of any size, one digit each",
    )


def work(run: Run[Options]) -> dict[str, Any]:
    """Load the model and put the images to it."""
    # Imported late: it takes a second, and a mistyped option should fail at once.
    from lenet import bigdl
    from lenet.charts import draw_confusion
    from lenet.digit_pictures import read_digit_pictures
    from lenet.evaluation import evaluate, predict
    from lenet.snapshots import load_model

    options = run.options
    if options.predict is not None:
        with remote.local_copy(options.predict) as folder:
            pictures = read_digit_pictures(folder)
    else:
        digits = read_digits(options.data, "test")
    run.add_jars(bigdl.class_path())
    context = run.start_spark(bigdl.spark_properties(run.cluster.cores))
    bigdl.start_engine(context)
    with remote.local_copy(options.model) as model:
        network = load_model(model)

    if options.predict is not None:
        answers = _answers(pictures, predict(network, pictures.images))
        with open(run.folder.path / "predictions.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file", "digit", "probability"), *answers])
        for name, digit, probability in answers:
            words = "unreadable" if probability is None else f"{digit} ({100 * probability:.1f} %)"
            logger.info("%s: %s", name, words)
        return {
            "count": len(answers),
            "unreadable": int((~pictures.readable).sum()),
            "predictions": {name: digit for name, digit, _ in answers},
        }

    evaluation = evaluate(network, digits)
    draw_confusion(run.folder.path / "confusion.png", evaluation, digits)
    confusion = evaluation.confusion
    logger.info("confusion (row: the digit it is, column: the answer)")
    logger.info("      %s", " ".join(f"{digit:5d}" for digit in range(len(confusion))))
    for digit, counts in enumerate(confusion):
        logger.info("%5d %s", digit, " ".join(f"{count or '.':>5}" for count in counts))
    return {
        "top1_accuracy": evaluation.top1_accuracy,
        "correct": evaluation.correct,
        "count": len(digits),
        "loss": evaluation.loss,
        "confusion": confusion.tolist(),
    }


def _answers(
    pictures: DigitPictures, probabilities: NDArray[np.float32]
) -> list[tuple[str, int | None, float | None]]:
    """Name, digit and its probability of each picture; None twice where nothing is on it."""
    return [
        (in_one_line(name), int(row.argmax()), round(float(row.max()), 4))
        if readable
        else (in_one_line(name), None, None)
        for name, readable, row in zip(
            pictures.names, pictures.readable, probabilities, strict=True
        )
    ]


def summary(metrics: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """The table at the end."""
    if "predictions" in metrics:
        return [("pictures", f"{metrics['count']} ({metrics['unreadable']} unreadable)")]
    top1 = f"{100 * metrics['top1_accuracy']:.2f} %"
    return [
        ("Top-1", f"{top1} ({metrics['correct']} of {metrics['count']})"),
        ("loss", f"{number(metrics['loss'], '.4f')} per record"),
    ]


if __name__ == "__main__":
    sys.exit(run_job("evaluate_lenet", Options, work, summary))
