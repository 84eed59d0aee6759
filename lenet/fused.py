"""LeNet5 by the classes of lenet/jvm: the same network, optimiser and records, sooner done.

`--arithmetic fused`. What goes into snapshots and model files stays BigDL's standard network.
"""

from __future__ import annotations

from typing import Any

from bigdl.dllib.nn.layer import Layer
from pyspark import SparkContext

from lenet import bigdl, network
from lenet.recipe import Recipe


class TrainingContext(SparkContext):
    """A SparkContext for short iterations, as lenet/jvm/TrainingContext.java describes it."""

    def _initialize_context(self, jconf: Any) -> Any:
        return self._jvm.JavaSparkContext(self._jvm.lenet.TrainingContext(jconf))


def prepare_jvm(recipe: Recipe) -> None:
    """Let the driver's JVM, whose class path has ours, compile for short trainings from now on."""
    if recipe.arithmetic == "fused":
        SparkContext._jvm.lenet.Compilation.begin()


def context_class(recipe: Recipe) -> type[SparkContext]:
    """The SparkContext for a recipe."""
    return TrainingContext if recipe.arithmetic == "fused" else SparkContext


def fused_network(standard: Layer, threads: int) -> Any:
    """A network of the JVM that computes what `standard` ("lenet5") does, with its own weights.

    Args:
        standard: the network.
        threads: that are to share a batch, at least 1.
    """
    jvm = SparkContext._jvm
    parameters = standard.value.parameters()
    tensor_class, tensors = bigdl.java_class("tensor.Tensor"), []
    for part in (parameters._1(), parameters._2()):
        array = jvm.java.lang.reflect.Array.newInstance(tensor_class, len(part))
        for index, tensor in enumerate(part):
            array[index] = tensor.clone()
        tensors.append(array)
    fused = jvm.lenet.FusedLeNet5(threads, *bigdl.float_evidence(), *tensors)
    fused.setName(standard.value.getName())
    return fused


def log_loss() -> Any:
    """The criterion of the JVM that computes what BigDL's ClassNLLCriterion does."""
    return SparkContext._jvm.lenet.LogLoss(*bigdl.float_evidence())


def batcher(records: bigdl.Records, batch_size: int, threads: int) -> Any:
    """A transformer of the JVM from records to normalised mini-batches.

    Args:
        records: whose side it is to expect.
        batch_size: records over all executors.
        threads: of an executor that are to share a batch, at least 1.
    """
    tensor = bigdl.singleton("tensor.Tensor")
    evidence = bigdl.float_evidence()
    return SparkContext._jvm.lenet.Batcher(
        threads,
        batch_size // bigdl.executors(),
        records.side,
        network.MEAN,
        network.DEVIATION,
        evidence[0],
        tensor.apply(1, *evidence),
        tensor.apply(1, *evidence),
    )


def momentum(recipe: Recipe, factor: float, iterations: int, done: int, velocity: Any) -> Any:
    """The optimiser of the JVM.

    Args:
        recipe: momentum, learning rate and its schedule.
        factor: of the learning rate.
        iterations: of all epochs.
        done: iterations so far.
        velocity: a tensor of the JVM to start with, or None for zero.
    """
    jvm = SparkContext._jvm
    before = (
        velocity.storage().array() if velocity else SparkContext._gateway.new_array(jvm.float, 0)
    )
    return jvm.lenet.Momentum(
        recipe.learning_rate * factor,
        recipe.learning_rate_decay,
        recipe.momentum,
        iterations if recipe.learning_rate_schedule == "linear" else 0,
        bigdl.executors(),
        done,
        before,
        *bigdl.float_evidence(),
    )
