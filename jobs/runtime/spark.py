"""The Spark session of a job, with what BigDL or torch need set by the job itself.

A profile (conf/*.conf) holds only what a person decides: master, executors, cores, memory, GPUs.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark import SparkConf, SparkContext

from jobs.runtime.errors import UnavailableError, UsageError, one_line
from jobs.runtime.jvm import LOG4J_FILE, driver_jvm, send_logs_to
from jobs.runtime.master import connection_properties, hosts_without_executors

POLL_SECONDS = 0.1
# The name under which scripts/submit.sh sends an archive of scripts/pack_environment.sh.
ARCHIVE_NAME = "environment"


@dataclass(frozen=True)
class Cluster:
    """The executors that a profile promises.

    Attributes:
        master: Spark's master URL; `local[*]` is resolved to the number of cores.
        executors: number of executor processes (1 in local mode: the driver itself).
        cores: cores of one executor.
        memory: memory of one executor as in the profile, such as "2g".
        gpus: GPUs of one executor.
    """

    master: str
    executors: int
    cores: int
    memory: str
    gpus: int = 0

    @property
    def is_local(self) -> bool:
        """Whether the driver is the only executor."""
        return self.master.startswith("local")

    def as_dict(self) -> dict[str, Any]:
        """For result.json."""
        return asdict(self)


def read_cluster() -> Cluster:
    """The cluster of the profile that this process was submitted with.

    Raises:
        UsageError: the profile contradicts itself; the message names the key.
    """
    driver_jvm()
    conf = SparkConf()
    master = conf.get("spark.master", "local[*]") or "local[*]"
    if master.startswith("local"):
        memory = conf.get("spark.driver.memory", "1g")
        return Cluster(f"local[{_local_cores(master)}]", 1, _local_cores(master), memory or "1g")
    cores = _positive_int(conf, "spark.executor.cores")
    if master.startswith("spark://"):
        total = _positive_int(conf, "spark.cores.max")
        if total % cores:
            raise UsageError(
                f"profile: spark.cores.max = {total} is no multiple of "
                f"spark.executor.cores = {cores}"
            )
        executors = total // cores
    else:
        executors = _positive_int(conf, "spark.executor.instances")
    memory = conf.get("spark.executor.memory", "1g") or "1g"
    gpus = int(conf.get("spark.executor.resource.gpu.amount", "0") or 0)
    return Cluster(master, executors, cores, memory, gpus)


def submission_time() -> float:
    """When spark-submit started the driver's JVM, in seconds since 1970."""
    runtime = driver_jvm().java.lang.management.ManagementFactory.getRuntimeMXBean()
    return float(runtime.getStartTime()) / 1000


def add_jars(class_path: Sequence[str]) -> None:
    """Add jars to the class path of the driver, whose JVM spark-submit has started already."""
    jvm = driver_jvm()
    loader = jvm.Thread.currentThread().getContextClassLoader()
    for jar in class_path:
        loader.addURL(jvm.java.io.File(jar).toURI().toURL())


def start_spark(
    cluster: Cluster,
    app_name: str,
    *,
    log_file: Path,
    class_path: Sequence[str],
    properties: Mapping[str, str],
    executor_wait: float,
) -> SparkContext:
    """Start the session and wait until the promised executors are there.

    Args:
        cluster: what `read_cluster` gave.
        app_name: shown in Spark's own pages.
        log_file: receives what the JVM prints and its warnings.
        class_path: jars for the executors; the driver has them by `add_jars`.
        properties: further Spark properties that the job's engine needs.
        executor_wait: seconds until missing executors are an error.

    Raises:
        UnavailableError: no master answers, or executors are missing.
    """
    connection = _connection(cluster)
    send_logs_to(log_file)
    conf = SparkConf().setMaster(cluster.master).setAppName(app_name)
    environment = _environment_on_nodes(conf)
    log4j = LOG4J_FILE.as_uri()
    if environment != sys.prefix:
        class_path = [path.replace(sys.prefix, environment, 1) for path in class_path]
        log4j = f"file:{environment}/conf/{LOG4J_FILE.name}"
    # Executors must run this very interpreter, not the first python3 on their PATH.
    os.environ["PYSPARK_PYTHON"] = f"{environment}/bin/python"
    conf.set("spark.ui.showConsoleProgress", "false")
    conf.set("spark.dynamicAllocation.enabled", "false")
    conf.set("spark.executor.extraClassPath", os.pathsep.join(class_path))
    # The JVM would start its helper threads for every core of the machine, which are not its own.
    java_options = f"-Dlog4j2.configurationFile={log4j} -XX:ActiveProcessorCount={cluster.cores}"
    conf.set("spark.executor.extraJavaOptions", java_options)
    for key, value in connection.items():
        conf.setIfMissing(key, value)
    for key, value in properties.items():
        conf.set(key, value)
    try:
        context = SparkContext(conf=conf)
    except Py4JJavaError as error:
        raise UnavailableError(
            f"Spark did not start on {cluster.master}: {one_line(error)}"
        ) from error
    wait_for_executors(context, cluster, executor_wait)
    return context


