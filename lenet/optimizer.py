"""BigDL's DistriOptimizer for a recipe, an epoch at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from pyspark import SparkContext

from lenet import bigdl, fused
from lenet.recipe import Recipe
from lenet.schedule import iterations_per_epoch
from lenet.summaries import Summaries
from lenet.watch import Watch

CALL_SITE = {
    "callSite.short": "optimize",
    "callSite.long": "DistriOptimizer.optimize",
    "spark.rdd.scope.noOverride": "true",
}
"""What Spark would find out by walking the stack for every RDD and every job, to show it in
pages."""


@dataclass(frozen=True)
class Position:
    """Where a training is."""

    epoch: int
    """Finished epochs; a last one may be cut short by `max_iterations`."""
    iteration: int
    """Finished iterations."""
    velocity: Any
    """The momentum's, a tensor of the JVM; None is zero."""


class Optimizer:
    """Trains a network with one `optimize` call an epoch.

    DistriOptimizer forgets the momentum at the end of each call; lenet/jvm/Momentum.java carries
    it over.
    """

    def __init__(
        self,
        context: SparkContext,
        recipe: Recipe,
        network: Layer,
        train: bigdl.Records,
        test: bigdl.Records,
        summaries: Summaries,
    ) -> None:
        """See `lenet.training.Trainer`; `network` has the weights after each epoch."""
        for key, value in CALL_SITE.items():
            context.setLocalProperty(key, value)
        self._recipe = recipe
        self._network = network.value
        self._iterations = recipe.epochs * iterations_per_epoch(train.count, recipe.batch_size)
        is_fused = recipe.arithmetic == "fused"
        threads = int(context.getConf().get("spark.task.cpus"))
        if is_fused:
            bigdl.use_replicas(1)
        self._trained = fused.fused_network(network, threads) if is_fused else network.value

        def batches(records: bigdl.Records) -> Any:
            if is_fused:
                transformer = fused.batcher(records, recipe.batch_size, threads)
            else:
                transformer = bigdl.batcher(records, recipe.batch_size)
            return bigdl.batches(context, records, transformer)

        jvm = context._jvm.com.intel.analytics.bigdl.dllib.optim
        self._optimizer = jvm.DistriOptimizer(
            self._trained,
            batches(train),
            fused.log_loss() if is_fused else ClassNLLCriterion().value,
            *bigdl.float_evidence(),
        )
        if is_fused:
            self._optimizer.setCompressType("none")
        self._methods = context._gateway.new_array(jvm.ValidationMethod, 2)
        self._methods[0], self._methods[1] = Top1Accuracy().value, Loss(ClassNLLCriterion()).value
        self._test_batches = batches(test)
        summaries.attach(self._optimizer)

    def run_epoch(
        self, position: Position, factor: float, progress: Callable[[int, str], None]
    ) -> tuple[Position, bool]:
        """Train for an epoch and test.

        Args:
            position: where the training is.
            factor: of the learning rate.
            progress: see `lenet.training.Callbacks`.

        Returns:
            where it is now, and whether the epoch is whole.
        """
        recipe, epoch = self._recipe, position.epoch + 1
        method = self._method(position, factor)
        self._optimizer.setOptimMethod(method)
        # BigDL's EveryEpoch misses an epoch that consists of a single iteration.
        end = MaxEpoch(epoch)
        self._optimizer.setValidation(end.value, self._test_batches, self._methods)
        if recipe.max_iterations:
            end = TriggerOr(end, MaxIteration(recipe.max_iterations))
        self._optimizer.setEndWhen(end.value)
        with Watch(method, recipe.batch_size, progress):
            self._optimizer.optimize()
        parameters = self._trained.getParameters()
        if self._trained is not self._network:
            self._network.getParameters()._1().copy(parameters._1())
        velocity = parameters._2().clone() if self._has_velocity else None
        iteration = int(method.state().get("neval").get()) - 1
        whole = int(method.state().get("epoch").get()) > epoch
        return Position(epoch, iteration, velocity), whole

    def last_iteration_times(self) -> dict[str, float]:
        """Where the time of an epoch's last iteration went, the mean over executors, in seconds.

        DistriOptimizer's own counters start anew with every iteration, hence the last one alone.
        What is neither computing nor exchange of weights and gradients is Spark's scheduling.
        """
        metrics = self._optimizer.metrics()

        def seconds(*names: str) -> float:
            values = [metrics.get(name) for name in names]
            return sum(float(value._1()) / int(value._2()) for value in values) / 1e9

        return {
            "compute_seconds": seconds("computing time average", "aggregate gradient time"),
            # The names are BigDL's, spelling included.
            "exchange_seconds": seconds(
                "get weights average",
                "put gradient",
                "aggregrateGradientParition average executor",
            ),
        }

    def learning_rate(self, iteration: int, factor: float) -> float:
        """The learning rate of an iteration, counted from 0."""
        return factor * self._recipe.learning_rate_at(iteration, self._iterations)

    @property
    def _has_velocity(self) -> bool:
        return self._recipe.momentum > 0 or self._recipe.learning_rate_schedule == "linear"

    def _method(self, position: Position, factor: float) -> Any:
        recipe = self._recipe
        if self._has_velocity:
            method = fused.momentum(
                recipe,
                factor=factor,
                iterations=self._iterations,
                done=position.iteration,
                velocity=position.velocity,
            )
        else:
            method = SGD(
                learningrate=recipe.learning_rate * factor,
                learningrate_decay=recipe.learning_rate_decay,
            ).value
        state = method.state()
        state.update("epoch", position.epoch + 1)
        state.update("neval", position.iteration + 1)
        state.update("evalCounter", position.iteration)
        return method
