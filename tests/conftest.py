"""Fixtures: real MNIST, a small part of it, spark-submit, and a real standalone cluster."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lenet.idx import FILES, Digits, read_digits, write_images, write_labels

ROOT = Path(__file__).resolve().parents[1]
SUBMIT_SECONDS = 300
CLUSTER_SECONDS = 60


@dataclass(frozen=True)
class Submission:
    """What a job under spark-submit left behind."""

    code: int
    out: str
    err: str
    run_dir: Path

    @property
    def result(self) -> dict[str, Any]:
        """result.json."""
        return json.loads((self.run_dir / "result.json").read_text(encoding="utf-8"))

    @property
    def error(self) -> str:
        """The last line on stderr."""
        lines = self.err.strip().splitlines()
        return lines[-1] if lines else ""


def spark_submit(
    job: str,
    *options: object,
    run_dir: Path,
    profile: str = "local",
    spark: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
) -> Submission:
    """Run a job as its user does: by plain spark-submit, from some other working directory."""
    command = [
        "spark-submit",
        *("--properties-file", str(ROOT / "conf" / f"{profile}.conf")),
        *spark,
        str(ROOT / "jobs" / f"{job}.py"),
        *(str(option) for option in options),
        *("--run-dir", str(run_dir)),
    ]
    done = subprocess.run(
        command,
        cwd=run_dir.parent,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=SUBMIT_SECONDS,
        check=False,
    )
    return Submission(done.returncode, done.stdout, done.stderr, run_dir)


@pytest.fixture(scope="session")
def mnist() -> str:
    """The folder with the real MNIST, fetched if need be."""
    folder = ROOT / "data" / "mnist"
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "fetch_data.py", "mnist"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 69:
        pytest.skip(f"MNIST cannot be fetched here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return str(folder)


@pytest.fixture(scope="session")
def small_mnist(mnist: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 2000 training and 500 test records of the real MNIST, as a folder."""
    folder = tmp_path_factory.mktemp("small-mnist")
    for part, count in (("train", 2000), ("test", 500)):
        digits = read_digits(mnist, part)
        write_digits(folder, part, Digits(digits.images[:count], digits.labels[:count]))
    return folder


def write_digits(folder: Path, part: str, digits: Digits) -> None:
    """Write one part of a data set as the two files that jobs look for."""
    images, labels = FILES[part]
    write_images(str(folder / images), digits.images)
    write_labels(str(folder / labels), digits.labels)


@dataclass(frozen=True)
class StandaloneCluster:
    """A running Master and its Workers.

    Attributes:
        master: its URL.
        workers: the Workers' processes.
    """

    master: str
    workers: list[subprocess.Popen[bytes]]


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def cluster_of(
    workers: int,
    folder: Path,
    *,
    cores: int = 1,
    memory: str = "1g",
    properties: dict[str, str] | None = None,
    gpus: str = "",
) -> Iterator[StandaloneCluster]:
    """A real Master with that many Workers on loopback, killed at the end.

    Args:
        workers: number of Workers.
        folder: receives logs and work folders.
        cores: of each Worker.
        memory: of each Worker.
        properties: Spark properties of the Workers.
        gpus: addresses that scripts/discover_gpus.sh is to invent.
    """
    port = free_port()
    master = f"spark://127.0.0.1:{port}"
    processes: list[subprocess.Popen[bytes]] = []
    options = " ".join(f"-D{key}={value}" for key, value in (properties or {}).items())
    environment = {
        **os.environ,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_WORKER_OPTS": options,
        "GPU_ADDRESSES": gpus,
    }

    def start(name: str, *command: str) -> subprocess.Popen[bytes]:
        with open(folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                ["spark-class", f"org.apache.spark.deploy.{command[0]}", *command[1:]],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        processes.append(process)
        return process

    try:
        web_port = ("--webui-port", str(free_port()))
        start("master", "master.Master", "--host", "127.0.0.1", "--port", str(port), *web_port)
        deadline = time.monotonic() + CLUSTER_SECONDS
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < deadline, (folder / "master.log").read_text()
            time.sleep(0.1)
        started = [
            start(
                f"worker{number}",
                *("worker.Worker", "--host", "127.0.0.1"),
                *("--cores", str(cores), "--memory", memory, "--webui-port", str(free_port())),
                *("-d", str(folder / f"work{number}"), master),
            )
            for number in range(workers)
        ]
        yield StandaloneCluster(master, started)
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneCluster]:
    """Two Workers of one core and 1 GB each."""
    with cluster_of(2, tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As ranks have: two threads add in another order, which the kink of LeakyReLU amplifies."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
