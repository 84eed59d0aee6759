"""Ranks of a torch DDP training: the tasks of a barrier stage, each in its Python worker.

Spark's TorchDistributor launches ranks as well, but through pandas and pyarrow, three processes a
rank and a server on all networks; an error comes out of it as text. Here errors keep their exit
code, the first rank's progress reaches the person at the driver, and a training that lost a rank
is launched again.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from py4j.protocol import Py4JJavaError
from pyspark import BarrierTaskContext, SparkContext

from jobs.runtime.errors import JobError, UnavailableError, UsageError
from jobs.runtime.gpu import rank_environment
from jobs.runtime.profile import Cluster
from jobs.runtime.rank_reports import MeetingPoint, join, report_failure
from jobs.runtime.spark import gpu_task_properties

logger = logging.getLogger(__name__)


class RankError(JobError):
    """An error that the ranks named themselves, with their exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Launch:
    """How many ranks there are, and what each gets."""

    ranks: int
    """Processes, each a task of one barrier stage."""
    ranks_per_executor: int
    """The most that one executor gets."""
    use_gpu: bool
    """Whether a rank gets a GPU; else cores."""
    properties: dict[str, str]
    """What Spark must be started with."""

    def on_fewer(self, executors: int, batch_size: int) -> Launch:
        """The launch for what is left of the executors: as many ranks as share a batch equally."""
        ranks = min(self.ranks, executors * self.ranks_per_executor)
        while batch_size % ranks:
            ranks -= 1
        return replace(self, ranks=ranks)


def plan_launch(cluster: Cluster, ranks: int | None, local_gpus: int = 0) -> Launch:
    """The launch for a cluster: as asked, else one rank per GPU, else one per core.

    On GPUs a rank takes one; on cores the ranks share an executor's cores equally.

    Args:
        cluster: what `read_cluster` gave.
        ranks: how many are asked for, if any.
        local_gpus: GPUs of this machine, which local mode may use.

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
        if cluster.cores < cluster.gpus:
            raise UsageError(
                f"profile: an executor has {cluster.gpus} GPUs and {cluster.cores} cores; each GPU "
                "needs a core of its own: raise spark.executor.cores"
            )
        slots = cluster.executors * cluster.gpus
        ranks = ranks or slots
        if ranks > slots:
            raise UsageError(f"--ranks {ranks}: the profile has {slots} GPUs")
        return Launch(ranks, cluster.gpus, True, properties | gpu_task_properties(cluster))
    if cluster.is_local and local_gpus:
        # Without a Worker nobody schedules them: each rank takes the one of its number.
        slots = min(local_gpus, cluster.cores)
        ranks = ranks or slots
        if ranks > slots:
            raise UsageError(
                f"--ranks {ranks}: this machine has {local_gpus} GPUs and {cluster.cores} cores; "
                "with --device cpu a rank takes cores alone"
            )
        properties["spark.task.cpus"] = str(cluster.cores // ranks)
        return Launch(ranks, ranks, True, properties)
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
    function: Callable[[], dict[str, Any]],
    *,
    on_progress: Callable[[dict[str, Any]], None],
    recover: Callable[[], Launch],
    max_restarts: int,
) -> dict[str, Any]:
    """Run `function()` on every rank at once and return what the first one returned.

    Args:
        context: a session started with the launch's properties.
        launch: what `plan_launch` gave.
        function: picklable; must go on from its own checkpoint when it is called again.
        on_progress: receives what the first rank gives to `report_progress`.
        recover: called before a restart; the launch for the executors that are there then.
        max_restarts: how often a training that lost a rank is launched again.

    Raises:
        RankError: a rank ended with an error that carries an exit code.
        JobError: they failed in another way, more often than `max_restarts`.
    """
    host = context.getConf().get("spark.driver.host")
    for attempt in range(max_restarts + 1):
        meeting = MeetingPoint(host, on_progress)
        task = partial(_run_rank, meeting.address, meeting.port, launch, function)
        try:
            with meeting:
                ranks = context.parallelize(range(launch.ranks), launch.ranks).barrier()
                return ranks.mapPartitions(task).collect()[0]
        except Py4JJavaError as error:
            for failure in meeting.failures:
                if failure.exit_code is not None:
                    raise RankError(failure.message, failure.exit_code) from error
            reason = meeting.failures[0].message if meeting.failures else _reason(error)
            logger.warning("the ranks failed: %s", reason)
            if attempt == max_restarts:
                raise JobError(
                    f"the ranks failed {attempt + 1} times, at last with: {reason}"
                ) from error
            launch = recover()
            logger.warning(
                "restart %d of %d, from the newest checkpoint", attempt + 1, max_restarts
            )
    raise AssertionError("unreachable")


def _run_rank(
    address: str,
    port: int,
    launch: Launch,
    function: Callable[[], dict[str, Any]],
    _partition: Iterator[int],
) -> Iterator[dict[str, Any]]:
    """The task of a rank."""
    context = BarrierTaskContext.get()
    given = context.resources().get("gpu")
    rank = context.partitionId()
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK="0",
        WORLD_SIZE=str(launch.ranks),
        **rank_environment(given.addresses if given else [], rank, launch.use_gpu),
    )
    join(address, port)
    try:
        value = function()
    except Exception as error:
        report_failure(error)
        raise
    if rank == 0:
        yield value


def _reason(error: Py4JJavaError) -> str:
    """The last line in it that names an error, or else its first line."""
    text = str(error.java_exception.getMessage())
    errors = re.findall(r"^\s*(?:\w+\.)*(\w*(?:Error|Exception|Failed)\b: .+)$", text, re.MULTILINE)
    return errors[-1] if errors else text.strip().splitlines()[0]
