"""Ranks of a torch DDP training, launched by Spark's TorchDistributor.

What TorchDistributor lacks is here: errors keep their exit code, the first rank's progress
reaches the person at the driver, and a training that lost a rank is launched again.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from typing import Any

import pyspark.ml.torch.distributor
import torch
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession

from jobs.runtime.errors import (
    DISK_FULL,
    EXIT_FAILED,
    JobError,
    UnavailableError,
    UsageError,
    one_line,
)
from jobs.runtime.profile import Cluster
from jobs.runtime.rank_reports import DriverLogServer, RankLines
from jobs.runtime.spark import gpu_task_properties

LOG = logging.getLogger(__name__)


class RankError(JobError):
    """An error that the ranks named themselves, with their exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Launch:
    """How many ranks there are, and what each gets.

    Attributes:
        ranks: processes, each a task of one barrier stage.
        ranks_per_executor: at most.
        use_gpu: a GPU each; else cores.
        properties: what Spark must be started with.
    """

    ranks: int
    ranks_per_executor: int
    use_gpu: bool
    properties: dict[str, str]

    def on_fewer(self, executors: int, batch_size: int) -> Launch:
        """The launch for what is left of the executors: as many ranks as share a batch equally."""
        ranks = min(self.ranks, executors * self.ranks_per_executor)
        while batch_size % ranks:
            ranks -= 1
        return replace(self, ranks=ranks)


def plan_launch(cluster: Cluster, ranks: int | None) -> Launch:
    """The launch for a cluster: as asked, else a rank a GPU, else a rank a core.

    On GPUs a rank takes one; on cores the ranks share an executor's cores equally.

    Raises:
        UsageError: the ranks do not fit the cluster.
    """
    properties = {
        # A reused Python worker would keep CUDA_VISIBLE_DEVICES from the task before.
        "spark.python.worker.reuse": "false",
        # Whether and where to launch again is decided here, not by Spark.
        "spark.stage.maxConsecutiveAttempts": "1",
    }
    if cluster.gpus:
        slots = cluster.executors * cluster.gpus
        ranks = ranks or slots
        if ranks > slots:
            raise UsageError(f"--ranks {ranks}: the profile has {slots} GPUs")
        return Launch(ranks, cluster.gpus, True, properties | gpu_task_properties(cluster))
    cores = cluster.executors * cluster.cores
    ranks = ranks or cores
    if ranks > cores:
        raise UsageError(f"--ranks {ranks}: the profile has {cores} cores")
    ranks_per_executor = -(-ranks // cluster.executors)
    properties["spark.task.cpus"] = str(cluster.cores // ranks_per_executor)
    return Launch(ranks, ranks_per_executor, False, properties)


def check_gpu() -> None:
    """Called on a rank that was given a GPU: see that torch can use it.

    Raises:
        UnavailableError: it cannot; training on the CPU instead would only look like success.
    """
    if not torch.cuda.is_available():
        given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        raise UnavailableError(
            f"Spark gave GPU {given} of {socket.gethostname()} to rank {os.environ['RANK']}, but "
            "torch sees none there; install its CUDA build, or take a profile without GPUs"
        )


def run_on_ranks(
    context: SparkContext,
    launch: Launch,
    function: Callable[..., dict[str, Any]],
    *arguments: Any,
    on_progress: Callable[[dict[str, Any]], None],
    recover: Callable[[], Launch],
    max_restarts: int,
) -> dict[str, Any]:
    """Run `function(*arguments)` on every rank at once and return what the first one returned.

    Args:
        context: a session started with the launch's properties.
        launch: what `plan_launch` gave.
        function: as `guarded` makes it; it must go on from its own checkpoint when called again.
        arguments: picklable.
        on_progress: receives what the first rank gives to `report_progress`.
        recover: called before a restart; the launch for the executors that are there then.
        max_restarts: how often a training that lost a rank is launched again.

    Raises:
        RankError: the ranks ended with an error that carries an exit code.
        JobError: they failed in another way, more often than `max_restarts`.
    """
    SparkSession(context)
    pyspark.ml.torch.distributor.LogStreamingServer = DriverLogServer
    for attempt in range(max_restarts + 1):
        distributor = TorchDistributor(launch.ranks, local_mode=False, use_gpu=launch.use_gpu)
        distributor.logger.setLevel(logging.WARNING)
        try:
            lines = RankLines(on_progress)
            with redirect_stderr(lines):
                outcome = distributor.run(function, *arguments)
        except (Py4JJavaError, RuntimeError) as error:
            reason = lines.last_error or _reason(error)
            LOG.warning("the ranks failed: %s", reason)
            if attempt == max_restarts:
                raise JobError(
                    f"the ranks failed {attempt + 1} times, at last with: {reason}"
                ) from error
            launch = recover()
            LOG.warning("restart %d of %d, from the newest checkpoint", attempt + 1, max_restarts)
            continue
        if outcome["error"] is not None:
            raise RankError(outcome["error"], outcome["exit_code"])
        return outcome["value"]
    raise AssertionError("unreachable")


def guarded(function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """Call a function on a rank; an error with an exit code becomes a value.

    TorchDistributor turns every exception into a RuntimeError, and loses its type.
    """
    try:
        return {"value": function(*arguments), "error": None, "exit_code": 0}
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None and isinstance(error, OSError) and error.errno in DISK_FULL:
            code = EXIT_FAILED
        if code is None:
            raise
        return {"value": None, "error": one_line(error), "exit_code": code}


def _reason(error: Py4JJavaError | RuntimeError) -> str:
    """The last line of a traceback in it that names an error, or else its first line."""
    java_error = getattr(error, "java_exception", None)
    text = str(error) if java_error is None else str(java_error.getMessage())
    errors = re.findall(
        r"^\s*(?:\[rank\d+\]: )?(\w*(?:Error|Exception)\b: .+)$", text, re.MULTILINE
    )
    return errors[-1] if errors else text.strip().splitlines()[0]
