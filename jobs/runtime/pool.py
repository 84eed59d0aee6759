"""Many independent items of work on the executors: each outcome is known as soon as it is there."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pyspark import AccumulatorParam, SparkContext

from jobs.runtime.executors import cancel_jobs

POLL_SECONDS = 0.1
TASKS_PER_CORE = 4
"""At least, if there are as many items: with fewer, cores would wait for the last ones."""
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class _Outcomes(AccumulatorParam):
    """Collects lists; Spark counts those of a task once, however often it was tried."""

    def zero(self, value: list[Any]) -> list[Any]:
        return []

    def addInPlace(self, value1: list[Any], value2: list[Any]) -> list[Any]:
        value1.extend(value2)
        return value1


def run_on_executors(
    context: SparkContext,
    items: Sequence[Item],
    do: Callable[[Item], Outcome],
    weigh: Callable[[Item], float],
    least_weight: float,
    on_outcome: Callable[[Outcome], object],
) -> None:
    """Do every item on some executor, the heaviest first, and report each outcome.

    A free core takes the next task, so a heavy item does not leave the others idle; light items
    share a task.

    Args:
        context: the session.
        items: picklable.
        do: runs on an executor; what it returns is an outcome, an exception ends everything.
        weigh: how much work an item is.
        least_weight: least work in one task, if there are enough items. Spark
            needs 50 ms between two tasks of a core.
        on_outcome: called on the driver; what it raises ends everything.
    """
    if not items:
        return
    share = sum(map(weigh, items)) / (TASKS_PER_CORE * context.defaultParallelism)
    weight = min(least_weight, share)
    tasks = list(_grouped(sorted(items, key=weigh, reverse=True), weigh, weight))
    outcomes = context.accumulator([], _Outcomes())

    def run_task(groups: Iterator[Sequence[Item]]) -> None:
        # Teaches the executor's process hdfs://.
        from jobs.runtime import remote  # noqa: F401

        # Spark collects garbage after each task, and looking through all of torch takes 75 ms.
        gc.freeze()
        for group in groups:
            for item in group:
                outcomes.add([do(item)])

    seen = 0
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(context.parallelize(tasks, len(tasks)).foreachPartition, run_task)
        try:
            while True:
                ended = running.done()
                found = outcomes.value
                for outcome in found[seen:]:
                    on_outcome(outcome)
                seen = len(found)
                if ended:
                    break
                time.sleep(POLL_SECONDS)
        except BaseException:
            cancel_jobs(context)
            raise
        running.result()


def _grouped(
    items: Sequence[Item], weigh: Callable[[Item], float], least_weight: float
) -> Iterator[Sequence[Item]]:
    group: list[Item] = []
    weight = 0.0
    for item in items:
        group.append(item)
        weight += weigh(item)
        if weight >= least_weight:
            yield group
            group, weight = [], 0.0
    if group:
        yield group
