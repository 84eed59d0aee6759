"""Which GPU a task has: the address that Spark gave it, and what CUDA calls that in this process.

An address is an entry of CUDA_VISIBLE_DEVICES: a number in the order of the PCI bus, as nvidia-smi
counts, or a name. scripts/discover_gpus.sh tells them to a Worker. In local mode nobody does; there
a rank takes the GPU of its own number, and other tasks that of their process's.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence

from pyspark import TaskContext

from jobs.runtime.errors import UnavailableError
from jobs.runtime.profile import Cluster

logger = logging.getLogger(__name__)

DEVICE_HELP = (
    "where a profile in local mode computes: auto, on this machine's GPUs if there are any; cpu, "
    "on its cores"
)
VISIBLE = "CUDA_VISIBLE_DEVICES"
PCI_ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""CUDA's own order is by speed: with two different cards its 0 is another one than nvidia-smi's."""


def visible_gpus() -> list[str]:
    """The addresses of this machine's GPUs that torch can see, without starting CUDA."""
    import torch

    count = torch.cuda.device_count()
    return _entries() or [str(number) for number in range(count)] if count else []


def rank_environment(given: Sequence[str], rank: int, use_gpu: bool) -> dict[str, str]:
    """What lets a rank see its GPU alone, whatever the Worker's own environment says.

    Args:
        given: the addresses that Spark gave to its task; none in local mode.
        rank: its number, which in local mode chooses the GPU.
        use_gpu: whether it may see one at all.
    """
    if not use_gpu:
        return {VISIBLE: ""}
    return {VISIBLE: ",".join(given or visible_gpus()[rank : rank + 1]), **PCI_ORDER}


def local_gpus(cluster: Cluster, device: str) -> int:
    """How many GPUs of this machine the tasks of local mode share; says so in one line.

    Args:
        cluster: of the profile; elsewhere than in local mode Spark gives GPUs to tasks.
        device: what --device says; with cpu there are none.
    """
    count = len(visible_gpus()) if cluster.is_local and device == "auto" else 0
    if count:
        gpus = "the GPU" if count == 1 else f"the {count} GPUs"
        logger.info("on %s of this machine; --device cpu takes its cores instead", gpus)
    return count


def task_device(local: int = 0) -> str:
    """Called in a task: "cuda:N" for the GPU that Spark gave it, or "cpu".

    Args:
        local: what local_gpus gave; of so many GPUs each process takes one and stays with it.

    Raises:
        UnavailableError: CUDA_VISIBLE_DEVICES hides that GPU from this process.
    """
    task = TaskContext.get()
    gpu = task.resources().get("gpu") if task is not None else None
    if gpu is None and local:
        return f"cuda:{os.getpid() % local}"
    return "cpu" if gpu is None else device_of(gpu.addresses[0])


def device_of(address: str) -> str:
    """torch's name in this process of the GPU with that address.

    Raises:
        UnavailableError: CUDA_VISIBLE_DEVICES hides it.
    """
    entries = _entries()
    if not entries:
        return f"cuda:{address}"
    if address not in entries:
        raise UnavailableError(
            f"Spark gave GPU {address} of {socket.gethostname()}, which {VISIBLE}="
            f"{','.join(entries)} hides there; start the Worker with scripts/cluster.sh"
        )
    return f"cuda:{entries.index(address)}"


def _entries() -> list[str]:
    return [one.strip() for one in os.environ.get(VISIBLE, "").split(",") if one.strip()]