def stop_spark(context: SparkContext) -> None:
    """Stop the session, and what Spark forgets: its timers for barriers keep a JVM from ending."""
    context.stop()
    for thread in driver_jvm().Thread.getAllStackTraces().keySet():
        if thread.getName().startswith("Barrier") and not thread.isDaemon():
            thread.stop()


def executor_hosts(context: SparkContext) -> list[str]:
    """The addresses of the executors that are registered at this moment."""
    summaries = context._jsc.sc().statusStore().executorList(True)
    found = [summaries.apply(index) for index in range(summaries.size())]
    return [one.hostPort().rpartition(":")[0] for one in found if one.id() != "driver"]


def wait_for_executors(context: SparkContext, cluster: Cluster, seconds: float) -> None:
    """Wait until all promised executors are registered.

    Raises:
        UnavailableError: some are missing after `seconds`; the message counts them, and names
            the hosts that gave none as far as they are known.
    """
    if cluster.is_local:
        return
    deadline = time.monotonic() + seconds
    while len(present := executor_hosts(context)) < cluster.executors:
        if context._jsc.sc().isStopped():
            raise UnavailableError(
                f"{cluster.master} refused or ended this application; does it demand a secret "
                "that this node lacks? scripts/cluster.sh start gives it to every node"
            )
        if time.monotonic() > deadline:
            missing = hosts_without_executors(cluster.master, present)
            nothing_on = f" (nothing on {', '.join(missing)})" if missing else ""
            raise UnavailableError(
                f"{cluster.master} gave {len(present)} of the {cluster.executors} executors with "
                f"{cluster.cores} cores and {cluster.memory} that the profile asks for within "
                f"{seconds:.0f} s{nothing_on}; start more workers, end other applications, or "
                "take a smaller profile"
            )
        time.sleep(POLL_SECONDS)


def _environment_on_nodes(conf: SparkConf) -> str:
    """Where executors find the environment: at this path, or unpacked in their working folder."""
    keys = ("spark.archives", "spark.yarn.dist.archives")
    archives = ",".join(conf.get(key, "") or "" for key in keys)
    return f"./{ARCHIVE_NAME}" if archives.endswith(f"#{ARCHIVE_NAME}") else sys.prefix


def _connection(cluster: Cluster) -> dict[str, str]:
    if cluster.is_local:
        return {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    if cluster.master.startswith("spark://"):
        return connection_properties(cluster.master)
    return {}


def _local_cores(master: str) -> int:
    match = re.fullmatch(r"local(?:\[(\d+|\*)(?:,\s*\d+)?\])?", master)
    if match is None or match[1] == "0":
        raise UsageError(f"master {master}: expected local[N] or local[*]")
    return len(os.sched_getaffinity(0)) if match[1] == "*" else int(match[1] or 1)


def _positive_int(conf: SparkConf, key: str) -> int:
    value = conf.get(key, "") or ""
    if not value.isdigit() or int(value) == 0:
        raise UsageError(
            f"profile: {key} = {value or 'nothing'}: this master needs a positive whole number"
        )
    return int(value)
