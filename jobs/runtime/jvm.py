"""The driver's JVM, which spark-submit has started before the job's first line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyspark import SparkContext

LOG4J_FILE = Path(__file__).resolve().parents[2] / "conf" / "log4j2.properties"


def driver_jvm() -> Any:
    """The py4j view of the driver's JVM; its terminal output is quiet from here on."""
    first = SparkContext._jvm is None
    SparkContext._ensure_initialized()
    if first:
        send_logs_to(Path("/dev/null"))
    return SparkContext._jvm


def send_logs_to(log_file: Path) -> None:
    """Send the JVM's warnings and what it prints to a file."""
    jvm = SparkContext._jvm
    assert jvm is not None
    jvm.System.setProperty("jobs.log", str(log_file))
    jvm.org.apache.logging.log4j.core.config.Configurator.reconfigure(
        jvm.java.io.File(str(LOG4J_FILE)).toURI()
    )
    stream = jvm.java.io.FileOutputStream(str(log_file), True)
    jvm.System.setOut(jvm.java.io.PrintStream(stream, True))
