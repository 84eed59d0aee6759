"""Items on executors: every outcome once, the heaviest first; what the driver raises ends it."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own: a session of this one would stay in the way of other tests.
PROGRAM = """
from pyspark import SparkConf, SparkContext, TaskContext
from jobs.runtime.pool import run_on_executors

conf = SparkConf().setMaster("local[2]").set("spark.ui.enabled", "false")
context = SparkContext(conf=conf.set("spark.driver.host", "127.0.0.1"))
seen = []
items = list(range(1, 41))
run_on_executors(
    context, items, lambda item: (item, item * item), float, least_weight=30, on_outcome=seen.append
)
assert sorted(seen) == [(item, item * item) for item in items], seen
assert {item for item, _ in seen[:2]} <= {40, 39, 38, 37}, seen

tasks = []
run_on_executors(
    context,
    range(16),
    lambda item: TaskContext.get().partitionId(),
    lambda item: 1.0,
    least_weight=100,
    on_outcome=tasks.append,
)
assert len(set(tasks)) == 8, "16 items are too little work for 4 tasks of each of 2 cores"

def stop(outcome):
    raise ValueError(f"stopped at {outcome}")

try:
    run_on_executors(context, items, lambda item: item, float, least_weight=1, on_outcome=stop)
except ValueError as error:
    print(error)
run_on_executors(context, [], None, None, 0, stop)
context.stop()
"""


def test_every_outcome_once_and_the_heaviest_first() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "stopped at " in done.stdout
