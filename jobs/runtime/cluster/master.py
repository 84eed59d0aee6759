"""Reaching a standalone Master: is it there, from which of our addresses, and with what secret."""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter
from collections.abc import Iterable

from jobs.runtime.cluster.state import cluster_folder, secret_for, started_workers
from jobs.runtime.errors import UnavailableError, UsageError
from jobs.runtime.profile import Cluster, mebibytes
from jobs.runtime.security import security_properties

CONNECT_SECONDS = 5.0


def reach_master(master: str) -> str:
    """Connect to the Master of a spark:// URL, and return this machine's address on that way.

    Raises:
        UsageError: no such URL.
        UnavailableError: nobody answers there.
    """
    for place in master.removeprefix("spark://").split(","):
        host, _, port = place.rpartition(":")
        if not host or not port.isdigit():
            raise UsageError(f"master {master}: expected spark://HOST:PORT")
        try:
            with socket.create_connection((host, int(port)), CONNECT_SECONDS) as connection:
                return str(connection.getsockname()[0])
        except OSError as error:
            reason = error.strerror or str(error)
    raise UnavailableError(
        f"no Spark master answers at {master} ({reason}); start the cluster, or name its "
        "master with --master spark://HOST:7077"
    )


def connection_properties(master: str) -> dict[str, str]:
    """What the driver needs to be reached by the executors, and to prove itself to the Master.

    The driver listens on one address alone, the one that leads to the Master: a host name may
    stand for another (Debian's own name is 127.0.1.1), or for none.

    Raises:
        UsageError, UnavailableError: see `reach_master`.
    """
    address = reach_master(master)
    properties = {"spark.driver.host": address, "spark.driver.bindAddress": address}
    if ipaddress.ip_address(address).is_loopback:
        # Its pages listen on all networks, whatever the addresses above are.
        properties["spark.ui.enabled"] = "false"
    return properties | security_properties(secret_for(master), address)


def check_room(cluster: Cluster) -> None:
    """See that the cluster could ever give the promised executors, as far as it is known.

    Raises:
        UnavailableError: all its Workers together have too few cores or GPUs, or too little memory.
    """
    workers = started_workers(cluster_folder(), cluster.master)
    needed = mebibytes(cluster.memory)
    room = sum(
        min(
            worker.cores // cluster.cores,
            mebibytes(worker.memory) // needed,
            worker.gpus // cluster.gpus if cluster.gpus else cluster.executors,
        )
        for worker in workers
    )
    if workers and room < cluster.executors:
        raise UnavailableError(
            f"{cluster.master} has room for {room} of the {cluster.executors} executors with "
            f"{cluster.executor} that the profile asks for; take a "
            "smaller profile, or add workers to conf/workers and start the cluster again"
        )


def hosts_without_executors(master: str, present: Iterable[str]) -> list[str]:
    """Hosts of the cluster that scripts/cluster.sh started, of which no executor has come.

    Args:
        master: its URL; a cluster that was started in another way gives no hosts.
        present: the addresses of the executors that are there.
    """
    left = Counter(present)
    missing = []
    for worker in started_workers(cluster_folder(), master):
        host = worker.host
        try:
            address = socket.gethostbyname(worker.address)
        except OSError:
            address = host
        if left[address]:
            left[address] -= 1
        elif host not in missing:
            missing.append(host)
    return missing
