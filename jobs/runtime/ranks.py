"""Ranks of a torch DDP training, launched by Spark's TorchDistributor.

What TorchDistributor lacks is here: errors keep their exit code, the first rank's progress
reaches the person at the driver, and a training that lost a rank is launched again.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import TextIOBase
from typing import Any

import torch
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession

from jobs.runtime.errors import JobError, UnavailableError, UsageError
from jobs.runtime.spark import Cluster

LOG = logging.getLogger(__name__)

PROGRESS_MARK = "@progress "


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
        use_gpu: a GPU each; else cores.
        properties: what Spark must be started with.
    """

    ranks: int
    use_gpu: bool
    properties: dict[str, str]


def plan_launch(cluster: Cluster, ranks: int | None) -> Launch:
    """The launch for a cluster: as asked, else a rank a GPU, else a rank a core.

    On GPUs a rank takes one; on cores the ranks share an executor's cores equally.

    Raises:
        UsageError: the ranks do not fit the cluster.
    """
    # A reused Python worker would keep CUDA_VISIBLE_DEVICES from the task before.
    properties = {"spark.python.worker.reuse": "false"}
    if cluster.gpus:
        slots = cluster.executors * cluster.gpus
        ranks = ranks or slots
        if ranks > slots:
            raise UsageError(f"--ranks {ranks}: the profile has {slots} GPUs")
        properties["spark.task.resource.gpu.amount"] = "1"
        properties["spark.task.cpus"] = str(max(1, cluster.cores // cluster.gpus))
        return Launch(ranks, True, properties)
    cores = cluster.executors * cluster.cores
    ranks = ranks or cores
    if ranks > cores:
        raise UsageError(f"--ranks {ranks}: the profile has {cores} cores")
    ranks_per_executor = -(-ranks // cluster.executors)
    properties["spark.task.cpus"] = str(cluster.cores // ranks_per_executor)
    return Launch(ranks, False, properties)


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


def report_progress(values: dict[str, Any]) -> None:
    """Called on the first rank: let the driver know how far the training is."""
    print(PROGRESS_MARK + json.dumps(values), flush=True)


def run_on_ranks(
    context: SparkContext,
    launch: Launch,
    function: Callable[..., dict[str, Any]],
    *arguments: Any,
    on_progress: Callable[[dict[str, Any]], None],
    recover: Callable[[], None],
    max_restarts: int,
) -> dict[str, Any]:
    """Run `function(*arguments)` on every rank at once and return what the first one returned.

    Args:
        context: a session started with the launch's properties.
        launch: what `plan_launch` gave.
        function: as `guarded` makes it; it must go on from its own checkpoint when called again.
        arguments: picklable.
        on_progress: receives what the first rank gives to `report_progress`.
        recover: called before a restart; waits until the cluster is whole again, or raises.
        max_restarts: how often a training that lost a rank is launched again.

    Raises:
        RankError: the ranks ended with an error that carries an exit code.
        JobError: they failed in another way, more often than `max_restarts`.
    """
    SparkSession(context)
    distributor = TorchDistributor(launch.ranks, local_mode=False, use_gpu=launch.use_gpu)
    distributor.logger.setLevel(logging.WARNING)
    for attempt in range(max_restarts + 1):
        try:
            lines = _Lines(on_progress)
            with redirect_stderr(lines):
                outcome = distributor.run(function, *arguments)
        except (Py4JJavaError, RuntimeError) as error:
            reason = lines.last_error or _reason(str(error))
            LOG.warning("the ranks failed: %s", reason)
            if attempt == max_restarts:
                raise JobError(
                    f"the ranks failed {attempt + 1} times, at last with: {reason}"
                ) from error
            recover()
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
        if code is None:
            raise
        return {"value": None, "error": str(error), "exit_code": code}


class _Lines(TextIOBase):
    """Takes what TorchDistributor writes: progress is passed on, the rest goes to the log."""

    def __init__(self, on_progress: Callable[[dict[str, Any]], None]) -> None:
        self._on_progress = on_progress
        self.last_error: str | None = None
        """The last error that a rank has named."""

    def write(self, text: str) -> int:
        for line in text.splitlines():
            mark, found, values = line.partition(PROGRESS_MARK)
            if found:
                self._on_progress(json.loads(values))
            elif line.strip():
                logging.getLogger("ranks").warning("%s", mark)
                named = re.match(r"(?:\[rank\d+\]: )?(\w+(?:Error|Exception): .+)", line)
                self.last_error = named[1] if named else self.last_error
        return len(text)


def _reason(text: str) -> str:
    """The last line of a traceback in it that names an error."""
    errors = re.findall(
        r"^\s*(?:\[rank\d+\]: )?(\w*(?:Error|Exception)\b: .+)$", text, re.MULTILINE
    )
    return errors[-1] if errors else text.strip().splitlines()[0]
