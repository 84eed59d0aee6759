"""The death of the JVM that spark-submit is, which the job outlives as a process of its own.

All that the job prints goes through that JVM, so nobody would hear why it ended, and a job that
waits for something else would go on alone.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import threading
import time
from typing import TextIO

from jobs.runtime.errors import EXIT_UNAVAILABLE, UnavailableError

LOOK_SECONDS = 0.2
MOMENT_SECONDS = 1.0
"""Its connections may end a moment before it does."""
GRACE_SECONDS = 10.0
"""For the job to write down how it ended."""
FULL_BYTES = 4 << 20
"""What did not fit was larger than a page."""
PIDFD_GETFD = 438
"""The system call's number, the same on all processors; Linux 5.6."""


class JvmWatch:
    """Says on the stderr of spark-submit that the JVM has gone, and ends this process."""

    def __init__(self, name: str) -> None:
        """Watch from here on, if spark-submit has started this process.

        Args:
            name: the job's, for the message.
        """
        self._name = name
        self._jvm = os.getppid()
        self._is_said = threading.Lock()
        self._is_watching = "PYSPARK_GATEWAY_PORT" in os.environ
        if self._is_watching:
            self._stderr = _open_stderr(self._jvm)
            self._folder = tempfile.gettempdir()
            threading.Thread(target=self._run, daemon=True).start()

    def cause_of(self, error: BaseException) -> BaseException:
        """What is behind an error: the JVM's death, or the error itself."""
        # An answer that was cut off may be read as anything.
        is_known = hasattr(error, "exit_code") or not isinstance(error, Exception)
        if not self._is_watching or is_known or not self._ends(MOMENT_SECONDS):
            return error
        self._say()
        return UnavailableError(self._message())

    def _run(self) -> None:
        self._ends(float("inf"))
        self._say()
        time.sleep(GRACE_SECONDS)
        os._exit(EXIT_UNAVAILABLE)

    def _ends(self, within: float) -> bool:
        """Wait for its end: another process then becomes the parent of this one."""
        deadline = time.monotonic() + within
        while os.getppid() == self._jvm:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def _say(self) -> None:
        if self._is_said.acquire(blocking=False) and self._stderr is not None:
            print(f"{self._name}: error: {self._message()}", file=self._stderr, flush=True)

    def _message(self) -> str:
        reason = "killed, perhaps for lack of memory, or crashed"
        if shutil.disk_usage(self._folder).free < FULL_BYTES:
            reason = f"{self._folder} is full: make room, or name another folder with TMPDIR"
        return f"Spark's JVM is gone ({reason}); run the same command again to continue"


def _open_stderr(process: int) -> TextIO | None:
    try:
        return os.fdopen(_take_descriptor(process, 2), "w", encoding="utf-8")
    except OSError:
        # An old kernel, or one that lets nobody trace a parent.
        pass
    try:
        return open(f"/proc/{process}/fd/2", "a", encoding="utf-8")
    except OSError:
        # A socket, a file that was opened by somebody else, or closed.
        return None


def _take_descriptor(process: int, descriptor: int) -> int:
    """The same open file, whatever it is and whoever may open it; pidfd_getfd(2)."""
    of_process = os.pidfd_open(process)
    try:
        taken = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, of_process, descriptor, 0)
    finally:
        os.close(of_process)
    if taken < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return int(taken)
