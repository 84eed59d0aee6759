"""Wait for executors, watch them, and carry on without those that are lost."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

from pyspark import SparkContext

from jobs.runtime.cluster.master import hosts_without_executors
from jobs.runtime.errors import UnavailableError
from jobs.runtime.profile import Cluster

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1
WATCH_SECONDS = 0.5


def executors_by_id(context: SparkContext) -> dict[str, str]:
    """The addresses of the executors that are registered at this moment; an id never recurs."""
    summaries = context._jsc.sc().statusStore().executorList(True)
    found = [summaries.apply(index) for index in range(summaries.size())]
    hosts = {one.id(): one.hostPort().rpartition(":")[0] for one in found}
    hosts.pop("driver", None)
    return hosts


def wait_for_executors(context: SparkContext, cluster: Cluster, seconds: float) -> None:
    """Wait until all promised executors are registered.

    Raises:
        UnavailableError: some are missing after `seconds`; the message counts them, and names
            the hosts that gave none as far as they are known.
    """
    if cluster.is_local:
        return
    deadline = time.monotonic() + seconds
    while len(present := executors_by_id(context)) < cluster.executors:
        if context._jsc.sc().isStopped():
            raise UnavailableError(
                f"{cluster.master} refused or ended this application; does it demand a secret "
                "that this node lacks? scripts/cluster.sh start gives it to every node"
            )
        if time.monotonic() > deadline:
            missing = hosts_without_executors(cluster.master, [*present.values()])
            nothing_on = f" (nothing on {', '.join(missing)})" if missing else ""
            raise UnavailableError(
                f"{cluster.master} gave {len(present)} of the {cluster.executors} executors with "
                f"{cluster.executor} that the profile asks for within "
                f"{seconds:.0f} s{nothing_on}; start more workers, end other applications, or "
                "take a smaller profile"
            )
        time.sleep(POLL_SECONDS)


def cancel_jobs(context: SparkContext) -> None:
    """Make all running Spark jobs fail for whoever waits for them.

    SparkContext.cancelAllJobs forgets a job that has no running stage at that moment, and whoever
    waits for it then waits without end.
    """
    for number in context.statusTracker().getActiveJobsIds():
        context._jsc.sc().cancelJob(number)


class Executors:
    """The executors that a job works with; as a context manager, it watches them.

    Spark waits without end for a task's executor to come back, and BigDL goes on after a loss
    with weights of which a part has fallen back to the beginning of the epoch. Here, as soon as
    one is lost, the running Spark jobs are cancelled until whoever waits for them calls
    `recover`, even where a new one has taken its place by then.
    """

    def __init__(self, context: SparkContext, cluster: Cluster, wait_seconds: float) -> None:
        self._context = context
        self._cluster = cluster
        self._wait_seconds = wait_seconds
        self._members = frozenset(executors_by_id(context))
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Executors:
        if not self._cluster.is_local:
            self._watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._watch.is_alive():
            self._watch.join()

    def lost(self) -> int:
        """How many have been lost since the start, or since the last `recover`."""
        return len(self._members - executors_by_id(self._context).keys())

    def recover(self) -> int:
        """After a failure: wait until all promised executors are there, or do with fewer.

        Returns:
            How many there are to go on with.

        Raises:
            UnavailableError: none is left.
        """
        self._members = frozenset()  # nothing to watch meanwhile
        try:
            wait_for_executors(self._context, self._cluster, self._wait_seconds)
        except UnavailableError:
            if self._context._jsc.sc().isStopped():
                raise
            present = len(executors_by_id(self._context))
            if not present:
                raise
            logger.warning(
                "only %d of %d executors came back within %.0f s; going on with them",
                present,
                self._cluster.executors,
                self._wait_seconds,
            )
        self._members = frozenset(executors_by_id(self._context))
        return self._cluster.executors if self._cluster.is_local else len(self._members)

    def _run(self) -> None:
        told: frozenset[str] = frozenset()
        while not self._ended.wait(WATCH_SECONDS):
            members = self._members
            lost = len(members - executors_by_id(self._context).keys())
            if not lost:
                continue
            if members != told:
                logger.warning("%d of %d executors are gone", lost, len(members))
                told = members
            cancel_jobs(self._context)
