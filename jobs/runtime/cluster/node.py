"""The daemons of one node: a Master, Workers. Runs on that node, called there by cluster.py.

Everything about them lies below runs/cluster/nodes/HOST, so that hosts which share a file system
do not take each other's processes for their own:

    worker-1.conf           Spark properties (mode 600: the secret is among them)
    worker-1.json           process id, and when that process started
    worker-1.log            what it said; worker-1.out what its JVM printed
    work/worker-1           the work folders of applications
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from jobs.runtime.cluster.workers_file import Worker
from jobs.runtime.errors import UnavailableError
from jobs.runtime.files import PRIVATE, ROOT, write_atomically
from jobs.runtime.security import security_properties
from jobs.runtime.text import option_word

LOG4J_FILE = ROOT / "conf" / "log4j2-daemons.properties"
DISCOVERY_SCRIPT = ROOT / "scripts" / "discover_gpus.sh"
START_SECONDS = 60.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.1
APPLICATION_FOLDER_SECONDS = 24 * 3600
"""How long the work folder of an application that has ended is kept; Spark's own is a week."""
MASTER = "master"


class Node:
    """This machine, under the name that the cluster knows it by."""

    def __init__(self, cluster_folder: Path, host: str) -> None:
        self._host = host
        self._folder = cluster_folder.absolute() / "nodes" / re.sub(r"[^\w.-]", "_", host)

    def running(self) -> dict[str, int]:
        """Process ids by the names of the daemons that run."""
        processes = {path.stem: _process(path) for path in sorted(self._folder.glob("*.json"))}
        return {name: process.pid for name, process in processes.items() if process is not None}

    def start_master(self, address: str, port: int, web_port: int, secret: str | None) -> str:
        """Start the Master, unless it runs, and return its URL.

        Raises:
            UnavailableError: it did not start, or its port is taken.
        """
        url = f"spark://{address}:{port}"
        started = self._folder / f"{MASTER}.url"
        if MASTER in self.running():
            running = started.read_text(encoding="utf-8")
            if running != url:
                raise UnavailableError(
                    f"a Master runs already at {running}, not at {url}; stop the cluster first"
                )
            return url
        _refuse_taken_port(address, port)
        self._start(
            MASTER,
            "org.apache.spark.deploy.master.Master",
            ["--port", str(port), "--webui-port", str(web_port)],
            address=address,
            secret=secret,
            ready=f"Starting Spark master at {url}",
        )
        started.write_text(url, encoding="utf-8")
        return url

    def start_worker(self, worker: Worker, master: str, secret: str | None) -> bool:
        """Start a Worker and wait until the Master has it; False where it runs already.

        Raises:
            UnavailableError: it did not start, or the Master did not take it.
        """
        if worker.name in self.running():
            return False
        address = _own_address(worker.address, master)
        properties = {
            "spark.worker.cleanup.enabled": "true",
            "spark.worker.cleanup.appDataTtl": str(APPLICATION_FOLDER_SECONDS),
        }
        environment: dict[str, str] = {}
        if worker.gpus:
            environment = {"GPU_FIRST": str(worker.first_gpu)}
            _check_gpus(worker, environment)
            properties["spark.worker.resource.gpu.amount"] = str(worker.gpus)
            properties["spark.worker.resource.gpu.discoveryScript"] = str(DISCOVERY_SCRIPT)
        work = self._folder / "work" / worker.name
        resources = ("--cores", str(worker.cores), "--memory", worker.memory)
        self._start(
            worker.name,
            "org.apache.spark.deploy.worker.Worker",
            [*resources, "--webui-port", "0", "-d", str(work), master],
            address=address,
            secret=secret,
            properties=properties,
            environment=environment,
            ready="Successfully registered with master",
        )
        return True

    def stop(self) -> list[str]:
        """End what was started here, Workers first, and return the names.

        Raises:
            UnavailableError: another user has started it.
        """
        names = sorted(self.running(), key=lambda name: name == MASTER)
        for name in names:
            process = _process(self._folder / f"{name}.json")
            if process is None:
                continue
            try:
                _end(process)
            except psutil.AccessDenied as error:
                user = process.username()
                raise UnavailableError(
                    f"{name} was started by {user}; stop it as {user}"
                ) from error
        for path in self._folder.glob("*.json"):
            path.unlink()
        return names

    def _start(
        self,
        name: str,
        daemon: str,
        words: Sequence[str],
        *,
        address: str,
        secret: str | None,
        properties: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        ready: str,
    ) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        daemon_conf = self._folder / f"{name}.conf"
        properties = {
            **security_properties(secret, address),
            "spark.ui.killEnabled": "false",
            **(properties or {}),
        }
        lines = "".join(f"{key} {value}\n" for key, value in properties.items())
        write_atomically(daemon_conf, lines, PRIVATE)
        log, output = self._folder / f"{name}.log", self._folder / f"{name}.out"
        log.unlink(missing_ok=True)
        environment = {
            **os.environ,
            **(environment or {}),
            "SPARK_LOCAL_IP": address,
            "SPARK_DAEMON_MEMORY": "512m",
            "SPARK_DAEMON_JAVA_OPTS": f"-Dlog4j2.configurationFile={LOG4J_FILE.as_uri()} "
            f"-Djobs.log={option_word(str(log))}",
        }
        if "TMPDIR" in os.environ:
            # Executors inherit this, and nothing else that names their temporary folder.
            given = os.environ.get("JAVA_TOOL_OPTIONS", "")
            environment["JAVA_TOOL_OPTIONS"] = (
                f'{given} "-Djava.io.tmpdir={os.environ["TMPDIR"]}"'.lstrip()
            )
        command = ["spark-class", daemon, "--host", address, *words]
        with open(output, "wb") as stream:
            process = subprocess.Popen(
                [*command, "--properties-file", str(daemon_conf)],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        identity = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
        (self._folder / f"{name}.json").write_text(
            json.dumps(identity, allow_nan=False), encoding="utf-8"
        )
        said = _wait_for(lambda: _contains(log, ready) or process.poll() is not None, START_SECONDS)
        if not said or process.poll() is not None:
            # Before it is told to end, of which it speaks as well.
            words = _last_words(log, output)
            late = "" if said else f" within {START_SECONDS:.0f} s"
            with contextlib.suppress(psutil.NoSuchProcess):
                _end(psutil.Process(process.pid))
            (self._folder / f"{name}.json").unlink()
            raise UnavailableError(
                f"{name} on {self._host} did not start{late}: {words}; see {log} there"
            )


def _check_gpus(worker: Worker, environment: Mapping[str, str]) -> None:
    """See that the promised GPUs are there; Spark's own message hides the reason."""
    done = subprocess.run(
        [DISCOVERY_SCRIPT], env={**os.environ, **environment}, capture_output=True, text=True
    )
    found = len(json.loads(done.stdout)["addresses"]) if done.returncode == 0 else 0
    if found < worker.gpus:
        reason = (done.stderr.strip().splitlines() or ["these are all"])[-1]
        raise UnavailableError(
            f"{worker.name}: {worker.gpus} GPUs promised, {found} found ({reason}); correct "
            "conf/workers, or look at what nvidia-smi says there"
        )


def _process(pid_file: Path) -> psutil.Process | None:
    """The process that a pid file means; None when it has ended, even if its id lives on."""
    try:
        identity: Any = json.loads(pid_file.read_text(encoding="utf-8"))
        process = psutil.Process(identity["pid"])
        same = abs(process.create_time() - identity["started"]) < 0.1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None


def _end(process: psutil.Process) -> None:
    """End a daemon and the executors it has started."""
    family = [process, *process.children(recursive=True)]
    process.terminate()
    _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
    for survivor in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            survivor.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)


