"""Start and stop a standalone Spark cluster: a Master here, Workers on the hosts of conf/workers.

    bash scripts/cluster.sh sync            bring checkout and environment to the other hosts
    bash scripts/cluster.sh start           start what does not run yet
    bash scripts/cluster.sh status
    bash scripts/cluster.sh stop            end what start has started, and nothing else
    bash scripts/cluster.sh start --workers my-pcs --bind 192.168.1.10

scripts/cluster.sh enters the environment and runs scripts/cluster.py, here and on other hosts.
Those are reached by ssh, and have the checkout at the same path. Logs, process ids and the
secret lie in runs/cluster. Applications prove themselves with the secret, which the jobs of this
checkout find by themselves; between machines the traffic is encrypted.

A host that fails is named, and the others go on. Exit codes: 0 done; 2 usage; 69 a host does not
answer, a daemon did not start, or (status) does not run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobs.runtime.cluster.node import MASTER, Node, address_towards
from jobs.runtime.cluster.ssh import ask_node, send_checkout
from jobs.runtime.cluster.state import (
    MASTER_FILE,
    SECRET_FILE,
    WORKERS_FILE,
    cluster_folder,
    master_url,
    new_secret,
    read_secret,
    write_secret,
)
from jobs.runtime.cluster.workers_file import Worker, read_workers
from jobs.runtime.command import command
from jobs.runtime.errors import (
    EXIT_OK,
    EXIT_UNAVAILABLE,
    JobError,
    UnavailableError,
    UsageError,
    one_line,
)
from jobs.runtime.files import ROOT
from jobs.runtime.places import local_path

logger = logging.getLogger("cluster")
EVERYWHERE = "0.0.0.0"
HOSTS_FILE = "hosts"
"""On the machine where the Master runs: every host that it has started something on."""


@command("cluster")
def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks for and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    options = _parser().parse_args(argv)
    if options.action == "node":
        return _serve_one_request()
    return ACTIONS[options.action](options)


def start(options: argparse.Namespace) -> int:
    """Start the Master and every Worker that does not run yet."""
    workers = read_workers(options.workers)
    if options.bind == EVERYWHERE:
        raise UsageError(
            f"--bind {EVERYWHERE}: nobody reaches that; name an address of this machine"
        )
    folder = _writable_folder()
    if options.authentication and read_secret(folder) is None:
        write_secret(folder, new_secret())
    elif not options.authentication:
        (folder / SECRET_FILE).unlink(missing_ok=True)
    address = options.bind or _master_address(workers)
    secret = read_secret(folder)
    url = Node(folder, socket.gethostname()).start_master(
        address, options.port, options.web_port, secret
    )
    (folder / MASTER_FILE).write_text(url + "\n", encoding="utf-8")
    text = options.workers.read_text(encoding="utf-8")
    # Before anything is started there: whatever happens, stop must know where to look.
    hosts = dict.fromkeys([*_hosts(folder), *(worker.host for worker in workers)])
    (folder / HOSTS_FILE).write_text("".join(f"{host}\n" for host in hosts), encoding="utf-8")
    (folder / WORKERS_FILE).write_text(text, encoding="utf-8")
    logger.info("master    %s", url)

    def start_worker(worker: Worker) -> str:
        request = {"action": "start", "master": url, "secret": secret, "workers": text}
        started = _on_host(worker.host, {**request, "worker": asdict(worker)})
        return "started" if started else "runs already"

    return _for_each(workers, start_worker)


def _writable_folder() -> Path:
    folder = cluster_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise JobError(
            f"cannot write {folder}: {error.strerror}; name a folder of your own with the "
            "variable SPARK_CLUSTER_FOLDER, or do this as the user to whom it belongs"
        ) from error
    return folder


def stop(_options: argparse.Namespace) -> int:
    """End what was started, Workers before the Master."""
    folder = cluster_folder()

    def stop_host(host: str) -> str:
        return ", ".join(_on_host(host, {"action": "stop"})) or "nothing runs"

    code = _for_each(_hosts(folder), stop_host)
    if code == EXIT_OK:
        (folder / HOSTS_FILE).unlink(missing_ok=True)
    # The Master's node is this one, which need not be among the Workers' hosts.
    ended = Node(folder, socket.gethostname()).stop()
    if ended:
        logger.info("%s stopped", ", ".join(ended))
    return code


def status(_options: argparse.Namespace) -> int:
    """Say what runs."""
    folder = cluster_folder()
    url = master_url(folder)
    if url is None:
        logger.info("no cluster was started from here")
        return EXIT_UNAVAILABLE
    master_runs = MASTER in Node(folder, socket.gethostname()).running()
    logger.info("master    %s  %s", url, "runs" if master_runs else "does not run")

    def ask(worker: Worker) -> str:
        pid = _on_host(worker.host, {"action": "running"}).get(worker.name)
        if pid is None:
            raise UnavailableError("does not run")
        return f"runs, process {pid}"

    code = _for_each(_started_workers(folder), ask)
    return code if master_runs else EXIT_UNAVAILABLE


def sync(options: argparse.Namespace) -> int:
    """Bring checkout and environment to the hosts that are other machines."""
    hosts = dict.fromkeys(worker.host for worker in read_workers(options.workers))
    others = [host for host in hosts if not _is_this_machine(host)]
    if not others:
        logger.info("%s lists this machine alone: nothing to bring anywhere", options.workers)
    return _for_each(others, lambda host: f"{send_checkout(host)} sent")


ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "start": start,
    "stop": stop,
    "status": status,
    "sync": sync,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cluster.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("action", choices=[*ACTIONS, "node"], metavar="start|stop|status|sync")
    parser.add_argument(
        "--workers", type=local_path, default=ROOT / "conf" / "workers", help="[conf/workers]"
    )
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        help="where the Master listens [loopback if all Workers are on localhost, else this "
        "machine's address on the way to the first]",
    )
    parser.add_argument("--port", type=int, default=7077, help="of the Master [7077]")
    parser.add_argument("--web-port", type=int, default=8080, help="of the Master's page [8080]")
    parser.add_argument(
        "--authentication",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let applications prove that they know the secret",
    )
    return parser


def _for_each(items: Sequence[Any], work: Callable[[Any], str]) -> int:
    """Do the work for all hosts or Workers at once; say what came of each."""

    def attempt(item: Any) -> tuple[Any, str, bool]:
        try:
            return item, work(item), True
        except (JobError, OSError) as error:
            return item, one_line(error), False

    code = EXIT_OK
    with ThreadPoolExecutor(max(1, min(32, len(items)))) as pool:
        for item, text, well in pool.map(attempt, items):
            name = f"{item.name}  {item.host}" if isinstance(item, Worker) else item
            if well:
                logger.info("%s  %s", name, text)
            else:
                print(f"cluster: error: {name}: {text}", file=sys.stderr)
                code = EXIT_UNAVAILABLE
    return code


def _master_address(workers: Sequence[Worker]) -> str:
    if all(worker.is_loopback for worker in workers):
        return "127.0.0.1"
    others = [worker for worker in workers if not _is_this_machine(worker.host)]
    return address_towards((others or workers)[0].address)


def _is_this_machine(host: str) -> bool:
    """Whether this machine has the address that the host's name stands for."""
    address = host.rpartition("@")[2]
    with contextlib.suppress(OSError), socket.socket() as probe:
        probe.bind((socket.gethostbyname(address), 0))
        return True
    return False


