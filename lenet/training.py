"""Training with BigDL's DistriOptimizer, one `optimize` call an epoch.

Between two calls the training is a plain state (weights, epoch, iteration), which is written as
a snapshot. A training that resumes from one computes what the unbroken training would: momentum
starts at zero in every epoch, and the learning rate follows from epoch and iteration alone.
"""

from __future__ import annotations

import logging
import math
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bigdl.dllib.nn.criterion import ClassNLLCriterion
from bigdl.dllib.nn.layer import Layer
from bigdl.dllib.optim.optimizer import (
    SGD,
    Loss,
    MaxEpoch,
    MaxIteration,
    SeveralIteration,
    Top1Accuracy,
    TrainSummary,
    TriggerOr,
    ValidationSummary,
)
from bigdl.dllib.utils.common import callBigDlFunc
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext

from lenet import bigdl
from lenet.errors import BatchSizeError, TrainingFailedError
from lenet.network import NAME, build_network
from lenet.options import Recipe
from lenet.snapshots import load_model, newest_snapshot, save_snapshot

LOG = logging.getLogger(__name__)

TENSORBOARD_FOLDER = "tensorboard"
PROGRESS_SECONDS = 0.5
SUMMARY_SECONDS = 10.0
RETRIES = 3


@dataclass(frozen=True)
class Callbacks:
    """What a training tells its caller.

    Attributes:
        progress: called a few times a second with the iterations done and a short note.
        saved: called after every snapshot.
        recover: called after a failure of the cluster, before the training goes on; waits until
            it is whole again, or raises.
    """

    progress: Callable[[int, str], None]
    saved: Callable[[], None]
    recover: Callable[[], None]


def check_batch_size(batch_size: int, executors: int, cores: int) -> None:
    """See that the batch divides among executors and their cores.

    DistriOptimizer gives every core of every executor an equal slice, and fails inside a task
    where it cannot.

    Raises:
        BatchSizeError: it does not; the message names the nearest sizes that do.
    """
    unit = executors * cores
    if batch_size % unit == 0:
        return
    below, above = batch_size // unit * unit, math.ceil(batch_size / unit) * unit
    nearest = f"{below} or {above}" if below else str(above)
    raise BatchSizeError(
        f"--batch-size {batch_size} does not divide among {executors} executors of {cores} cores; "
        f"the nearest sizes that do: {nearest}"
    )


def iterations_per_epoch(records: int, batch_size: int) -> int:
    """DistriOptimizer ends an epoch with the first batch that reaches the number of records."""
    return math.ceil(records / batch_size)


def total_iterations(recipe: Recipe, records: int) -> int:
    """Iterations of a whole training."""
    total = recipe.epochs * iterations_per_epoch(records, recipe.batch_size)
    return min(total, recipe.max_iterations) if recipe.max_iterations else total


