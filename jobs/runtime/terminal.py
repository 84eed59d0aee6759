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
    if not _is_terminal(2):
        return None
    return open(_behind(2), "a", encoding="utf-8") if _under_spark_submit() else sys.stderr


def prints_to_terminal() -> bool:
    """Whether what is printed to stdout is read by a person as it comes."""
    return _is_terminal(1)


def _is_terminal(descriptor: int) -> bool:
    if not _under_spark_submit():
        return os.isatty(descriptor)
    try:
        with open(_behind(descriptor), "a", encoding="utf-8") as stream:
            return stream.isatty()
    except OSError:
        return False


def _behind(descriptor: int) -> str:
    """The path of a stream of spark-submit, which started this process."""
    return f"/proc/{os.getppid()}/fd/{descriptor}"


def _under_spark_submit() -> bool:
    return "PYSPARK_GATEWAY_PORT" in os.environ
