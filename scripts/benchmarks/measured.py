"""Run a program and see how long it takes and how much memory."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Measured:
    """What a program took."""

    seconds: float
    """From start to end."""
    peak_bytes: int
    """Resident memory of the largest of the Python processes that it started."""


def run_measured(
    command: Sequence[object], environment: Mapping[str, str] | None = None, of: str = ""
) -> Measured:
    """Run a command to its end.

    Args:
        command: the program and its words.
        environment: its environment, instead of this one's.
        of: measure the children of all processes with this in their command line, such as a
            cluster's Workers, too.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    words = [str(word) for word in command]
    started = time.perf_counter()
    peak = 0
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
    others = [psutil.Process(pid) for pid in _pids_with(of)] if of else []
    while process.poll() is None:
        for root in (psutil.Process(process.pid), *others):
            peak = max(peak, _largest_python(root))
        time.sleep(POLL_SECONDS)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return Measured(time.perf_counter() - started, peak)


def _pids_with(word: str) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(word in part for part in process.info["cmdline"] or [])
    ]


def _largest_python(root: psutil.Process) -> int:
    largest = 0
    with contextlib.suppress(psutil.Error):
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                if process.name().startswith("python"):
                    largest = max(largest, process.memory_info().rss)
    return largest
