"""The driver's JVM, which spark-submit has started before the job's first line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark import SparkContext
from pyspark.java_gateway import ensure_callback_server_started

from jobs.runtime.files import ROOT

# The stderr that spark-submit was started with, once the JVM's own has been sent elsewhere.
_terminal: Any = None

LOG4J_FILE = ROOT / "conf" / "log4j2.properties"


def driver_jvm() -> Any:
    """The py4j view of the driver's JVM; its terminal output is quiet from here on."""
    first = SparkContext._jvm is None
    SparkContext._ensure_initialized()
    if first:
        send_logs_to(Path("/dev/null"))
    return SparkContext._jvm


def submit_options() -> list[str]:
    """The options that spark-submit was given before the job; none where it did not start this."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return []
    try:
        words = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
    options = [os.fsdecode(word) for word in words]
    job = sys.argv[0]
    return options[: options.index(job)] if job in options else options


def print_to_terminal(line: str) -> None:
    """Print a line on the stderr of spark-submit."""
    driver_jvm()
    _terminal.println(line)


class _SignalHandler:
    """Called by the JVM when it receives a signal."""

    class Java:
        implements = ("sun.misc.SignalHandler",)

    def __init__(self, react: Callable[[], None]) -> None:
        self._react = react

    def handle(self, _signal: Any) -> None:
        self._react()


def on_signal(name: str, react: Callable[[], None]) -> None:
    """Let the driver's JVM, the process that spark-submit's caller knows, pass a signal on.

    Left alone, it would end at once and take the session with it. The terminal's SIGINT goes to
    this process as well, so the JVM ignores it.

    Args:
        name: of the signal, such as "TERM".
        react: what to do.
    """
    jvm = driver_jvm()
    gateway = SparkContext._gateway
    ensure_callback_server_started(gateway)
    jvm.sun.misc.Signal.handle(jvm.sun.misc.Signal(name), _SignalHandler(react))
    jvm.sun.misc.Signal.handle(jvm.sun.misc.Signal("INT"), jvm.sun.misc.SignalHandler.SIG_IGN)


def send_logs_to(log_file: Path) -> None:
    """Send the JVM's warnings, and what it and its Python workers print, to a file."""
    global _terminal
    jvm = SparkContext._jvm
    assert jvm is not None
    _terminal = _terminal or jvm.System.err
    jvm.System.setProperty("jobs.log", str(log_file))
    jvm.org.apache.logging.log4j.core.config.Configurator.reconfigure(
        jvm.java.io.File(str(LOG4J_FILE)).toURI()
    )
    stream = jvm.java.io.PrintStream(jvm.java.io.FileOutputStream(str(log_file), True), True)
    jvm.System.setOut(stream)
    jvm.System.setErr(stream)