def _own_address(host: str, master: str) -> str:
    """The address by which the other nodes reach this one.

    A name will not do: many machines know their own name as 127.0.1.1.
    """
    if host == "localhost":
        return "127.0.0.1"
    with contextlib.suppress(OSError):
        socket.inet_aton(host)
        return host
    return address_towards(master.removeprefix("spark://").rpartition(":")[0])


def address_towards(host: str) -> str:
    """This machine's address on the way to another; nothing is sent.

    Raises:
        UnavailableError: the name is unknown, or no network leads there.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError as error:
            raise UnavailableError(f"{host}: {error.strerror or error}") from error
        return str(probe.getsockname()[0])


def _refuse_taken_port(address: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise UnavailableError(
                f"the Master cannot listen on {address}:{port} ({error.strerror}); "
                "give another --port, or another --bind"
            ) from error


def _wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _contains(path: Path, text: str) -> bool:
    return path.exists() and text in path.read_text(encoding="utf-8", errors="replace")


def _last_words(*logs: Path) -> str:
    """The last warning or error in the logs."""
    lines = [
        line
        for log in logs
        if log.exists()
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
    ]
    grave = [line for line in lines if re.search(r"\b(WARN|ERROR|Exception|Error)\b", line)]
    return (grave or lines or ["it said nothing"])[-1].strip()
