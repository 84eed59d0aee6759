"""LeNet5 in PyTorch: what BigDL's training is compared with.

The tuned network, batch, optimiser, schedule and moved images of conf/lenet.toml, as a textbook
would write them: all images in memory as bytes, DistributedDataParallel where there are several
ranks. Started by train_torch_lenet.py on a Spark cluster, or by plain_lenet.py in one process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lenet.idx import IMAGE_SIZE, Digits, read_digits
from lenet.recipe import Recipe
from lenet.schedule import iterations_per_epoch
from srgan.distributed import Ranks, joined_ranks

# lenet.network has the same two, but importing it starts BigDL.
MEAN, DEVIATION = 0.13066047740239506, 0.3081078
PROBES = 20


def build_network() -> nn.Module:
    """lenet/network.py's tuned LeNet5, layer by layer."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.MaxPool2d(2),
        nn.Tanh(),
        nn.Conv2d(6, 16, 5),
        nn.MaxPool2d(2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 120),
        nn.Tanh(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, 10),
    )


def train_lenet(recipe: Recipe, data: str, threads: int) -> dict[str, Any]:
    """Train on all joined ranks.

    Returns:
        history (an entry an epoch, as train_lenet.py's), records_per_second and
        iteration_seconds (medians over epochs, tests left out), exchange_seconds (the part of an
        iteration that goes into waiting for other ranks), first_iteration_at (seconds since
        1970).
    """
    torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    with joined_ranks() as ranks:
        train, test = read_digits(data, "train"), read_digits(data, "test")
        network = build_network()
        parallel = ranks.parallel(network)
        optimiser = torch.optim.SGD(
            parallel.parameters(), recipe.learning_rate, recipe.momentum, nesterov=True
        )
        per_epoch = iterations_per_epoch(len(train), recipe.batch_size)
        history = []
        first_iteration_at = 0.0
        for epoch in range(1, recipe.epochs + 1):
            started = time.perf_counter()
            iterations = 0
            for images, labels in _batches(train, recipe, epoch, ranks):
                done = (epoch - 1) * per_epoch + iterations
                for group in optimiser.param_groups:
                    group["lr"] = recipe.learning_rate_at(done, recipe.epochs * per_epoch)
                _step(parallel, optimiser, images, labels)
                iterations += 1
                first_iteration_at = first_iteration_at or time.time()
            trained = time.perf_counter() - started
            history.append(
                {
                    "epoch": epoch,
                    "iteration_seconds": trained / iterations,
                    "test_accuracy": _accuracy(network, test, ranks),
                    "seconds": time.perf_counter() - started,
                }
            )
        exchange = _exchange_seconds(parallel, optimiser, train, recipe, ranks=ranks)
    iteration = statistics.median(entry["iteration_seconds"] for entry in history)
    return {
        "top1_accuracy": history[-1]["test_accuracy"],
        "records_per_second": recipe.batch_size / iteration,
        "iteration_seconds": iteration,
        "exchange_seconds": exchange,
        "first_iteration_at": first_iteration_at,
        "history": history,
    }


def _batches(
    digits: Digits, recipe: Recipe, epoch: int, ranks: Ranks
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """This rank's slices of an epoch's batches; the order is the same on all ranks."""
    shift = recipe.shift
    padded = np.pad(digits.images, ((0, 0), (shift, shift), (shift, shift)))
    windows = torch.from_numpy(padded).unfold(1, IMAGE_SIZE, 1).unfold(2, IMAGE_SIZE, 1)
    labels = torch.from_numpy(digits.labels.astype(np.int64))
    generator = torch.Generator().manual_seed(recipe.seed * 1000 + epoch)
    order = torch.randperm(len(labels), generator=generator)
    moves = torch.randint(2 * shift + 1, (len(labels), 2), generator=generator)
    for start in range(0, len(order), recipe.batch_size):
        chosen = order[start : start + recipe.batch_size][ranks.rank :: ranks.world_size]
        images = windows[chosen, moves[chosen, 0], moves[chosen, 1]]
        yield _normalised(images), labels[chosen]


def _normalised(images: torch.Tensor) -> torch.Tensor:
    return (images[:, None].float() / 255 - MEAN) / DEVIATION


def _step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: torch.Tensor,
    labels: torch.Tensor,
) -> None:
    optimiser.zero_grad()
    F.cross_entropy(network(images), labels).backward()
    optimiser.step()


def _accuracy(network: nn.Module, test: Digits, ranks: Ranks) -> float:
    mine = slice(ranks.rank, None, ranks.world_size)
    labels = torch.from_numpy(test.labels[mine].astype(np.int64))
    with torch.no_grad():
        images = torch.from_numpy(test.images[mine].copy())
        predicted = network(_normalised(images)).argmax(1)
    right = (predicted == labels).float().mean()
    return float(ranks.mean(right))


def _exchange_seconds(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    digits: Digits,
    recipe: Recipe,
    ranks: Ranks,
) -> float:
    """What a step takes longer with the other ranks than without; after the training.

    Weights drift apart meanwhile, which no longer matters.
    """
    if not isinstance(network, DistributedDataParallel):
        return 0.0
    images, labels = next(_batches(digits, recipe, 0, ranks))

    def seconds(step: Callable[[], None]) -> float:
        times = []
        for _ in range(PROBES):
            started = time.perf_counter()
            step()
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    def together() -> None:
        _step(network, optimiser, images, labels)

    def alone() -> None:
        with network.no_sync():
            together()

    waiting = max(0.0, seconds(together) - seconds(alone))
    return float(ranks.mean(torch.tensor(waiting)))
