"""SIGTERM: what supervisors, cron's time limits and `kill` send to a job that is to end."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from jobs.runtime.errors import JobError
from jobs.runtime.jvm import on_sigterm

LOG = logging.getLogger(__name__)

# One `kill` of a process group arrives twice: here, and by way of the JVM.
ECHO_SECONDS = 1.0


class StopSignal:
    """Ends the work at once, or within `gently` at the next point from which it can go on."""

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._tell: Callable[[], None] | None = None

    def listen(self) -> None:
        """Handle the signal from here on, whether it comes to this process or to its JVM."""
        signal.signal(signal.SIGTERM, self._handle)
        on_sigterm(lambda: os.kill(os.getpid(), signal.SIGTERM))

    @contextmanager
    def gently(self, tell: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Within the block the signal only asks to stop: it calls `tell`, see `check`.

        A second signal ends the work at once.
        """
        self._tell = tell
        try:
            yield
        finally:
            self._tell = None

    def check(self) -> None:
        """Called where the work can go on from.

        Raises:
            JobError: it has been asked to stop.
        """
        if self._asked_at is not None:
            raise JobError("stopped by SIGTERM; run the same command again to continue")

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked_at is not None and now - self._asked_at < ECHO_SECONDS:
            return
        again, self._asked_at = self._asked_at is not None, now
        if again or self._tell is None:
            self.check()
        else:
            LOG.warning("SIGTERM: stopping with the next checkpoint (once more: at once)")
            self._tell()
