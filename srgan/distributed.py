"""The ranks of a training, whoever launched them: jobs/runtime/ranks.py, torchrun or nobody.

A launcher sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT; without them the process
is alone.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import psutil
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from srgan.batch_norm import synchronise_batch_norm
from srgan.cpu.shared_memory import SharedSums, open_shared_sums

Value = TypeVar("Value")

DRAIN_SECONDS = 0.5

LONGEST_WAIT = timedelta(minutes=30)
"""How long a rank waits for another before it fails."""


@dataclass(frozen=True)
class Ranks:
    """This process among all; every method is for all ranks to call together."""

    rank: int
    world_size: int
    device: torch.device
    backend: str
    """nccl, gloo, or none when alone."""
    shared: SharedSums | None = None
    """Memory that all ranks share, where all are CPU ranks of one machine."""

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean over ranks; changes the tensor."""
        if self.world_size > 1:
            dist.all_reduce(values)
            values /= self.world_size
        return values

    def gather(self, value: Value) -> list[Value]:
        """The values of all ranks, in their order."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: Value) -> Value:
        """The value of the first rank."""
        if self.world_size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network with gradients that are the mean over ranks."""
        if self.world_size == 1:
            return network
        return DistributedDataParallel(
            network,
            device_ids=[self.device.index] if self.device.type == "cuda" else None,
            # Synchronised batch normalisation keeps the buffers equal already.
            forward_sync_buffers=False,
            gradient_as_bucket_view=True,
        )

    def prepare(self, network: nn.Module) -> nn.Module:
        """The network on this rank's device, its batch statistics those of all ranks."""
        network = network.to(self.device)
        if self.world_size == 1:
            return network
        return synchronise_batch_norm(network, self.shared)


@contextlib.contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Join the ranks that the launcher's environment names, on a GPU each where there are GPUs."""
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        # A launcher may have hidden all GPUs but this rank's, which then is number 0.
        local_rank = int(os.environ.get("LOCAL_RANK", 0))
        device = torch.device("cuda", local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    ranks = Ranks(rank, world_size, device, backend="none")
    if world_size == 1:
        yield ranks
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    ranks = replace(ranks, backend=backend)
    if dist.is_initialized():
        # Whoever joined them will also leave them.
        yield _with_shared_memory(ranks)
        return
    _choose_network()
    # nccl then connects here, where an error is understood, and not in some later step.
    dist.init_process_group(
        backend, timeout=LONGEST_WAIT, device_id=device if device.type == "cuda" else None
    )
    try:
        yield _with_shared_memory(ranks)
    finally:
        # gloo's threads need the interpreter's lock to let go of the tensors they have exchanged,
        # and the group's destructor waits for these threads with the lock held: a deadlock,
        # unless they have done so before. Sleeping gives them the lock.
        time.sleep(DRAIN_SECONDS)
        dist.destroy_process_group()


def _with_shared_memory(ranks: Ranks) -> Ranks:
    if ranks.backend != "gloo":
        return ranks
    return replace(ranks, shared=open_shared_sums(ranks.rank, ranks.world_size, LONGEST_WAIT))


def _choose_network() -> None:
    """Let gloo and nccl use the network that leads to the first rank, unless the user chose one.

    Left alone, gloo listens where this machine's own name points to, which is a loopback address
    on many (Debian's is 127.0.1.1): ranks on other machines would wait for it in vain.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Connecting a datagram socket sends nothing, but finds the way.
        probe.connect((os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])))
        address = probe.getsockname()[0]
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == address for one in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
            # Without the sign it is the beginning of a name: eth1 would also be eth10.
            os.environ.setdefault("NCCL_SOCKET_IFNAME", f"={name}")


@contextlib.contextmanager
def failing_together(ranks: Ranks) -> Iterator[None]:
    """When the block fails on one rank, fail on all, instead of leaving the others to wait.

    The block itself must not exchange anything between ranks.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    failures = [error for error in ranks.gather(failure) if error is not None]
    if failures:
        raise failure or failures[0]
