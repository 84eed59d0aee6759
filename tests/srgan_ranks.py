"""Run a function on several real gloo ranks, the way a launcher would start them."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing


def run_ranks(world_size: int, folder: Path, function: Callable[..., Any], *arguments: Any) -> list:
    """Call function(*arguments) in one process per rank; its results in the order of ranks.

    The results (tensors and plain values) travel through files in the folder.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(
        _run_rank, (world_size, port, str(folder), function, arguments), nprocs=world_size
    )
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(world_size)]


def _run_rank(
    rank: int,
    world_size: int,
    port: int,
    folder: str,
    function: Callable[..., Any],
    arguments: tuple,
) -> None:
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(world_size),
        LOCAL_RANK=str(rank),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    torch.save(function(*arguments), f"{folder}/rank-{rank}.pt")
