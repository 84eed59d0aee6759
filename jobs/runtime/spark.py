"""The Spark session of a job, with what BigDL or torch need set by the job itself.

A profile (conf/*.conf) holds only what a person decides: master, executors, cores, memory, GPUs.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from py4j.protocol import Py4JJavaError
from pyspark import SparkConf, SparkContext

from jobs.runtime.cluster.master import check_room, connection_properties
from jobs.runtime.errors import UnavailableError, one_line
from jobs.runtime.executors import wait_for_executors
from jobs.runtime.files import ROOT
from jobs.runtime.gpu import PCI_ORDER, local_gpus
from jobs.runtime.jvm import LOG4J_FILE, driver_jvm, send_logs_to
from jobs.runtime.profile import Cluster
from jobs.runtime.security import ENCRYPTION

NO_ANSWER = (
    "the Master has not taken this application (does it demand a secret that this node lacks? "
    "scripts/cluster.sh start gives it to every node)"
)
ARCHIVE_NAME = "environment"
"""The name under which scripts/submit.sh sends an archive of scripts/pack_environment.sh."""


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
    context_class: type[SparkContext] = SparkContext,
) -> SparkContext:
    """Start the session and wait until the promised executors are there.

    Args:
        cluster: what `read_cluster` gave.
        app_name: shown in Spark's own pages.
        log_file: receives what the JVM prints and its warnings.
        class_path: jars for the executors; the driver has them by `add_jars`.
        properties: further Spark properties that the job's engine needs.
        executor_wait: seconds until missing executors are an error.
        context_class: what to start.

    Raises:
        UnavailableError: no master answers, or executors are missing.
    """
    connection = _connection(cluster)
    send_logs_to(log_file)
    conf = SparkConf().setMaster(cluster.master).setAppName(app_name)
    environment = _environment_on_nodes(conf)
    log4j = LOG4J_FILE.as_uri()
    if environment != sys.prefix:
        class_path = [_on_nodes(path, environment) for path in class_path]
        log4j = f"file:{environment}/conf/{LOG4J_FILE.name}"
        conf.set("spark.yarn.config.gatewayPath", sys.prefix)
        conf.set("spark.yarn.config.replacementPath", f"{{{{PWD}}}}/{ARCHIVE_NAME}")
    # Executors must run this very interpreter, not the first python3 on their PATH.
    os.environ["PYSPARK_PYTHON"] = f"{environment}/bin/python"
    conf.set("spark.ui.showConsoleProgress", "false")
    # Each application on a machine takes the next port for its pages.
    conf.setIfMissing("spark.port.maxRetries", "128")
    conf.set("spark.dynamicAllocation.enabled", "false")
    conf.set("spark.executor.extraClassPath", os.pathsep.join(class_path))
    # The JVM would start its helper threads for every core of the machine, which are not its own.
    java_options = f"-Dlog4j2.configurationFile={log4j} -XX:ActiveProcessorCount={cluster.cores}"
    conf.set("spark.executor.extraJavaOptions", java_options)
    for key, value in connection.items():
        conf.setIfMissing(key, value)
    for key, value in properties.items():
        conf.set(key, value)
    context = _started(context_class, conf, executor_wait)
    wait_for_executors(context, cluster, executor_wait)
    return context


TASKS_A_GPU = 4
"""Pictures are read and encoded on cores, for several times as long as a GPU computes on them."""


def task_gpus(cluster: Cluster, device: str) -> tuple[dict[str, str], int]:
    """What tasks that compute on pictures need where there are GPUs, which several share.

    Args:
        cluster: of the profile.
        device: what --device says.

    Returns:
        Spark's properties, and what task_device is to be told.
    """
    if cluster.gpus:
        return gpu_task_properties(cluster, TASKS_A_GPU), 0
    local = local_gpus(cluster, device)
    return (local_gpu_properties(cluster, local) if local else {}), local


def gpu_task_properties(cluster: Cluster, tasks_a_gpu: int = 1) -> dict[str, str]:
    """What lets each task have one of an executor's GPUs, and an equal share of its cores.

    Args:
        cluster: with GPUs.
        tasks_a_gpu: at most so many share a GPU, each on a core or more.
    """
    tasks = max(1, min(tasks_a_gpu, cluster.cores // cluster.gpus))
    return {
        "spark.task.resource.gpu.amount": "1" if tasks == 1 else f"{1 / tasks:.4f}",
        "spark.task.cpus": str(max(1, cluster.cores // (cluster.gpus * tasks))),
        **{f"spark.executorEnv.{name}": value for name, value in PCI_ORDER.items()},
    }


def local_gpu_properties(cluster: Cluster, gpus: int) -> dict[str, str]:
    """The same for the GPUs of this machine in local mode, where Spark knows of none."""
    return {"spark.task.cpus": str(max(1, cluster.cores // (gpus * TASKS_A_GPU)))}


def huge_page_properties() -> dict[str, str]:
    """What lets networks on CPUs take and give back memory in pages of 2 MB instead of 4 KB.

    Where the kernel allows it for who asks, glibc then asks; elsewhere nothing changes.
    """
    return {"spark.executorEnv.GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def stop_spark(context: SparkContext) -> None:
    """Stop the session, and what Spark forgets: its timers for barriers keep a JVM from ending."""
    context.stop()
    for thread in driver_jvm().Thread.getAllStackTraces().keySet():
        if thread.getName().startswith("Barrier") and not thread.isDaemon():
            thread.stop()


def _environment_on_nodes(conf: SparkConf) -> str:
    """Where executors find the environment: at this path, or unpacked in their working folder."""
    keys = ("spark.archives", "spark.yarn.dist.archives")
    archives = ",".join(conf.get(key, "") or "" for key in keys)
    return f"./{ARCHIVE_NAME}" if archives.endswith(f"#{ARCHIVE_NAME}") else sys.prefix


def _on_nodes(path: str, environment: str) -> str:
    """Where the archive of scripts/pack_environment.sh has a file of environment or checkout."""
    if Path(path).is_relative_to(sys.prefix):
        return path.replace(sys.prefix, environment, 1)
    packages = sysconfig.get_path("purelib").replace(sys.prefix, environment, 1)
    return f"{packages}/{Path(path).relative_to(ROOT)}"


def _started(kind: type[SparkContext], conf: SparkConf, seconds: float) -> SparkContext:
    """The session; Spark by itself waits a minute for a Master to take the application."""
    master = str(conf.get("spark.master"))
    started: list[SparkContext] = []
    errors: list[Exception] = []

    def start() -> None:
        try:
            started.append(kind(conf=conf))
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    thread.join(seconds if master.startswith("spark://") else None)
    if started:
        return started[0]
    if errors and not isinstance(errors[0], Py4JJavaError):
        raise errors[0]
    reason = one_line(errors[0]) if errors else f"{NO_ANSWER} within {seconds:.0f} s"
    raise UnavailableError(f"Spark did not start on {master}: {reason}")


def _connection(cluster: Cluster) -> dict[str, str]:
    if cluster.is_local:
        return {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    if cluster.master.startswith("spark://"):
        found = connection_properties(cluster.master)
        check_room(cluster)
        return found
    if cluster.master == "yarn":
        # The secret is YARN's matter. Spark's jars are in the environment that the nodes have.
        jars = f"local:{quote(os.environ['SPARK_HOME'])}/jars/*"
        return {"spark.authenticate": "true", "spark.yarn.jars": jars, **ENCRYPTION}
    return {}
