"""Train LeNet5 with PyTorch DDP on a Spark cluster, one rank per core, for comparison.

    spark-submit --properties-file conf/local.conf \\
        scripts/benchmarks/baselines/train_torch_lenet.py --data data/mnist
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import Field

from jobs.runtime.job import Run, run_job
from jobs.runtime.options import JobOptions
from lenet.recipe import Recipe


class Options(Recipe, JobOptions):
    """The recipe, and where the data are."""

    data: str = Field("data/mnist", description="folder with MNIST's four files")


def work(run: Run[Options]) -> dict[str, Any]:
    """Train on all ranks."""
    from jobs.runtime.ranks import plan_launch, run_on_ranks

    options = run.options
    launch = plan_launch(run.cluster, None)
    context = run.start_spark(launch.properties)
    recipe = Recipe(**{name: getattr(options, name) for name in Recipe.model_fields})
    metrics = run_on_ranks(
        context,
        launch,
        partial(_train_on_rank, recipe.model_dump(), options.data, __file__),
        on_progress=lambda _: None,
        recover=lambda: launch,
        max_restarts=0,
    )
    metrics["ranks"] = launch.ranks
    metrics["setup_seconds"] = metrics["first_iteration_at"] - run.submitted_at
    return metrics


def _train_on_rank(recipe: dict[str, Any], data: str, this_file: str) -> dict[str, Any]:
    # Runs in another process, which knows nothing of this folder.
    from pathlib import Path

    sys.path.insert(0, str(Path(this_file).resolve().parent))
    from torch_lenet import train_lenet

    return train_lenet(Recipe(**recipe), data, 1)


def summary(metrics: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """The table at the end."""
    return [
        ("Top-1", f"{100 * metrics['top1_accuracy']:.2f} %"),
        ("records/s", f"{metrics['records_per_second']:.0f}"),
    ]


if __name__ == "__main__":
    sys.exit(run_job("train_torch_lenet", Options, work, summary))
