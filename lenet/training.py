"""Training with BigDL's DistriOptimizer, one `optimize` call an epoch.

Between two calls the training is a plain state (weights, velocity, epoch, iteration), which is
written as a snapshot. A training that resumes from one computes what the unbroken training would:
the learning rate follows from the iteration alone.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bigdl.dllib.nn.layer import Layer
from bigdl.dllib.utils.common import callBigDlFunc
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext

from lenet import bigdl
from lenet.errors import DivergedError, ExecutorLostError, TrainingFailedError
from lenet.network import build_network
from lenet.optimizer import Optimizer, Position
from lenet.recipe import Recipe
from lenet.snapshots import load_model, load_velocity, newest_snapshot, save_snapshot
from lenet.summaries import Summaries
from lenet.tensors import to_numpy, to_tensor

logger = logging.getLogger(__name__)

RETRIES = 3
SLOWER = 0.1
"""What the learning rate is multiplied by, once, when the loss is no number any more."""


@dataclass(frozen=True)
class Callbacks:
    """What a training tells its caller."""

    progress: Callable[[int, str], None]
    """Called a few times a second with the iterations done and a short note."""
    saved: Callable[[], None]
    """Called after every snapshot."""
    recover: Callable[[], int]
    """Called after a failure of the cluster, before the training goes on; returns how many
    executors there are now, or raises."""
    lost: Callable[[], int]
    """How many executors have gone away since the start, or since the last `recover`."""


class Trainer:
    """A training in a run folder."""

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
        """The curves of the training."""
        self.network: Layer
        """Its weights are those after the last finished epoch."""
        self.state: dict[str, Any]
        """Keys: epoch, iteration, wall_clock_seconds, learning_rate_factor, and history with an
        entry per epoch."""
        # Of the momentum, a tensor of the JVM; None is zero.
        self._velocity: Any
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
                optimizer = optimizer or self._optimizer()
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
                logger.warning("epoch %d failed: %s", self.state["epoch"] + 1, reason)
                self._use_executors(self._callbacks.recover())
                self._restore()
                optimizer = None
            else:
                velocity = None if self._velocity is None else to_numpy(self._velocity)
                save_snapshot(self._folder, self.network, velocity, self.state)
                self._callbacks.saved()

    def _slow_down(self, error: DivergedError) -> None:
        if self.state["learning_rate_factor"] < 1:
            raise DivergedError(
                f"{error}, with {SLOWER:g} of the learning rate as well; take a lower "
                "--learning-rate, and look at the data"
            ) from error
        self._restore()
        self.state["learning_rate_factor"] = SLOWER
        logger.warning(
            "%s; going on after epoch %d with %g of the learning rate",
            error,
            self.state["epoch"],
            SLOWER,
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
        self._velocity = None
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
        velocity = load_velocity(folder)
        self._velocity = None if velocity is None else to_tensor(velocity)
        logger.info("resuming after epoch %d from %s", self.state["epoch"], folder)

    def _is_done(self) -> bool:
        if self._recipe.max_iterations and self.state["iteration"] >= self._recipe.max_iterations:
            return True
        return self.state["epoch"] >= self._recipe.epochs

    def _optimizer(self) -> Optimizer:
        return Optimizer(
            context=self._context,
            recipe=self._recipe,
            network=self.network,
            train=self._train,
            test=self._test,
            summaries=self.summaries,
        )

    def _run_epoch(self, optimizer: Optimizer) -> None:
        recipe, state, factor = self._recipe, self.state, self.state["learning_rate_factor"]
        first = state["iteration"]
        started = time.monotonic()
        before = Position(state["epoch"], first, self._velocity)
        after, whole = optimizer.run_epoch(before, factor, self._callbacks.progress)
        if self._callbacks.lost():
            raise ExecutorLostError("an executor was lost meanwhile")
        seconds = time.monotonic() - started
        last = after.iteration
        loss = self.summaries.mean_loss(first, last)
        times = self.summaries.seconds(first, last, recipe.batch_size)
        entry: dict[str, Any] = {
            "epoch": after.epoch,
            "iteration": last,
            "learning_rate": optimizer.learning_rate(first, factor),
            "loss": loss,
            "seconds": seconds,
            "iteration_seconds": times[-1],
            **optimizer.last_iteration_times(),
        }
        if whole:
            entry["test_accuracy"] = self.summaries.validation("Top1Accuracy", last)
            test_loss = self.summaries.validation("Loss", last)
            # Weights may be lost by the very last step, of which no loss tells.
            entry["test_loss"] = test_loss if math.isfinite(test_loss) else None
            logger.info(
                "epoch %d/%d  iteration %d  loss %.4f  test %.4f, %.2f %% right  %.1f s",
                after.epoch,
                recipe.epochs,
                last,
                loss,
                test_loss,
                100 * entry["test_accuracy"],
                seconds,
            )
        self._velocity = after.velocity
        self.state = {
            "epoch": after.epoch,
            "iteration": last,
            "wall_clock_seconds": state["wall_clock_seconds"] + sum(times),
            "learning_rate_factor": factor,
            "history": [*state["history"], entry],
        }


def _reason(error: Py4JJavaError | ExecutorLostError) -> str:
    if isinstance(error, ExecutorLostError):
        return str(error)
    return str(error.java_exception.getMessage()).splitlines()[0]
