"""Fixtures: real MNIST, a small part of it, spark-submit, and a real standalone cluster."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs.runtime.cluster.loopback import loopback_cluster
from lenet.idx import FILES, Digits, read_digits, write_images, write_labels

ROOT = Path(__file__).resolve().parents[1]
SUBMIT_SECONDS = 300


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


def submit_command(
    job: str, *options: object, profile: str = "local", spark: tuple[str, ...] = ()
) -> list[str]:
    """The command line of a job as its user types it."""
    return [
        "spark-submit",
        *("--properties-file", str(ROOT / "conf" / f"{profile}.conf")),
        *spark,
        str(ROOT / "jobs" / f"{job}.py"),
        *(str(option) for option in options),
    ]


def spark_submit(
    job: str,
    *options: object,
    run_dir: Path,
    profile: str = "local",
    spark: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
    run_url: str | None = None,
) -> Submission:
    """Run a job as its user does: by plain spark-submit, from some other working directory.

    With `run_url` the run folder is a remote one, and `run_dir` only says where to work.
    """
    options = (*options, "--run-dir", run_url or run_dir)
    done = subprocess.run(
        submit_command(job, *options, profile=profile, spark=spark),
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


def without_privileges() -> list[str]:
    """What to put before a command that is to meet the rights of files as ordinary users do."""
    if os.getuid() != 0:
        return []
    # Where it is, since some tests leave nothing on the PATH.
    return [shutil.which("setpriv") or "setpriv", "--bounding-set=-all", "--inh-caps=-all"]


@dataclass(frozen=True)
class StandaloneCluster:
    """A running Master and its Workers.

    Attributes:
        master: its URL.
        environment: how jobs find its secret.
    """

    master: str
    environment: dict[str, str]


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def cluster_of(
    workers: int, folder: Path, *, cores: int = 1, memory: str = "1g", gpus: int = 0
) -> Iterator[StandaloneCluster]:
    """A real Master with equal Workers on loopback, as scripts/cluster.sh starts them."""
    with loopback_cluster(folder, workers, cores, memory, gpus) as master:
        yield StandaloneCluster(master, {"SPARK_CLUSTER_FOLDER": str(folder)})


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneCluster]:
    """Two Workers of one core and 1 GB each."""
    with cluster_of(2, tmp_path_factory.mktemp("a cluster's földer")) as running:
        yield running


@contextmanager
def an_hdfs(folder: Path) -> Iterator[Any]:
    """A real HDFS, a NameNode and a DataNode, which keeps its files in a folder."""
    from hdfs import NoHadoopError, running_hdfs

    try:
        with running_hdfs(folder) as running:
            yield running
    except NoHadoopError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def hdfs_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The HDFS that tests share."""
    with an_hdfs(tmp_path_factory.mktemp("hdfs")) as running:
        yield running


@pytest.fixture(scope="session")
def hdfs(hdfs_nodes: Any) -> str:
    """The URL of a real HDFS."""
    return hdfs_nodes.url


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As ranks have: two threads add in another order, which the kink of LeakyReLU amplifies."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
