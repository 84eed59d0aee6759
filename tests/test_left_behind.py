"""What jobs on a loopback cluster show to others, and what they leave behind."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import StandaloneCluster, cluster_of, spark_submit, write_digits
from faults import RunningJob, children_of, on, processes_with, running_job, wait_until
from srgan_samples import write_samples

from lenet.idx import FILES, Digits, read_digits

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

TRAININGS = 20
# A JVM's heap grows until its first full collection; what is left then must not.
SETTLED = 8


def everything_of(cluster: StandaloneCluster, job: RunningJob) -> list[psutil.Process]:
    """Daemons, executors, driver and all that they have started."""
    roots = [*daemons(cluster), psutil.Process(job.pid)]
    return [*roots, *children_of(roots)]


def daemons(cluster: StandaloneCluster) -> list[psutil.Process]:
    port = cluster.master.rpartition(":")[2]
    return [
        *processes_with("deploy.master.Master", port),
        *processes_with("deploy.worker.Worker", f":{port}"),
    ]


def listeners(processes: list[psutil.Process]) -> dict[str, str]:
    """Command lines by the addresses that others than this machine can reach."""
    found = {}
    for process in processes:
        try:
            for connection in process.net_connections(kind="inet"):
                address = ipaddress.ip_address(connection.laddr.ip)
                mapped = getattr(address, "ipv4_mapped", None) or address
                if connection.status == psutil.CONN_LISTEN and not mapped.is_loopback:
                    line = " ".join(process.cmdline())
                    found[f"{connection.laddr.ip}:{connection.laddr.port}"] = line
        except psutil.Error:
            continue
    return found


def observed(
    job: RunningJob, cluster: StandaloneCluster, busy: Callable[[], object]
) -> tuple[dict[str, str], str]:
    """What listens, and all command lines, while the job works."""
    job.wait_for(busy)
    processes = everything_of(cluster, job)
    lines = []
    for process in psutil.process_iter():
        try:
            lines.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    assert len(processes) > 6
    return listeners(processes), "\n".join(lines)


def assert_secret(cluster: StandaloneCluster, command_lines: str, folder: Path) -> None:
    """Nothing that a job writes or shows holds the cluster's secret."""
    secret = (Path(cluster.environment["SPARK_CLUSTER_FOLDER"]) / "secret").read_text().strip()
    assert len(secret) >= 32
    assert secret not in command_lines
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "result.json" for path in files)
    for path in files:
        assert secret.encode() not in path.read_bytes(), path


def with_event_log(cluster: StandaloneCluster, folder: Path) -> dict:
    folder.mkdir()
    arguments = on(cluster)
    log = ("spark.eventLog.enabled=true", f"spark.eventLog.dir={folder.as_uri()}")
    words = [word for setting in log for word in ("--conf", setting)]
    return {**arguments, "spark": (*arguments["spark"], *words)}


def test_lenet_shows_nothing(cluster: StandaloneCluster, small_mnist: Path, tmp_path: Path) -> None:
    options = ("--data", small_mnist, "--epochs", 2, "--batch-size", 64)
    arguments = with_event_log(cluster, tmp_path / "events")
    with running_job("train_lenet", *options, run_dir=tmp_path / "run", **arguments) as job:
        found, command_lines = observed(job, cluster, lambda: "epoch 1/2" in job.out)
        assert job.end(120).code == 0, job.out
    assert not found
    assert list((tmp_path / "events").iterdir())
    assert_secret(cluster, command_lines, tmp_path)


def test_srgan_shows_nothing(cluster: StandaloneCluster, tmp_path: Path) -> None:
    data = write_samples(tmp_path / "data", 2, side=64)
    options = (
        *("--data", data, "--phase", "srresnet", "--srresnet-steps", 60, "--log-every", 10),
        *("--residual-blocks", 1, "--channels", 8, "--crop-size", 32, "--batch-size", 4),
        *("--checkpoint-every", 10),
    )
    arguments = with_event_log(cluster, tmp_path / "events")
    run_dir = tmp_path / "run"
    with running_job("train_srgan", *options, run_dir=run_dir, **arguments) as job:
        checkpoints = run_dir / "checkpoints"
        found, command_lines = observed(job, cluster, lambda: list(checkpoints.glob("*.pt")))
        assert job.end(120).code == 0, job.out
    assert not found
    assert_secret(cluster, command_lines, tmp_path)


def test_twenty_trainings_in_a_row(mnist: str, tmp_path: Path) -> None:
    temporary, data = tmp_path / "temporary", tmp_path / "mnist"
    temporary.mkdir()
    data.mkdir()
    for part in FILES:
        digits = read_digits(mnist, part)
        write_digits(data, part, Digits(digits.images[:128], digits.labels[:128]))
    options = ("--data", data, "--max-iterations", 2, "--batch-size", 64)
    memory, files = [], []
    with cluster_of(2, tmp_path / "cluster") as cluster:
        arguments = on(cluster)
        java = f"-Djava.io.tmpdir={temporary}"
        arguments["spark"] += ("--total-executor-cores", "1", "--driver-java-options", java)
        arguments["environment"] = {**arguments["environment"], "TMPDIR": str(temporary)}
        running = daemons(cluster)
        assert len(running) == 3
        # The script that became the daemon leaves it an ended child.
        launched = set(children_of(running))
        for number in range(TRAININGS):
            done = spark_submit(
                "train_lenet", *options, run_dir=tmp_path / f"run-{number}", **arguments
            )
            assert done.code == 0, done.out + done.err
            wait_until(
                lambda: set(children_of(running)) <= launched, 60, "a Worker keeps an executor"
            )
            memory.append(sum(daemon.memory_info().rss for daemon in running))
            files.append(sum(daemon.num_fds() for daemon in running))
        assert not os.listdir(temporary), os.listdir(temporary)
    assert max(files[SETTLED:]) <= 1.1 * max(files[:SETTLED]), files
    assert max(memory[SETTLED:]) <= 1.25 * max(memory[:SETTLED]), memory
