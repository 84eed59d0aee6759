"""SIGTERM and SIGHUP: what supervisors, time limits, `kill` and a terminal that goes away send."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

from jobs.runtime.answering import hurry
from jobs.runtime.errors import JobError
from jobs.runtime.jvm import on_signal

logger = logging.getLogger(__name__)

ECHO_SECONDS = 1.0
"""One `kill` of a process group arrives twice: here, and by way of the JVM."""


class StopSignal:
    """Ends the work at once, or within `gently` at the next point from which it can go on."""

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._name = ""
        self._tell: Callable[[], None] | None = None
        self._is_at_once = False

    def listen(self) -> None:
        """Handle the signal from here on, whether it comes to this process or to its JVM."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            # nohup lets a job outlive its terminal.
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._handle)
                # A signal to the process could be taken by any of its threads (one that just starts
                # another does), and Python's handlers run in the main one alone, which would sleep.
                # This is that one: no other may set handlers.
                main = threading.get_ident()
                on_signal(number.name[3:], partial(signal.pthread_kill, main, number))

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
            raise JobError(self._message())

    def cause_of(self, error: BaseException) -> BaseException:
        """What is behind an error: a signal that ended a call of py4j's, or the error itself."""
        if not self._is_at_once or isinstance(error, JobError):
            return error
        return JobError(self._message())

    def _message(self) -> str:
        return f"stopped by {self._name}; run the same command again to continue"

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked_at is not None and now - self._asked_at < ECHO_SECONDS:
            return
        again, self._asked_at = self._asked_at is not None, now
        self._name = signal.Signals(number).name
        hurry()
        if again or self._tell is None:
            # py4j makes an error of its own of what is raised while it waits for the JVM.
            self._is_at_once = True
            self.check()
        else:
            logger.warning("%s: stopping with the next checkpoint (once more: at once)", self._name)
            self._tell()
