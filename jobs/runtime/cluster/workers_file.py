"""conf/workers: the hosts of a cluster, one Worker per line.

    # host        cores  memory  [GPUs]
    localhost     2      2g
    me@pc2        4      6g      1

A host that stands there several times gets several Workers, which share its GPUs in this order.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jobs.runtime.errors import UsageError

LOOPBACK_NAME = "localhost"


@dataclass(frozen=True)
class Worker:
    """One Worker."""

    name: str
    """Unique in the cluster, such as "worker-1"."""
    host: str
    """A name or an address, with the user of ssh in front where that is another."""
    cores: int
    """CPU cores it offers to applications."""
    memory: str
    """Memory it offers, such as "2g"."""
    gpus: int = 0
    """GPUs it offers."""
    first_gpu: int = 0
    """Number of the first of its GPUs on its host: what the Workers before it offer."""

    @property
    def address(self) -> str:
        """The host without the user."""
        return self.host.rpartition("@")[2]

    @property
    def is_loopback(self) -> bool:
        """Whether it runs on this machine and nobody else can reach it."""
        return is_loopback(self.address)


def is_loopback(host: str) -> bool:
    """Whether a host is localhost or an address such as 127.0.0.2."""
    if host == LOOPBACK_NAME:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_workers(path: Path) -> list[Worker]:
    """The Workers that a file lists.

    Raises:
        UsageError: no such file, or a line that cannot be understood, named by its number.
    """
    try:
        # Some editors put a byte order mark in front.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); name another with --workers") from None
    workers: list[Worker] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if words:
            worker = _parse(words, f"{path}:{number}", f"worker-{len(workers) + 1}")
            taken = sum(other.gpus for other in workers if other.address == worker.address)
            workers.append(replace(worker, first_gpu=taken))
    if not workers:
        raise UsageError(f"{path}: lists no hosts; a line is: HOST CORES MEMORY [GPUS]")
    _refuse_mixture(workers, path)
    return workers


def _parse(words: Sequence[str], place: str, name: str) -> Worker:
    if len(words) not in (3, 4):
        raise UsageError(f"{place}: {' '.join(words)!r}: expected HOST CORES MEMORY [GPUS]")
    host, cores, memory, gpus = [*words, "0"][:4]
    # A host goes to ssh as an argument of its own; one like -oProxyCommand=... would be an option.
    if not re.fullmatch(r"([A-Za-z0-9_.][\w.-]*@)?[A-Za-z0-9:][\w.:-]*", host):
        raise UsageError(f"{place}: {host!r} is no host name or address")
    if not re.fullmatch(r"[1-9]\d{0,3}", cores):
        raise UsageError(f"{place}: {cores!r} cores: expected a positive whole number")
    if not re.fullmatch(r"[1-9]\d*[mgMG]", memory):
        raise UsageError(f"{place}: memory {memory!r}: expected a size such as 2g or 1500m")
    if not re.fullmatch(r"\d{1,2}", gpus):
        raise UsageError(f"{place}: {gpus!r} GPUs: expected a whole number")
    return Worker(name=name, host=host, cores=int(cores), memory=memory.lower(), gpus=int(gpus))


def _refuse_mixture(workers: Sequence[Worker], path: Path) -> None:
    inner = [worker.host for worker in workers if worker.is_loopback]
    outer = [worker.host for worker in workers if not worker.is_loopback]
    if inner and outer:
        raise UsageError(
            f"{path}: {inner[0]} cannot be reached from {outer[0]}; give this machine's name or "
            "its address in the network instead"
        )
