"""Train LeNet5 on MNIST with BigDL's DistriOptimizer.

    spark-submit --properties-file conf/local.conf jobs/train_lenet.py --data data/mnist
    spark-submit --properties-file conf/lab-4pc.conf --master spark://HOST:7077 \\
        jobs/train_lenet.py --data hdfs://HOST:9000/mnist --run-dir runs/tonight
    spark-submit --properties-file conf/local.conf jobs/train_lenet.py --config conf/lenet-seed.toml

The run folder receives the model (model.bigdl), a snapshot an epoch, learning-curves.png,
TensorBoard events, log.txt and result.json. The same command with the same --run-dir goes on
after the last whole epoch.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from pydantic import Field

from jobs.runtime.job import Run, run_job
from jobs.runtime.options import JobOptions
from jobs.runtime.progress import Progress
from jobs.runtime.text import number
from lenet.idx import read_digits
from lenet.recipe import Recipe


class Options(Recipe, JobOptions):
    """The recipe, and where the data are."""

    may_grow: ClassVar[frozenset[str]] = frozenset({"epochs"})

    data: str = Field("data/mnist", description="folder with MNIST's four files, local or hdfs://")


def work(run: Run[Options]) -> dict[str, Any]:
    """Train, and test the finished model."""
    # Imported late: it takes a second, and a mistyped option should fail at once.
    from lenet import bigdl, fused
    from lenet.evaluation import evaluate
    from lenet.schedule import check_batch_size, total_iterations
    from lenet.snapshots import MODEL_FILE, save_model
    from lenet.training import Callbacks, Trainer

    options, cluster = run.options, run.cluster
    check_batch_size(options.batch_size, cluster.executors, cluster.cores)
    train, test = read_digits(options.data, "train"), read_digits(options.data, "test")
    run.add_jars(bigdl.class_path())
    with ThreadPoolExecutor(1) as pool:
        # While Spark starts, the driver's JVM has time for what does not need it.
        pool.submit(fused.prepare_jvm, options)
        records = pool.submit(
            lambda: (bigdl.load_records(train, options.shift), bigdl.load_records(test))
        )
        context = run.start_spark(
            bigdl.spark_properties(cluster.cores), fused.context_class(options)
        )
        bigdl.start_engine(context)

    progress = Progress(total_iterations(options, len(train)), "iteration")

    def saved() -> None:
        run.folder.publish()
        run.stop.check()

    with run.executors() as executors, run.stop.gently():
        train_records, test_records = records.result()
        trainer = Trainer(
            context,
            options,
            train_records,
            test_records,
            run_folder=run.folder.path,
            callbacks=Callbacks(
                progress=progress.update,
                saved=saved,
                recover=executors.recover,
                lost=executors.lost,
            ),
        )
        trainer.run()
    progress.close()

    from lenet.charts import draw_learning_curves

    save_model(trainer.network, run.folder.path / MODEL_FILE)
    losses = trainer.summaries.curve("Loss")
    history = trainer.state["history"]
    curves = run.folder.path / "learning-curves.png"
    draw_learning_curves(curves, list(losses), list(losses.values()), history)
    evaluation = evaluate(trainer.network, test)

    def median_of(key: str) -> float:
        return statistics.median(entry[key] for entry in history)

    return {
        "top1_accuracy": evaluation.top1_accuracy,
        "correct": evaluation.correct,
        "count": len(test),
        "loss": evaluation.loss,
        "epochs": sum("test_accuracy" in entry for entry in history),
        "iterations": trainer.state["iteration"],
        "wall_clock_seconds": trainer.state["wall_clock_seconds"],
        "records_per_second": statistics.median(trainer.summaries.curve("Throughput").values()),
        "iteration_seconds": median_of("iteration_seconds"),
        "compute_seconds": median_of("compute_seconds"),
        "exchange_seconds": median_of("exchange_seconds"),
        "setup_seconds": trainer.summaries.first_time() - run.submitted_at,
        "history": history,
    }


def summary(metrics: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """The table at the end."""
    return [
        (
            "Top-1",
            f"{100 * metrics['top1_accuracy']:.2f} % ({metrics['correct']} of {metrics['count']})",
        ),
        ("loss", f"{number(metrics['loss'], '.4f')} per record"),
        ("epochs", f"{metrics['epochs']} ({metrics['iterations']} iterations)"),
        ("wall clock", f"{metrics['wall_clock_seconds']:.1f} s"),
        ("records/s", f"{metrics['records_per_second']:.0f}"),
    ]


if __name__ == "__main__":
    sys.exit(run_job("train_lenet", Options, work, summary))
