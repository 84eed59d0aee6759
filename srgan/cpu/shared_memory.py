"""Sums over the ranks of one machine, through memory that all of them have mapped.

gloo sends through sockets even within a machine, and whoever waits sleeps: waking up takes longer
than a layer's batch statistics take to add. Here a rank writes its numbers and looks at those of
the others until they are there.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import BinaryIO

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

FOLDER = "/dev/shm"
SLOT_BYTES = 64 * 1024
"""Room for the numbers of a rank; batch statistics of 4096 channels."""

TURNS = 2
"""A rank can be one exchange ahead of another, which then still reads the one before."""

COUNTER_BYTES = 64
"""A cache line for each rank's count of exchanges, or writing one would slow the others down."""

SLEEPLESS_SECONDS = 0.01
SLEEP_SECONDS = 0.0005
LOOK_SECONDS = 1.0
"""How often a rank that waits looks whether the others still live."""


class SharedSums:
    """Adds small tensors over all ranks; every rank calls the same methods in the same order.

    Each rank has a slot for its numbers and, behind all slots, a counter of what it has written.
    That the counter changes after the numbers, for all to see, is what x86 processors promise and
    others do not. While it lives, a rank holds a lock on one byte of the file, which the kernel
    takes away when the process ends, however it ends.
    """

    def __init__(self, file: BinaryIO, rank: int, world_size: int, longest_wait: timedelta) -> None:
        """Map a file of `file_bytes`, which all ranks have opened, and lock this rank's byte.

        A rank waits for another no longer than `longest_wait`.
        """
        self._file = file
        self._rank, self._world_size, self._longest_wait = rank, world_size, longest_wait
        self._count = 0
        memory = np.frombuffer(mmap.mmap(file.fileno(), 0), np.uint8)
        slots_bytes = TURNS * world_size * SLOT_BYTES
        self._slots = memory[:slots_bytes].reshape(TURNS, world_size, SLOT_BYTES)
        counters = memory[slots_bytes:].view(np.int64)
        self._counters = counters.reshape(world_size, COUNTER_BYTES // 8)[:, 0]
        fcntl.lockf(file, fcntl.LOCK_EX, 1, rank)

    def __deepcopy__(self, memo: object) -> SharedSums:
        """A copied network meets the same ranks at the same place."""
        return self

    @staticmethod
    def file_bytes(world_size: int) -> int:
        """Bytes of the file for that many ranks."""
        return world_size * (TURNS * SLOT_BYTES + COUNTER_BYTES)

    def fits(self, values: Tensor) -> bool:
        """Whether these are few enough numbers; the answer is the same on all ranks."""
        return values.nbytes <= SLOT_BYTES

    def sum(self, values: Tensor) -> Tensor:
        """The sum over ranks, added in the order of ranks, so the same on all.

        Args:
            values: of the same shape and type on all ranks; fits.

        Raises:
            RuntimeError: another rank has ended, or did not come in time.
        """
        self._count += 1
        slots = self._slots[self._count % TURNS, :, : values.nbytes]
        of_ranks = torch.from_numpy(slots).view(values.dtype)
        of_ranks[self._rank] = values.flatten()
        self._counters[self._rank] = self._count
        for rank in range(self._world_size):
            self._wait_for(rank)
        return of_ranks.sum(0).view_as(values)

    def _wait_for(self, rank: int) -> None:
        started = time.monotonic()
        look = started + LOOK_SECONDS
        while self._counters[rank] < self._count:
            # Where ranks share a core, the other one needs it.
            os.sched_yield()
            now = time.monotonic()
            if now > look:
                look = now + LOOK_SECONDS
                if not self._lives(rank):
                    raise RuntimeError(f"rank {rank} has ended")
                if now - started > self._longest_wait.total_seconds():
                    raise RuntimeError(f"rank {rank} did not come within {self._longest_wait}")
            if now - started > SLEEPLESS_SECONDS:
                time.sleep(SLEEP_SECONDS)

    def _lives(self, rank: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, rank)
        except OSError:
            return True
        return False


def open_shared_sums(rank: int, world_size: int, longest_wait: timedelta) -> SharedSums | None:
    """Shared memory of all ranks of torch's process group, which all call this together.

    Returns:
        None on all ranks where not all of them can share memory: they are on several machines or
        in several containers, have no /dev/shm, or a processor that is not an x86.
    """
    with _new_file(rank, SharedSums.file_bytes(world_size)) as path:
        paths = [path]
        dist.broadcast_object_list(paths, src=0)
        file = _open(paths[0])
        sums = None if file is None else SharedSums(file, rank, world_size, longest_wait)
        # The file is deleted when all have opened it.
        opened: list[bool] = [False] * world_size
        dist.all_gather_object(opened, sums is not None)
    return sums if all(opened) else None


@contextlib.contextmanager
def _new_file(rank: int, size: int) -> Iterator[str | None]:
    """On the first rank, a file of zeros for as long as the block lasts, if it can be made."""
    path: str | None = None
    try:
        if rank == 0:
            with contextlib.suppress(OSError):
                descriptor, path = tempfile.mkstemp(prefix="srgan-ranks-", dir=FOLDER)
                try:
                    # Or a full /dev/shm would be noticed when writing, by a signal that kills.
                    os.posix_fallocate(descriptor, 0, size)
                finally:
                    os.close(descriptor)
        yield path
    finally:
        if path is not None:
            os.unlink(path)


def _open(path: str | None) -> BinaryIO | None:
    if path is None or platform.machine() not in ("x86_64", "AMD64"):
        return None
    try:
        return open(path, "r+b", buffering=0)
    except OSError:
        return None
