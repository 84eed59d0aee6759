"""Progress of a DistriOptimizer that keeps the calling thread waiting."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

PROGRESS_SECONDS = 0.5


class Watch:
    """Reports iteration, loss and speed while `optimize` keeps this thread waiting."""

    def __init__(self, method: Any, batch_size: int, progress: Callable[[int, str], None]) -> None:
        self._state = method.state()
        self._batch_size = batch_size
        self._progress = progress
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        first = self._iteration()
        started = time.monotonic()
        while not self._stop.wait(PROGRESS_SECONDS):
            loss = self._state.get("Loss")
            if loss.isEmpty() or math.isinf(loss.get()):
                # Until the first iteration is done, Spark distributes the records.
                started = time.monotonic()
                continue
            done = self._iteration()
            rate = (done - first) * self._batch_size / (time.monotonic() - started)
            epoch = self._state.get("epoch").get()
            note = f"epoch {epoch}, loss {loss.get():.4f}, {rate:.0f} records/s"
            self._progress(done, note)

    def _iteration(self) -> int:
        return int(self._state.get("neval").get()) - 1
