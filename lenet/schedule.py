"""How many iterations a training has, and of how many records."""

from __future__ import annotations

import math

from lenet.errors import BatchSizeError
from lenet.recipe import Recipe


def check_batch_size(batch_size: int, executors: int, cores: int) -> None:
    """See that the batch divides among executors and their cores.

    DistriOptimizer gives every core of every executor an equal slice, and fails inside a task
    where it cannot.

    Raises:
        BatchSizeError: it does not; the message names the nearest sizes that do.
    """
    unit = executors * cores
    if batch_size % unit == 0:
        return
    below, above = batch_size // unit * unit, math.ceil(batch_size / unit) * unit
    nearest = f"{below} or {above}" if below else str(above)
    raise BatchSizeError(
        f"--batch-size {batch_size} does not divide among {executors} executors of {cores} cores; "
        f"the nearest sizes that do: {nearest}"
    )


def iterations_per_epoch(records: int, batch_size: int) -> int:
    """DistriOptimizer ends an epoch with the first batch that reaches the number of records."""
    return math.ceil(records / batch_size)


def total_iterations(recipe: Recipe, records: int) -> int:
    """Iterations of a whole training."""
    total = recipe.epochs * iterations_per_epoch(records, recipe.batch_size)
    return min(total, recipe.max_iterations) if recipe.max_iterations else total
