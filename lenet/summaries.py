"""The curves that DistriOptimizer writes as TensorBoard events, and their values."""

from __future__ import annotations

import math
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from bigdl.dllib.optim.optimizer import SeveralIteration, TrainSummary, ValidationSummary
from py4j.protocol import Py4JJavaError

from lenet.errors import DivergedError, TrainingFailedError
from lenet.network import NAME

FOLDER = "tensorboard"
WAIT_SECONDS = 10.0
FULL_BYTES = 1 << 16


def drop_torn_event(file: Path) -> None:
    """Cut off what a full disk or a kill has left of an event, which BigDL cannot read past.

    An event is a TFRecord: 8 bytes of length, 4 of checksum, the content, 4 of checksum.
    """
    size = file.stat().st_size
    whole = 0
    with open(file, "rb") as opened:
        while head := opened.read(8):
            end = whole + 8 + 4 + int.from_bytes(head, "little") + 4
            if len(head) < 8 or end > size:
                break
            whole = end
            opened.seek(whole)
    os.truncate(file, whole)


class Summaries:
    """The curves of one run folder; those of earlier processes are read, too."""

    def __init__(self, run_folder: Path) -> None:
        self._folder = str(run_folder / FOLDER)
        for file in (run_folder / FOLDER).rglob("*tfevents*"):
            drop_torn_event(file)
        self._opened = time.time()
        self._train = TrainSummary(self._folder, NAME)
        self._train.set_summary_trigger("LearningRate", SeveralIteration(1))
        self._validation = ValidationSummary(self._folder, NAME)

    def attach(self, optimizer: Any) -> None:
        """Let a DistriOptimizer (of the JVM) write them."""
        optimizer.setTrainSummary(self._train.value)
        optimizer.setValidationSummary(self._validation.value)

    def curve(self, tag: str) -> dict[int, float]:
        """Values by iteration, the latest where one was computed twice.

        Args:
            tag: "Loss" or "Throughput" (records per second).
        """
        return {int(step): float(value) for step, value, _ in self._train.read_scalar(tag)}

    def first_time(self) -> float:
        """When the first iteration of this process was finished, in seconds since 1970."""
        times = [float(at) for _, _, at in self._train.read_scalar("Loss")]
        return min((at for at in times if at >= self._opened), default=self._opened)

    def mean_loss(self, first: int, last: int) -> float:
        """The mean over the iterations after `first`, up to `last`.

        Raises:
            DivergedError: one of them is no number; the message names the first.
        """
        curve = self._await(self._train, "Loss", last)
        losses = {step: loss for step, loss in curve.items() if first < step <= last}
        for step, loss in sorted(losses.items()):
            if not math.isfinite(loss):
                raise DivergedError(
                    f"the loss of iteration {step} (batch {step - first} of the epoch) is {loss}"
                )
        return statistics.fmean(losses.values())

    def seconds(self, first: int, last: int, batch_size: int) -> list[float]:
        """DistriOptimizer's own times for the iterations after `first`, up to `last`."""
        rates = self._await(self._train, "Throughput", last)
        return [batch_size / rates[step] for step in sorted(rates) if first < step <= last]

    def validation(self, tag: str, step: int) -> float:
        """ "Top1Accuracy" or "Loss" on the test records after an iteration."""
        return self._await(self._validation, tag, step)[step]

    def _await(self, summary: Any, tag: str, step: int) -> dict[int, float]:
        """A curve that has a value at `step`."""
        # BigDL writes its summaries in a thread of their own, a moment after the iteration.
        deadline = time.monotonic() + WAIT_SECONDS
        why = ""
        while time.monotonic() < deadline:
            try:
                points = summary.read_scalar(tag)
            except (Py4JJavaError, RuntimeError) as error:
                # Half of an event: it is just being written, or the disk is full.
                why = f" ({_cause(error)})"
                time.sleep(1)
                continue
            values = {int(found): float(value) for found, value, _ in points}
            if step in values:
                return values
            time.sleep(0.01)
        if shutil.disk_usage(self._folder).free < FULL_BYTES:
            reason = "No space left on device; make room, then run the same command again"
        else:
            reason = f"no {tag} of iteration {step} can be read{why}"
        raise TrainingFailedError(f"{self._folder}: {reason}")


def _cause(error: Exception) -> str:
    """What Java said, which is the first line with a class in it, of what BigDL made of it."""
    lines = [line for line in str(error).splitlines() if line.startswith(": ")]
    return lines[0].removeprefix(": ") if lines else type(error).__name__
