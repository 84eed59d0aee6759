"""Where ranks meet, and what they tell the driver from there: progress, warnings, failures.

The driver holds the store (torch's TCPStore) through which the ranks find each other. It is up
before the first rank is, listens on the driver's address alone, and its queue takes the reports.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any

from torch.distributed import TCPStore

from jobs.runtime.errors import DISK_FULL, EXIT_FAILED, one_line
from jobs.runtime.strict_json import to_json

TRACEBACKS = logging.getLogger("traceback")
"""For log.txt alone."""

QUEUE = "reports"
NO_MORE = ""
LONGEST_TRAINING = timedelta(days=3650)
CONNECTING = timedelta(minutes=1)
"""How long a rank tries to reach the driver."""

_store: TCPStore | None = None


@dataclass(frozen=True)
class RankFailure:
    """Why a rank ended."""

    rank: int
    message: str
    """One line."""
    exit_code: int | None
    """The one that the error names, if it names one."""
    trace: str


class MeetingPoint:
    """The driver's store of a launch, and its reports, which it reads as a context manager."""

    def __init__(self, host: str, on_progress: Callable[[dict[str, Any]], None]) -> None:
        """Listen on a host's address; `on_progress` is called from another thread."""
        self.address = socket.gethostbyname(host)
        """Where it listens; ranks `join` there."""
        listener = socket.create_server((self.address, 0))
        self.port: int = listener.getsockname()[1]
        self.failures: list[RankFailure] = []
        """What ranks have reported, in this order; complete when the block has ended."""
        self._on_progress = on_progress
        self._store = TCPStore(
            self.address,
            self.port,
            is_master=True,
            wait_for_workers=False,
            master_listen_fd=listener.detach(),
        )
        # One of its own, for a store does one thing at a time, and this one waits.
        self._reports = _client(self.address, self.port)
        self._reports.set_timeout(LONGEST_TRAINING)
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> MeetingPoint:
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._store.queue_push(QUEUE, NO_MORE)
        self._reader.join()

    def _read(self) -> None:
        while report := self._reports.queue_pop(QUEUE):
            values = json.loads(report)
            if "failure" in values:
                failure = RankFailure(**values["failure"])
                TRACEBACKS.error("rank %d failed\n%s", failure.rank, failure.trace)
                self.failures.append(failure)
            else:
                self._on_progress(values["progress"])


class WarningsForDriver(logging.Handler):
    """On a rank, lets the driver know what is logged there as a warning."""

    def emit(self, record: logging.LogRecord) -> None:
        report_progress({"warning": record.getMessage()})


def join(address: str, port: int) -> None:
    """Called on a rank first of all: let it find the others, and report, through this store."""
    global _store
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = address, str(port)
    # As torchrun tells its ranks: the store is there, none of them is to open one.
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    _store = _client(address, port)


def report_progress(values: dict[str, Any]) -> None:
    """Called on the first rank: let the driver know how far the training is."""
    _report({"progress": values})


def report_failure(error: Exception) -> None:
    """Called on a rank that ends: let the driver know why, before Spark tells that it failed."""
    code = getattr(error, "exit_code", None)
    if code is None and isinstance(error, OSError) and error.errno in DISK_FULL:
        code = EXIT_FAILED
    rank, trace = int(os.environ["RANK"]), "".join(traceback.format_exception(error))
    _report({"failure": asdict(RankFailure(rank, one_line(error), code, trace))})


def _report(values: dict[str, Any]) -> None:
    assert _store is not None
    _store.queue_push(QUEUE, to_json(values))
    # The answer comes when the report is in the queue.
    _store.num_keys()


def _client(address: str, port: int) -> TCPStore:
    return TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=CONNECTING)
