"""Training with BigDL's DistriOptimizer, one `optimize` call an epoch.

Between two calls the training is a plain state (weights, epoch, iteration), which is written as
a snapshot. A training that resumes from one computes what the unbroken training would: momentum
starts at zero in every epoch, and the learning rate follows from epoch and iteration alone.
"""

from __future__ import annotations

import logging
import math
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
    Top1Accuracy,
    TriggerOr,
)
from bigdl.dllib.utils.common import callBigDlFunc
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext

from lenet import bigdl
from lenet.errors import (
    BatchSizeError,
    DivergedError,
    ExecutorLostError,
    TrainingFailedError,
)
from lenet.network import build_network
from lenet.options import Recipe
from lenet.snapshots import load_model, newest_snapshot, save_snapshot
from lenet.summaries import Summaries
from lenet.watch import Watch

LOG = logging.getLogger(__name__)

RETRIES = 3
# What the learning rate is multiplied by, once, when the loss is no number any more.
SLOWER = 0.1


@dataclass(frozen=True)
class Callbacks:
    """What a training tells its caller.

    Attributes:
        progress: called a few times a second with the iterations done and a short note.
        saved: called after every snapshot.
        recover: called after a failure of the cluster, before the training goes on; returns how
            many executors there are now, or raises.
        lost: how many executors have gone away since the start, or since the last `recover`.
    """

    progress: Callable[[int, str], None]
    saved: Callable[[], None]
    recover: Callable[[], int]
    lost: Callable[[], int]


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
        summaries: the curves of the training.
        state: {"epoch", "iteration", "wall_clock_seconds", "learning_rate_factor",
            "history": [an entry an epoch]}.
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
        self.summaries = Summaries(run_folder)
        self.network: Layer
        self.state: dict[str, Any]
        self._restore()

    def run(self) -> None:
        """Train to the end, from the newest snapshot again where an executor is lost.

        Raises:
            TrainingFailedError: the loss is no number, even with a lower learning rate, a
                snapshot cannot be written, or the cluster failed RETRIES times in a row.
        """
        failures = 0
        optimizer = None
        while not self._is_done():
            try:
                optimizer = optimizer or self._build_optimizer()
                self._run_epoch(optimizer)
                failures = 0
            except DivergedError as error:
                self._slow_down(error)
                optimizer = None
            except (Py4JJavaError, ExecutorLostError) as error:
                failures += 1
                reason = _reason(error)
                if failures > RETRIES:
                    raise TrainingFailedError(
                        f"training failed {failures} times in a row: {reason}"
                    ) from error
                LOG.warning("epoch %d failed: %s", self.state["epoch"] + 1, reason)
                self._use_executors(self._callbacks.recover())
                self._restore()
                optimizer = None
            else:
                save_snapshot(self._folder, self.network, self.state)
                self._callbacks.saved()

    def _slow_down(self, error: DivergedError) -> None:
        if self.state["learning_rate_factor"] < 1:
            raise DivergedError(
                f"{error}, with {SLOWER:g} of the learning rate as well; take a lower "
                "--learning-rate, and look at the data"
            ) from error
        self._restore()
        self.state["learning_rate_factor"] = SLOWER
        LOG.warning(
            "%s; going on after epoch %d with %g of the learning rate",
            *(error, self.state["epoch"], SLOWER),
        )

    def _use_executors(self, present: int) -> None:
        cores = bigdl.cores_per_executor()
        while self._recipe.batch_size % (present * cores):
            present -= 1
        bigdl.use_executors(present)

    def _restore(self) -> None:
        for dataset in self._context._jsc.getPersistentRDDs().values():
            dataset.unpersist()
        callBigDlFunc("float", "setModelSeed", self._recipe.seed)
        self.network = build_network(self._recipe.network)
        self.state = {
            "epoch": 0,
            "iteration": 0,
            "wall_clock_seconds": 0.0,
            "learning_rate_factor": 1.0,
            "history": [],
        }
        found = newest_snapshot(self._folder)
        if found is None:
            return
        folder, state = found
        self.state |= state
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
        self.summaries.attach(optimizer)
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
        with Watch(method, recipe.batch_size, self._callbacks.progress):
            optimizer.optimize()
        if self._callbacks.lost():
            raise ExecutorLostError("an executor was lost meanwhile")
        seconds = time.monotonic() - started
        first, last = self.state["iteration"], int(method.state().get("neval").get()) - 1
        loss = self.summaries.mean_loss(first, last)
        whole = int(method.state().get("epoch").get()) > epoch
        entry = {
            "epoch": epoch,
            "iteration": last,
            "learning_rate": self._learning_rate(epoch),
            "loss": loss,
            "seconds": seconds,
            **self._last_iteration_times(optimizer, last),
        }
        if whole:
            entry["test_accuracy"] = self.summaries.validation("Top1Accuracy", last)
            test_loss = self.summaries.validation("Loss", last)
            # Weights may be lost by the very last step, of which no loss tells.
            entry["test_loss"] = test_loss if math.isfinite(test_loss) else None
            LOG.info(
                "epoch %d/%d  iteration %d  loss %.4f  test %.4f, %.2f %% right  %.1f s",
                *(epoch, recipe.epochs, last, loss, test_loss),
                *(100 * entry["test_accuracy"], seconds),
            )
        self.state = {
            "epoch": epoch,
            "iteration": last,
            "wall_clock_seconds": self.state["wall_clock_seconds"]
            + self.summaries.seconds(first, last, recipe.batch_size),
            "learning_rate_factor": self.state["learning_rate_factor"],
            "history": [*self.state["history"], entry],
        }

    def _learning_rate(self, epoch: int) -> float:
        return self._recipe.learning_rate_in(epoch) * self.state["learning_rate_factor"]

    def _optim_method(self, epoch: int) -> Any:
        momentum = self._recipe.momentum
        method = SGD(
            learningrate=self._learning_rate(epoch),
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

    def _last_iteration_times(self, optimizer: Any, step: int) -> dict[str, float]:
        """Where the time of an epoch's last iteration went, the mean over executors, in seconds.

        DistriOptimizer's own counters start anew with every iteration, hence the last one alone.
        What is neither computing nor exchange of weights and gradients is Spark's scheduling.
        """
        metrics = optimizer.metrics()

        def seconds(*names: str) -> float:
            values = [metrics.get(name) for name in names]
            return sum(float(value._1()) / int(value._2()) for value in values) / 1e9

        return {
            "iteration_seconds": self.summaries.seconds(step - 1, step, self._recipe.batch_size),
            "compute_seconds": seconds("computing time average", "aggregate gradient time"),
            # The names are BigDL's, spelling included.
            "exchange_seconds": seconds(
                "get weights average",
                "put gradient",
                "aggregrateGradientParition average executor",
            ),
        }


def _reason(error: Py4JJavaError | ExecutorLostError) -> str:
    if isinstance(error, ExecutorLostError):
        return str(error)
    return str(error.java_exception.getMessage()).splitlines()[0]