class Trainer:
    """A training in a run folder.

    Attributes:
        network: its weights are those after the last finished epoch.
        state: {"epoch", "iteration", "wall_clock_seconds", "history": [an entry an epoch]}.
    """

    def __init__(
        self,
        context: SparkContext,
        recipe: Recipe,
        train: bigdl.Records,
        test: bigdl.Records,
        run_folder: Path,
        callbacks: Callbacks,
    ) -> None:
        self._context = context
        self._recipe = recipe
        self._train = train
        self._test = test
        self._folder = run_folder
        self._callbacks = callbacks
        self._created = time.time()
        self.network: Layer
        self.state: dict[str, Any]
        self._restore()

    def run(self) -> None:
        """Train to the end, from the newest snapshot again where an executor is lost.

        Raises:
            TrainingFailedError: the loss is no number, or it failed RETRIES times in a row.
        """
        failures = 0
        optimizer = None
        while not self._is_done():
            try:
                optimizer = optimizer or self._build_optimizer()
                self._run_epoch(optimizer)
                failures = 0
            except Py4JJavaError as error:
                failures += 1
                reason = str(error.java_exception.getMessage()).splitlines()[0]
                if failures > RETRIES:
                    raise TrainingFailedError(
                        f"training failed {failures} times in a row: {reason}"
                    ) from error
                LOG.warning("epoch %d failed: %s", self.state["epoch"] + 1, reason)
                self._callbacks.recover()
                for dataset in self._context._jsc.getPersistentRDDs().values():
                    dataset.unpersist()
                optimizer = None
                self._restore()

    def iteration_curve(self, tag: str) -> tuple[list[int], list[float]]:
        """TrainSummary's values of all processes that took part: (iterations, values).

        Args:
            tag: "Loss" or "Throughput" (records a second).
        """
        curve: dict[int, float] = {}
        for step, value, _ in TrainSummary(self._tensorboard(), NAME).read_scalar(tag):
            curve[int(step)] = float(value)
        return list(curve), list(curve.values())

    def first_iteration_time(self) -> float:
        """When this process finished its first iteration, in seconds since 1970."""
        times = [
            float(at) for _, _, at in TrainSummary(self._tensorboard(), NAME).read_scalar("Loss")
        ]
        return min((at for at in times if at >= self._created), default=self._created)

    def _restore(self) -> None:
        callBigDlFunc("float", "setModelSeed", self._recipe.seed)
        self.network = build_network(self._recipe.network)
        self.state = {"epoch": 0, "iteration": 0, "wall_clock_seconds": 0.0, "history": []}
        found = newest_snapshot(self._folder)
        if found is None:
            return
        folder, self.state = found
        weights = load_model(str(folder)).value.getParameters()._1()
        self.network.value.getParameters()._1().copy(weights)
        LOG.info("resuming after epoch %d from %s", self.state["epoch"], folder)

    def _is_done(self) -> bool:
        if self._recipe.max_iterations and self.state["iteration"] >= self._recipe.max_iterations:
            return True
        return self.state["epoch"] >= self._recipe.epochs

    def _build_optimizer(self) -> Any:
        jvm = self._context._jvm
        batch_size = self._recipe.batch_size
        optimizer = jvm.com.intel.analytics.bigdl.dllib.optim.DistriOptimizer(
            self.network.value,
            bigdl.batches(self._context, self._train, batch_size),
            ClassNLLCriterion().value,
            *bigdl.float_evidence(),
        )
        method_class = jvm.com.intel.analytics.bigdl.dllib.optim.ValidationMethod
        self._methods = self._context._gateway.new_array(method_class, 2)
        self._methods[0], self._methods[1] = Top1Accuracy().value, Loss(ClassNLLCriterion()).value
        self._test_batches = bigdl.batches(self._context, self._test, batch_size)
        self._train_summary = TrainSummary(self._tensorboard(), NAME)
        self._train_summary.set_summary_trigger("LearningRate", SeveralIteration(1))
        self._validation_summary = ValidationSummary(self._tensorboard(), NAME)
        optimizer.setTrainSummary(self._train_summary.value)
        optimizer.setValidationSummary(self._validation_summary.value)
        return optimizer

    def _run_epoch(self, optimizer: Any) -> None:
        recipe, epoch = self._recipe, self.state["epoch"] + 1
        method = self._optim_method(epoch)
        optimizer.setOptimMethod(method)
        # BigDL's EveryEpoch misses an epoch that consists of a single iteration.
        end = MaxEpoch(epoch)
        optimizer.setValidation(end.value, self._test_batches, self._methods)
        if recipe.max_iterations:
            end = TriggerOr(end, MaxIteration(recipe.max_iterations))
        optimizer.setEndWhen(end.value)
        started = time.monotonic()
        with _Watch(method, recipe.batch_size, self._callbacks.progress):
            optimizer.optimize()
        seconds = time.monotonic() - started
        first, last = self.state["iteration"], int(method.state().get("neval").get()) - 1
        loss = self._mean_loss(first, last)
        whole = int(method.state().get("epoch").get()) > epoch
        entry = {
            "epoch": epoch,
            "iteration": last,
            "learning_rate": recipe.learning_rate_in(epoch),
            "loss": loss,
            "seconds": seconds,
            **self._last_iteration_times(optimizer, last),
        }
        if whole:
            entry["test_accuracy"] = self._validation("Top1Accuracy", last)
            entry["test_loss"] = self._validation("Loss", last)
            LOG.info(
                "epoch %d/%d  iteration %d  loss %.4f  test %.4f, %.2f %% right  %.1f s",
                *(epoch, recipe.epochs, last, loss, entry["test_loss"]),
                *(100 * entry["test_accuracy"], seconds),
            )
        self.state = {
            "epoch": epoch,
            "iteration": last,
            "wall_clock_seconds": self.state["wall_clock_seconds"] + self._busy_seconds(first),
            "history": [*self.state["history"], entry],
        }
        save_snapshot(self._folder, self.network, self.state)
        self._callbacks.saved()

    def _optim_method(self, epoch: int) -> Any:
        momentum = self._recipe.momentum
        method = SGD(
            learningrate=self._recipe.learning_rate_in(epoch),
            learningrate_decay=self._recipe.learning_rate_decay,
            momentum=momentum,
            dampening=0.0,
            nesterov=momentum > 0,
        ).value
        state = method.state()
        state.update("epoch", epoch)
        state.update("neval", self.state["iteration"] + 1)
        state.update("evalCounter", self.state["iteration"])
        return method

    def _mean_loss(self, first: int, last: int) -> float:
        self._await(self._train_summary, "Loss", last)
        losses = [
            float(value)
            for step, value, _ in self._train_summary.read_scalar("Loss")
            if first < step <= last
        ]
        for number, loss in enumerate(losses, start=first + 1):
            if not math.isfinite(loss):
                raise TrainingFailedError(
                    f"the loss of iteration {number} is {loss}; take a lower --learning-rate"
                )
        return statistics.fmean(losses)

    def _busy_seconds(self, first: int) -> float:
        """DistriOptimizer's own time for the iterations after `first`."""
        rates = self._train_summary.read_scalar("Throughput")
        return sum(self._recipe.batch_size / float(rate) for step, rate, _ in rates if step > first)

    def _last_iteration_times(self, optimizer: Any, step: int) -> dict[str, float]:
        """Where the time of an epoch's last iteration went, the mean over executors, in seconds.

        DistriOptimizer's own counters start anew with every iteration, hence the last one alone.
        What is neither computing nor exchange of weights and gradients is Spark's scheduling.
        """
        metrics = optimizer.metrics()

        def seconds(*names: str) -> float:
            values = [metrics.get(name) for name in names]
            return sum(float(value._1()) / int(value._2()) for value in values) / 1e9

        rates = self._train_summary.read_scalar("Throughput")
        rate = next(float(value) for found, value, _ in rates if int(found) == step)
        return {
            "iteration_seconds": self._recipe.batch_size / rate,
            "compute_seconds": seconds("computing time average", "aggregate gradient time"),
            # The names are BigDL's, spelling included.
            "exchange_seconds": seconds(
                "get weights average",
                "put gradient",
                "aggregrateGradientParition average executor",
            ),
        }

    def _validation(self, tag: str, step: int) -> float:
        return self._await(self._validation_summary, tag, step)

    def _await(self, summary: Any, tag: str, step: int) -> float:
        # BigDL writes its summaries in a thread of their own, a moment after the iteration.
        deadline = time.monotonic() + SUMMARY_SECONDS
        while time.monotonic() < deadline:
            values = {int(found): float(value) for found, value, _ in summary.read_scalar(tag)}
            if step in values:
                return values[step]
            time.sleep(0.05)
        raise TrainingFailedError(
            f"{self._tensorboard()}: no {tag} of iteration {step}; disk full?"
        )

    def _tensorboard(self) -> str:
        return str(self._folder / TENSORBOARD_FOLDER)


class _Watch:
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
