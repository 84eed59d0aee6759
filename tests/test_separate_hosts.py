"""A cluster of hosts that are separate: network namespaces with an sshd each.

Both hosts call themselves by this machine's name, which leads to a loopback address, as on many
real PCs. One of them has an empty folder where the checkout should be, until `sync` fills it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT, free_port, spark_submit
from srgan_samples import write_samples

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
HERE, WITH_CHECKOUT, EMPTY = "10.77.61.1", "10.77.61.2", "10.77.61.3"
BRIDGE = "lab-bridge"
COMMAND_SECONDS = 200
TWO_BY_ONE = ("--executor-cores", "1", "--executor-memory", "900m", "--total-executor-cores", "2")
# tmpfs for a copy of the checkout and its environment.
EMPTY_FOLDER_SIZE = "6g"


@dataclass(frozen=True)
class Lab:
    """Two hosts, and what the scripts need to reach them."""

    workers: Path
    environment: dict[str, str]
    port: int

    def cluster(self, action: str) -> subprocess.CompletedProcess[str]:
        """Call scripts/cluster.sh."""
        return subprocess.run(
            [
                *("bash", ROOT / "scripts" / "cluster.sh", action, "--workers", self.workers),
                *("--port", str(self.port), "--web-port", "0"),
            ],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The hosts, running nothing but sshd."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if not sshd or not shutil.which("ip") or not (ROOT / ".venv" / "setup.stamp").exists():
        pytest.skip("needs sshd, ip and an environment by scripts/setup.sh")
    folder = tmp_path_factory.mktemp("lab")
    with contextlib.ExitStack() as stack:
        try:
            _run("ip", "link", "add", BRIDGE, "type", "bridge")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"needs the right to make network namespaces: {error.stderr.decode()}")
        stack.callback(_run, "ip", "link", "del", BRIDGE)
        _run("ip", "addr", "add", f"{HERE}/24", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")
        config = _write_ssh_files(folder)
        for number, address in enumerate((WITH_CHECKOUT, EMPTY)):
            name = f"lab{number}"
            _add_host(stack, name, address)
            prepare = "mount --make-rprivate /"
            if address == EMPTY:
                prepare += f"; mount -t tmpfs -o size={EMPTY_FOLDER_SIZE} tmpfs '{ROOT}'"
            start = f"{prepare}; exec {sshd} -f '{folder / 'sshd_config'}' -E '{folder / name}'"
            Path("/run/sshd").mkdir(exist_ok=True)
            _run("ip", "netns", "exec", name, "unshare", "-m", "bash", "-c", start)
        workers = folder / "workers"
        workers.write_text(f"{WITH_CHECKOUT} 1 1g\n{EMPTY} 1 1g\n")
        state = {"SPARK_CLUSTER_FOLDER": str(ROOT / "runs" / f"test-cluster-{os.getpid()}")}
        stack.callback(shutil.rmtree, state["SPARK_CLUSTER_FOLDER"], ignore_errors=True)
        yield Lab(workers, {"SPARK_SSH_OPTS": f"-F {config}", **state}, free_port())


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _add_host(stack: contextlib.ExitStack, name: str, address: str) -> None:
    _run("ip", "netns", "add", name)
    stack.callback(_run, "ip", "netns", "del", name)
    stack.callback(_end_processes, name)
    _run("ip", "link", "add", f"v{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
    _run("ip", "link", "set", f"v{name}", "master", BRIDGE, "up")
    _run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
    for device in ("eth0", "lo"):
        _run("ip", "-n", name, "link", "set", device, "up")


def _end_processes(name: str) -> None:
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, check=True)
    for pid in listed.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), 9)


def _write_ssh_files(folder: Path) -> Path:
    for name in ("user", "host"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    (folder / "sshd_config").write_text(
        f"HostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'user.pub'}\n"
        "StrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n"
    )
    config = folder / "ssh_config"
    config.write_text(
        f"IdentityFile {folder / 'user'}\nUserKnownHostsFile {folder / 'known'}\n"
        "StrictHostKeyChecking accept-new\nLogLevel ERROR\n"
    )
    return config


def test_a_cluster_of_separate_hosts(lab: Lab, small_mnist: Path, tmp_path: Path) -> None:
    first = lab.cluster("start")
    try:
        assert first.returncode == 69
        assert f"{EMPTY}: no environment at {ROOT}" in first.stderr
        assert "cluster.sh sync" in first.stderr
        assert f"{WITH_CHECKOUT}  started" in first.stdout
        # The host that shares this checkout need not, and must not, be sent it.
        lab.workers.write_text(f"{EMPTY} 1 1g\n")
        assert lab.cluster("sync").stdout == f"{EMPTY}  checkout and environment sent\n"
        lab.workers.write_text(f"{WITH_CHECKOUT} 1 1g\n{EMPTY} 1 1g\n")
        second = lab.cluster("start")
        assert second.returncode == 0, second.stdout + second.stderr
        assert lab.cluster("status").returncode == 0

        master = f"spark://{HERE}:{lab.port}"
        place = {"profile": "lab-2pc", "spark": ("--master", master, *TWO_BY_ONE)}
        done = spark_submit(
            "train_lenet",
            *("--data", small_mnist, "--batch-size", 500, "--epochs", 1),
            run_dir=tmp_path / "lenet",
            environment=lab.environment,
            **place,
        )
        assert done.code == 0, done.out + done.err
        assert done.result["cluster"]["executors"] == 2

        # /tmp is the same on both hosts: only the checkout is not.
        write_samples(tmp_path / "train", 4)
        done = spark_submit(
            "train_srgan",
            *("--data", tmp_path / "train", "--phase", "srresnet", "--srresnet-steps", 2),
            *("--residual-blocks", 1, "--channels", 8, "--crop-size", 32, "--batch-size", 4),
            *("--log-every", 1, "--max-restarts", 0),
            run_dir=tmp_path / "srgan",
            environment=lab.environment,
            **place,
        )
        assert done.code == 0, done.out + done.err
        assert done.result["metrics"]["world_size"] == 2
    finally:
        stopped = lab.cluster("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert "master stopped" in stopped.stdout
    assert lab.cluster("status").returncode == 69
