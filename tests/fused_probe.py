"""Run by spark-submit from test_lenet_fused.py: our classes of the JVM beside BigDL's own.

spark-submit tests/fused_probe.py RUN_FOLDER DATA SAME_RUN OUTPUT.npz

Both networks, with the same weights, compute the same batches: at odd sizes, from the middle of a
larger tensor as DistriOptimizer's replicas get them, with weights each in a tensor of its own and
all in one storage, and by a replica that shares another's weights. Also stored: weights and
velocity of each snapshot in the run folder; and of SAME_RUN, whose batches are all alike, the
weights at its end beside those that its recipe's steps by hand arrive at.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from bigdl.dllib.nn.criterion import ClassNLLCriterion
from bigdl.dllib.utils.common import callBigDlFunc
from numpy.typing import NDArray
from pyspark import SparkConf

from jobs.runtime.spark import add_jars
from lenet import bigdl, fused
from lenet.idx import read_digits
from lenet.network import DEVIATION, MEAN, build_network
from lenet.recipe import Recipe
from lenet.snapshots import load_model, load_velocity
from lenet.tensors import to_numpy, to_tensor

SIZES = (2, 3, 4, 5, 7, 16, 50, 9)
NAMES = [f"{layer}.{kind}" for layer in range(1, 6) for kind in ("weight", "bias")]


def one_pass(network: Any, criterion: Any, images: Any, labels: Any) -> dict[str, Any]:
    """Scores, loss and the gradient of every parameter."""
    network.training()
    network.zeroGradParameters()
    scores = network.forward(images)
    loss = criterion.forward(scores, labels)
    network.backward(images, criterion.backward(scores, labels))
    gradients = [to_numpy(gradient) for gradient in network.parameters()._2()]
    found = dict(zip(NAMES, gradients, strict=True))
    return {"scores": to_numpy(scores), "loss": np.float32(loss), **found}


def steps_by_hand(recipe: Recipe, count: int, images: Any, labels: Any) -> NDArray[np.float32]:
    """The weights after `count` steps on one batch: Nesterov's momentum, a rate that falls to 0."""
    callBigDlFunc("float", "setModelSeed", recipe.seed)
    network = fused.fused_network(build_network(recipe.network), threads=2)
    weights = to_numpy(network.getParameters()._1()).copy()
    velocity = np.zeros_like(weights)
    for step in range(count):
        network.getParameters()._1().copy(to_tensor(weights))
        one_pass(network, fused.log_loss(), images, labels)
        gradient = to_numpy(network.getParameters()._2())
        velocity = recipe.momentum * velocity + gradient
        weights -= recipe.learning_rate_at(step, count) * (gradient + recipe.momentum * velocity)
    return weights


def main(run_folder: str, data: str, same_run: str, output: str) -> None:
    """Compute, and write what both say."""
    add_jars(bigdl.class_path())
    conf = SparkConf().set("spark.driver.host", "127.0.0.1").set("spark.ui.enabled", "false")
    for key, value in bigdl.spark_properties(2).items():
        conf.set(key, value)
    bigdl.start_engine(fused.TrainingContext(conf=conf))
    callBigDlFunc("float", "setModelSeed", 5)
    standard = build_network("lenet5")
    ours = fused.fused_network(standard, threads=2)
    replica = fused.fused_network(standard, threads=2)
    random = np.random.default_rng(1)
    found: dict[str, Any] = {}

    def fresh() -> Any:
        # BigDL's convolution has memory for batches of one size, that of the first.
        another = build_network("lenet5").value
        another.getParameters()._1().copy(standard.value.getParameters()._1())
        return another

    def compare(title: str, images: Any, labels: Any, network: Any) -> None:
        sides = (
            ("theirs", fresh(), ClassNLLCriterion().value),
            ("ours", network, fused.log_loss()),
        )
        for side, of_side, criterion in sides:
            for key, value in one_pass(of_side, criterion, images, labels).items():
                found[f"{side}/{title}/{key}"] = value

    for size in SIZES:
        images = to_tensor(random.normal(size=(size, 28, 28)).astype(np.float32))
        labels = to_tensor(random.integers(1, 11, size).astype(np.float32))
        compare(f"{size}", images, labels, ours)
    # BigDL's Reshape takes a batch of one for an image alone, which its gradients do not know.
    images = to_tensor(random.normal(size=(1, 28, 28)).astype(np.float32))
    for side, network in (("theirs", fresh()), ("ours", ours)):
        found[f"{side}/1/scores"] = to_numpy(network.forward(images))
    images = to_tensor(random.normal(size=(30, 28, 28)).astype(np.float32)).narrow(1, 12, 11)
    labels = to_tensor(random.integers(1, 11, 30).astype(np.float32)).narrow(1, 12, 11)
    ours.getParameters()
    compare("one storage", images, labels, ours)
    # As ModelBroadcast does it: weights in common, gradients of their own.
    for mine, common in zip(replica.parameters()._1(), ours.parameters()._1(), strict=True):
        mine.set(common)
    found["standard output"] = to_numpy(ours.forward(images))
    compare("a replica", images, labels, replica)

    for snapshot in sorted((Path(run_folder) / "snapshots").iterdir()):
        weights = load_model(str(snapshot)).value.getParameters()._1()
        found[f"{snapshot.name}/weights"] = to_numpy(weights)
        found[f"{snapshot.name}/velocity"] = load_velocity(snapshot)
    recipe = Recipe(**json.loads((Path(same_run) / "options.json").read_text()))
    digits = read_digits(data, "train")
    pixels = digits.images[: recipe.batch_size].astype(np.float32) / 255
    images = to_tensor((pixels - MEAN) / DEVIATION)
    labels = to_tensor(digits.labels[: recipe.batch_size].astype(np.float32) + 1)
    steps = recipe.epochs * len(digits) // recipe.batch_size
    found["same/by hand"] = steps_by_hand(recipe, steps, images, labels)
    found["same/trained"] = to_numpy(load_model(same_run).value.getParameters()._1())
    np.savez(output, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
