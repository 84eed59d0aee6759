"""A cluster of this machine alone, for as long as a block lasts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.runtime.cluster.node import Node
from jobs.runtime.cluster.state import MASTER_FILE, WORKERS_FILE, new_secret, write_secret
from jobs.runtime.cluster.workers_file import Worker

ADDRESS = "127.0.0.1"


@contextmanager
def loopback_cluster(
    folder: Path, workers: int, cores: int, memory: str, gpus: int = 0
) -> Iterator[str]:
    """Start a Master and equal Workers on loopback, yield the Master's URL, and stop them.

    Jobs find the secret when SPARK_CLUSTER_FOLDER names the folder.

    Raises:
        UnavailableError: a daemon did not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    node = Node(folder, ADDRESS)
    node.stop()
    secret = new_secret()
    write_secret(folder, secret)
    try:
        url = node.start_master(ADDRESS, _free_port(), 0, secret)
        (folder / MASTER_FILE).write_text(url + "\n", encoding="utf-8")
        lines = f"{ADDRESS} {cores} {memory} {gpus}\n" * workers
        (folder / WORKERS_FILE).write_text(lines, encoding="utf-8")
        for number in range(1, workers + 1):
            worker = Worker(
                name=f"worker-{number}",
                host=ADDRESS,
                cores=cores,
                memory=memory,
                gpus=gpus,
                first_gpu=(number - 1) * gpus,
            )
            node.start_worker(worker, url, secret)
        yield url
    finally:
        node.stop()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((ADDRESS, 0))
        return int(listener.getsockname()[1])
