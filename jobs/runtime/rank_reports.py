"""What ranks tell the driver while they train: progress, warnings, and what they print."""

from __future__ import annotations

import json
import logging
import re
import socketserver
import threading
from collections.abc import Callable
from io import TextIOBase
from typing import Any

from pyspark.ml.torch.log_communication import LogStreamingServer, WriteLogToStdout

from jobs.runtime.strict_json import to_json

PROGRESS_MARK = "@progress "


class WarningsForDriver(logging.Handler):
    """On a rank, lets the driver know what is logged there as a warning."""

    def emit(self, record: logging.LogRecord) -> None:
        report_progress({"warning": record.getMessage()})


def report_progress(values: dict[str, Any]) -> None:
    """Called on the first rank: let the driver know how far the training is."""
    print(PROGRESS_MARK + to_json(values), flush=True)


class RankLines(TextIOBase):
    """Takes what TorchDistributor writes: progress is passed on, the rest goes to the log."""

    def __init__(self, on_progress: Callable[[dict[str, Any]], None]) -> None:
        self._on_progress = on_progress
        self.last_error: str | None = None
        """The last error that a rank has named."""

    def write(self, text: str) -> int:
        for line in text.splitlines():
            mark, found, values = line.partition(PROGRESS_MARK)
            if found:
                self._on_progress(json.loads(values))
            elif line.strip():
                logging.getLogger("ranks").warning("%s", mark)
                named = re.match(r"(?:\[rank\d+\]: )?(\w+(?:Error|Exception): .+)", line)
                self.last_error = named[1] if named else self.last_error
        return len(text)


class _LineServer(socketserver.ThreadingTCPServer):
    # Asked by WriteLogToStdout.
    is_active = True


class DriverLogServer(LogStreamingServer):
    """Receives the lines on the driver's own address alone; Spark's listens on all of them."""

    def start(self, spark_host_address: str = "") -> None:
        self.server = _LineServer((spark_host_address, 0), WriteLogToStdout)
        self.port = self.server.server_address[1]
        self.serve_thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.serve_thread.start()

    def shutdown(self) -> None:
        server = self.server
        super().shutdown()
        if server is not None:
            server.server_close()
