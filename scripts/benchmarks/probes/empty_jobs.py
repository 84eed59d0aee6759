"""What a Spark job costs whose tasks do nothing.

    spark-submit --properties-file conf/local.conf scripts/benchmarks/probes/empty_jobs.py 1,8,64

Prints a line of JSON: milliseconds by the number of tasks.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

from pyspark import SparkConf, SparkContext

WARM_UP, JOBS = 50, 30


def main(counts: str) -> None:
    """Time the jobs, all in the JVM, as BigDL's are."""
    conf = SparkConf().setAppName("empty_jobs").set("spark.driver.host", "127.0.0.1")
    context = SparkContext(conf=conf.set("spark.driver.bindAddress", "127.0.0.1"))
    milliseconds = {}
    for count in map(int, counts.split(",")):
        numbers = context._jsc.sc().range(0, count, 1, count)
        seconds = []
        for _ in range(WARM_UP + JOBS):
            started = time.perf_counter()
            numbers.count()
            seconds.append(time.perf_counter() - started)
        milliseconds[count] = 1000 * statistics.median(seconds[WARM_UP:])
    context.stop()
    print(json.dumps(milliseconds, allow_nan=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
