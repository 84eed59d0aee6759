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
from typing import Any

from pydantic import Field

from jobs.runtime import remote
from jobs.runtime.job import Run, run_job
from jobs.runtime.options import JobOptions
from lenet.idx import read_digits

LOG = logging.getLogger("jobs.evaluate_lenet")


class Options(JobOptions):
    """What to test on what."""

    model: str = Field(
        description="run folder, snapshot folder, or file that saveModel wrote, local or hdfs://"
    )
    data: str = Field("data/mnist", description="folder with MNIST's four files, local or hdfs://")
    predict: str | None = Field(
        None, description="read the PNG pictures of digits in this folder instead of MNIST"
    )


def work(run: Run[Options]) -> dict[str, Any]:
    """Load the model and put the images to it."""
    # BigDL takes a second to import, which nobody should wait for who mistyped an option.
    from lenet import bigdl
    from lenet.evaluation import evaluate, predict, read_digit_pictures
    from lenet.pictures import draw_confusion
    from lenet.snapshots import load_model

    options = run.options
    if options.predict is not None:
        with remote.local_copy(options.predict) as folder:
            names, images = read_digit_pictures(folder)
    else:
        digits = read_digits(options.data, "test")
    run.add_jars(bigdl.class_path())
    context = run.start_spark(bigdl.spark_properties(run.cluster.cores))
    bigdl.start_engine(context)
    with remote.local_copy(options.model) as model:
        network = load_model(model)

    if options.predict is not None:
        probabilities = predict(network, images)
        rows = [
            (name, int(row.argmax()), round(float(row.max()), 4))
            for name, row in zip(names, probabilities, strict=True)
        ]
        with open(run.folder.path / "predictions.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file", "digit", "probability"), *rows])
        for name, digit, probability in rows:
            LOG.info("%s: %d (%.1f %%)", name, digit, 100 * probability)
        return {"count": len(rows), "predictions": {name: digit for name, digit, _ in rows}}

    evaluation = evaluate(network, digits)
    draw_confusion(run.folder.path / "confusion.png", evaluation, digits)
    confusion = evaluation.confusion
    LOG.info("confusion (row: the digit it is, column: the answer)")
    LOG.info("      %s", " ".join(f"{digit:5d}" for digit in range(len(confusion))))
    for digit, counts in enumerate(confusion):
        LOG.info("%5d %s", digit, " ".join(f"{count or '.':>5}" for count in counts))
    return {
        "top1_accuracy": evaluation.top1_accuracy,
        "correct": evaluation.correct,
        "count": len(digits),
        "loss": evaluation.loss,
        "confusion": confusion.tolist(),
    }


def summary(metrics: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """The table at the end."""
    if "predictions" in metrics:
        return [("pictures", str(metrics["count"]))]
    top1 = f"{100 * metrics['top1_accuracy']:.2f} %"
    return [
        ("Top-1", f"{top1} ({metrics['correct']} of {metrics['count']})"),
        ("loss", f"{metrics['loss']:.4f} a record"),
    ]


if __name__ == "__main__":
    sys.exit(run_job("evaluate_lenet", __doc__ or "", Options, work, summary))
