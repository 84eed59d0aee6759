"""What scripts/cluster.sh leaves on every node about the cluster that it started.

    runs/cluster/master    the Master's URL
    runs/cluster/workers   the hosts, as in conf/workers
    runs/cluster/secret    what Master, Workers and applications prove themselves with (mode 600)

The environment variable SPARK_CLUSTER_FOLDER names another folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from pathlib import Path

from jobs.runtime.cluster.workers_file import Worker, read_workers
from jobs.runtime.errors import UnavailableError
from jobs.runtime.files import PRIVATE, ROOT, write_atomically

MASTER_FILE = "master"
WORKERS_FILE = "workers"
SECRET_FILE = "secret"


def cluster_folder() -> Path:
    """The folder, which need not exist."""
    given = os.environ.get("SPARK_CLUSTER_FOLDER")
    return Path(given).absolute() if given else ROOT / "runs" / "cluster"


def master_url(folder: Path) -> str | None:
    """The Master that was started last; None before any."""
    try:
        return (folder / MASTER_FILE).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def read_secret(folder: Path) -> str | None:
    """The secret; None where authentication is switched off.

    Raises:
        UnavailableError: another user has started the cluster.
    """
    path = folder / SECRET_FILE
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise UnavailableError(
            f"{path} is for the user alone who has started that cluster; submit as that user, or "
            "start another with the variable SPARK_CLUSTER_FOLDER naming a folder of your own"
        ) from error


def write_secret(folder: Path, secret: str) -> None:
    """Store the secret."""
    write_atomically(folder / SECRET_FILE, secret + "\n", PRIVATE)


def new_secret() -> str:
    """A secret that nobody can guess."""
    return secrets.token_hex(32)


def secret_for(master: str) -> str | None:
    """The secret that the Master at this URL wants, if scripts/cluster.sh has started it."""
    folder = cluster_folder()
    return read_secret(folder) if _was_started(folder, master) else None


def started_workers(folder: Path, master: str) -> list[Worker]:
    """The Workers of the Master at this URL; none if unknown."""
    return read_workers(folder / WORKERS_FILE) if _was_started(folder, master) else []


def _was_started(folder: Path, master: str) -> bool:
    known = master_url(folder)
    return known is not None and bool(_addresses(known) & _addresses(master))


def _addresses(master: str) -> set[tuple[str, int]]:
    """Address and port of each Master in a spark:// URL."""
    found: set[tuple[str, int]] = set()
    for place in master.removeprefix("spark://").split(","):
        host, _, port = place.rpartition(":")
        with contextlib.suppress(OSError, ValueError):
            for *_, address in socket.getaddrinfo(host, int(port), socket.AF_INET):
                found.add((str(address[0]), int(address[1])))
    return found
