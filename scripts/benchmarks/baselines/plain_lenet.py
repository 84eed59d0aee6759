"""Train LeNet5 with PyTorch as a textbook would: one process, no Spark.

    python scripts/benchmarks/baselines/plain_lenet.py BATCH_SIZE EPOCHS THREADS DATA RESULT.json

RESULT.json gets the metrics that a job writes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
from torch_lenet import train_lenet

from lenet.recipe import Recipe


def main(batch_size: str, epochs: str, threads: str, data: str, result: str) -> None:
    """Train and write what a job writes as its metrics."""
    recipe = Recipe(batch_size=int(batch_size), epochs=int(epochs))
    metrics = train_lenet(recipe, data, int(threads))
    started = psutil.Process().create_time()
    metrics["setup_seconds"] = metrics["first_iteration_at"] - started
    Path(result).write_text(json.dumps({"metrics": metrics}, allow_nan=False), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
