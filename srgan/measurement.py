"""How fast a training is, how much of it is waiting, and how much arithmetic it does."""

import contextlib
import statistics
import time
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.utils.flop_counter import FlopCounterMode

from srgan.batches import Batch
from srgan.distributed import Ranks
from srgan.phases import Phase

PROBES = 3


class Throughput:
    """Steps per second, by windows of several steps, so that a GPU is waited for only at their end.

    Evaluation and checkpoints lie between the windows and do not count.
    """

    def __init__(self) -> None:
        self._rates: list[float] = []
        self._started = 0.0

    def start_window(self) -> None:
        """The next step follows."""
        self._started = time.perf_counter()

    def end_window(self, steps: int) -> float:
        """That many steps have been done, and waited for; returns the window's rate."""
        self._rates.append(steps / (time.perf_counter() - self._started))
        return self._rates[-1]

    @property
    def steps_per_second(self) -> float | None:
        """The median over the windows after the first, which warms up; None before any."""
        rates = self._rates[1:] or self._rates
        return statistics.median(rates) if rates else None


def count_flops(phase: Phase, batch: Batch) -> int:
    """Floating-point operations of one step on this rank: matrix products and convolutions."""
    with _untouched(phase), FlopCounterMode(display=False) as counter:
        phase.compute_gradients(batch)
    return counter.get_total_flops()


def waiting_share(phase: Phase, batch: Batch, ranks: Ranks) -> float:
    """Part of a step's time, 0 to 1, that goes into waiting for other ranks.

    Gradients are computed a few times with all ranks and a few times with all exchange between
    them switched off (gradients and batch statistics), on the same batch; what the former takes
    longer is waiting, for slower ranks and for the network. What overlaps with computing costs
    nothing and does not count. Weights and buffers are left as they were. The mean over ranks.
    """
    if ranks.world_size == 1:
        return 0.0
    only_this_rank, _ = dist.new_subgroups(group_size=1)
    together: list[float] = []
    alone: list[float] = []
    with _untouched(phase):
        for _ in range(PROBES):
            together.append(_gradient_seconds(phase, batch, ranks))
            with _without_exchange(phase, only_this_rank):
                alone.append(_gradient_seconds(phase, batch, ranks))
    share = 1 - statistics.median(alone) / statistics.median(together)
    return ranks.mean(torch.tensor(max(0.0, share), device=ranks.device)).item()


def _gradient_seconds(phase: Phase, batch: Batch, ranks: Ranks) -> float:
    dist.barrier()
    started = time.perf_counter()
    phase.compute_gradients(batch)
    if ranks.device.type == "cuda":
        torch.cuda.synchronize(ranks.device)
    return time.perf_counter() - started


@contextlib.contextmanager
def _untouched(phase: Phase) -> Iterator[None]:
    """Undo what computing gradients changes: running statistics."""
    buffers = [buffer for network in phase.networks.values() for buffer in network.buffers()]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)


@contextlib.contextmanager
def _without_exchange(phase: Phase, only_this_rank: dist.ProcessGroup) -> Iterator[None]:
    """Compute with this rank's slice alone."""
    norms = [
        module
        for network in phase.networks.values()
        for module in network.modules()
        if isinstance(module, _BatchNorm)
    ]
    with contextlib.ExitStack() as stack:
        for network in phase.parallel_networks.values():
            if isinstance(network, DistributedDataParallel):
                stack.enter_context(network.no_sync())
        for norm in norms:
            stack.enter_context(_attribute(norm, "process_group", only_this_rank))
        yield


@contextlib.contextmanager
def _attribute(module: nn.Module, name: str, value: object) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
