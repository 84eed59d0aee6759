"""Reaching a standalone Master: is it there, from which of our addresses, and with what secret."""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter
from collections.abc import Iterable

from jobs.runtime.cluster_state import cluster_folder, secret_for, started_hosts
from jobs.runtime.errors import UnavailableError, UsageError

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
    secret = secret_for(master)
    if secret is not None:
        properties["spark.authenticate"] = "true"
        properties["spark.authenticate.secret"] = secret
        # Nobody can listen to what stays on this machine.
        encrypted = not ipaddress.ip_address(address).is_loopback
        properties["spark.network.crypto.enabled"] = str(encrypted).lower()
    return properties


def hosts_without_executors(master: str, present: Iterable[str]) -> list[str]:
    """Hosts of the cluster that scripts/cluster.sh started, of which no executor has come.

    Args:
        master: its URL; a cluster that was started in another way gives no hosts.
        present: the addresses of the executors that are there.
    """
    left = Counter(present)
    missing = []
    for host in started_hosts(cluster_folder(), master):
        try:
            address = socket.gethostbyname(host.rpartition("@")[2])
        except OSError:
            address = host
        if left[address]:
            left[address] -= 1
        elif host not in missing:
            missing.append(host)
    return missing
