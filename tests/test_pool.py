"""What executors are given. Items: every outcome once, the heaviest first; what the driver raises
ends it. Ranks: what one of them raises is what the driver tells."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own: a session of this one would stay in the way of other tests.
PROGRAM = """
import os
from functools import partial
from pyspark import BarrierTaskContext, SparkConf, SparkContext, TaskContext
from jobs.runtime.errors import JobError, UnavailableError
from jobs.runtime.pool import run_on_executors
from jobs.runtime.profile import Cluster
from jobs.runtime.ranks import plan_launch, run_on_ranks

launch = plan_launch(Cluster("local[2]", executors=1, cores=2, memory="1g"), ranks=2)
conf = SparkConf().setMaster("local[2]").set("spark.ui.enabled", "false")
conf.setAll(launch.properties.items())
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

def second_rank_raises(error):
    if os.environ["RANK"] == "1":
        raise error
    BarrierTaskContext.get().barrier()

for error in (UnavailableError("no disk there"), ValueError("no such layer")):
    try:
        run_on_ranks(
            context,
            launch,
            partial(second_rank_raises, error),
            on_progress=print,
            recover=lambda: launch,
            max_restarts=0,
        )
    except JobError as told:
        print(told.exit_code, told)
context.stop()
"""


def test_items_and_ranks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    stopped, *told = done.stdout.splitlines()
    assert stopped.startswith("stopped at ")
    # Its own exit code; its own type where it has none.
    assert told == [
        "69 no disk there",
        "1 the ranks failed 1 times, at last with: ValueError: no such layer",
    ]
