"""What the person at the other end sees.

spark-submit runs a Python job with stderr joined to stdout, and both as pipes. So a line for
stderr goes through the driver's JVM, and a progress bar to the terminal that spark-submit has.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

from jobs.runtime.jvm import print_to_terminal
from jobs.runtime.text import as_text


def print_error(line: str) -> None:
    """Print one line on the stderr of spark-submit (or of this process, without it)."""
    line = as_text(line)
    if _under_spark_submit():
        print_to_terminal(line)
    else:
        print(line, file=sys.stderr)


def open_terminal() -> TextIO | None:
    """The terminal behind stderr, for a progress bar; None where there is none (cron, a pipe)."""
    if not _under_spark_submit():
        return sys.stderr if sys.stderr.isatty() else None
    try:
        terminal = open(f"/proc/{os.getppid()}/fd/2", "a", encoding="utf-8")  # noqa: SIM115
    except OSError:
        return None
    if terminal.isatty():
        return terminal
    terminal.close()
    return None


def prints_to_terminal() -> bool:
    """Whether what is printed to stdout is read by a person as it comes."""
    if not _under_spark_submit():
        return sys.stdout.isatty()
    try:
        with open(f"/proc/{os.getppid()}/fd/1", "a", encoding="utf-8") as terminal:
            return terminal.isatty()
    except OSError:
        return False


def _under_spark_submit() -> bool:
    return "PYSPARK_GATEWAY_PORT" in os.environ
