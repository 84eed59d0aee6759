"""The curves that DistriOptimizer writes as TensorBoard events, and their values."""

from __future__ import annotations

import math
import statistics
import time
from pathlib import Path
from typing import Any

from bigdl.dllib.optim.optimizer import SeveralIteration, TrainSummary, ValidationSummary

from lenet.errors import TrainingFailedError
from lenet.network import NAME

FOLDER = "tensorboard"
WAIT_SECONDS = 10.0


class Summaries:
    """The curves of one run folder; those of earlier processes are read, too."""

    def __init__(self, run_folder: Path) -> None:
        self._folder = str(run_folder / FOLDER)
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
            tag: "Loss" or "Throughput" (records a second).
        """
        return {int(step): float(value) for step, value, _ in self._train.read_scalar(tag)}

    def first_time(self) -> float:
        """When the first iteration of this process was finished, in seconds since 1970."""
        times = [float(at) for _, _, at in self._train.read_scalar("Loss")]
        return min((at for at in times if at >= self._opened), default=self._opened)

    def mean_loss(self, first: int, last: int) -> float:
        """The mean over the iterations after `first`, up to `last`.

        Raises:
            TrainingFailedError: one of them is no number.
        """
        self._await(self._train, "Loss", last)
        losses = {step: loss for step, loss in self.curve("Loss").items() if first < step <= last}
        for step, loss in losses.items():
            if not math.isfinite(loss):
                raise TrainingFailedError(
                    f"the loss of iteration {step} is {loss}; take a lower --learning-rate"
                )
        return statistics.fmean(losses.values())

    def seconds(self, first: int, last: int, batch_size: int) -> float:
        """DistriOptimizer's own time for the iterations after `first`, up to `last`."""
        self._await(self._train, "Throughput", last)
        rates = self.curve("Throughput").items()
        return sum(batch_size / rate for step, rate in rates if first < step <= last)

    def validation(self, tag: str, step: int) -> float:
        """ "Top1Accuracy" or "Loss" on the test records after an iteration."""
        return self._await(self._validation, tag, step)

    def _await(self, summary: Any, tag: str, step: int) -> float:
        # BigDL writes its summaries in a thread of their own, a moment after the iteration.
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            values = {int(found): float(value) for found, value, _ in summary.read_scalar(tag)}
            if step in values:
                return values[step]
            time.sleep(0.05)
        raise TrainingFailedError(f"{self._folder}: no {tag} of iteration {step}; disk full?")