def _started_workers(folder: Path) -> list[Worker]:
    path = folder / WORKERS_FILE
    return read_workers(path) if path.exists() else []


def _hosts(folder: Path) -> list[str]:
    """Where something may run: also the hosts that have left the workers file since."""
    path = folder / HOSTS_FILE
    earlier = path.read_text(encoding="utf-8").split() if path.exists() else []
    now = [worker.host for worker in _started_workers(folder)]
    return list(dict.fromkeys([*earlier, *now]))


def _on_host(host: str, request: dict[str, Any]) -> Any:
    request["host"] = host
    return _carry_out(request) if _is_this_machine(host) else ask_node(host, request)


def _serve_one_request() -> int:
    """The other end of `ask_node`: a request on standard input, the answer on standard output."""
    request = json.load(sys.stdin)
    answer: dict[str, Any] = {"value": None, "error": None}
    try:
        if request["action"] == "start":
            _take_state(cluster_folder(), request)
        answer["value"] = _carry_out(request)
    except JobError as error:
        answer["error"] = one_line(error)
    print(json.dumps(answer, allow_nan=False))
    return EXIT_OK


def _take_state(folder: Path, request: dict[str, Any]) -> None:
    """Store what an application that is submitted on this node needs to know."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MASTER_FILE).write_text(request["master"] + "\n", encoding="utf-8")
    (folder / WORKERS_FILE).write_text(request["workers"], encoding="utf-8")
    if request["secret"] is None:
        (folder / SECRET_FILE).unlink(missing_ok=True)
    elif request["secret"] != read_secret(folder):
        write_secret(folder, request["secret"])


def _carry_out(request: dict[str, Any]) -> Any:
    node = Node(cluster_folder(), request["host"])
    if request["action"] == "start":
        return node.start_worker(Worker(**request["worker"]), request["master"], request["secret"])
    if request["action"] == "stop":
        return node.stop()
    return node.running()


if __name__ == "__main__":
    sys.exit(main())
