"""Progress for people: a bar at a terminal, a line every so often under cron."""

from __future__ import annotations

import logging
import time

from tqdm import tqdm

from jobs.runtime.terminal import open_terminal

logger = logging.getLogger(__name__)


class Progress:
    """Counts work that is done, and says so.

    At a terminal it is a bar with rate and time left. Elsewhere it logs one line
    every `interval` seconds, and nothing in between.
    """

    def __init__(self, total: int, unit: str, done: int = 0, interval: float = 30.0) -> None:
        self._total = total
        self._unit = unit
        self._first = done
        self._interval = interval
        self._started = self._last_line = time.monotonic()
        terminal = open_terminal()
        self._bar: tqdm | None = None
        if terminal is not None:
            self._bar = tqdm(
                total=total, initial=done, unit=f" {unit}", dynamic_ncols=True, file=terminal
            )

    def update(self, done: int, note: str) -> None:
        """Say that `done` units are finished; `note` is shown beside them (loss and the like)."""
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if now - self._last_line < self._interval or done <= self._first:
            return
        self._last_line = now
        rate = (done - self._first) / (now - self._started)
        left = (self._total - done) / rate
        logger.info("%d/%d %s, %s, %.0f s left", done, self._total, self._unit, note, left)

    def close(self) -> None:
        """Leave the bar as it is and end its line."""
        if self._bar is not None:
            self._bar.close()
