"""scripts/cluster.sh on loopback: three addresses of this machine stand for three hosts."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, free_port, spark_submit
from faults import processes_below

from jobs.runtime.cluster import node
from jobs.runtime.cluster.workers_file import Worker
from jobs.runtime.errors import UnavailableError

pytestmark = pytest.mark.cluster
WORKERS = "127.0.0.2 1 1g   # one host\n\n127.0.0.3 1 1g\n"
SMALL = ("--executor-cores", "1", "--executor-memory", "900m", "--total-executor-cores")
COMMAND_SECONDS = 120
# Another application, which keeps one executor until its standard input ends.
HOLDER = """
import sys
from pyspark import SparkConf, SparkContext
from jobs.runtime.cluster.master import connection_properties
conf = SparkConf().setMaster(sys.argv[1]).setAppName("holder").set("spark.ui.enabled", "false")
conf.set("spark.cores.max", "1").set("spark.executor.memory", "900m")
conf.setAll(connection_properties(sys.argv[1]).items())
context = SparkContext(conf=conf)
sys.stdin.read()
context.stop()
"""


@dataclass(frozen=True)
class ClusterScript:
    """scripts/cluster.sh with a folder of its own."""

    folder: Path
    workers: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """What lets the scripts and the jobs find the folder."""
        return {"SPARK_CLUSTER_FOLDER": str(self.folder)}

    @property
    def master(self) -> str:
        """The Master's URL."""
        return f"spark://127.0.0.1:{self.port}"

    def run(self, action: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Call the script."""
        return subprocess.run(
            ["bash", ROOT / "scripts" / "cluster.sh", action, *options],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def start(self) -> subprocess.CompletedProcess[str]:
        """Start with the workers file."""
        ports = ("--port", str(self.port), "--web-port", "0")
        return self.run("start", "--workers", str(self.workers), *ports)

    def processes(self) -> dict[str, psutil.Process]:
        """What runs, by name."""
        files = self.folder.glob("nodes/*/*.json")
        pids = {path.stem: json.loads(path.read_text())["pid"] for path in files}
        return {name: psutil.Process(pid) for name, pid in pids.items() if psutil.pid_exists(pid)}


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterScript]:
    """A started cluster of two Workers, stopped at the end."""
    if not (ROOT / ".venv" / "bin" / "activate").exists():
        pytest.skip("this checkout was not set up by scripts/setup.sh")
    folder = tmp_path_factory.mktemp('a cluster\'s "script"')
    workers = folder / "my workers"
    workers.write_text(WORKERS)
    script = ClusterScript(folder / "state", workers, free_port())
    done = script.start()
    assert done.returncode == 0, done.stdout + done.stderr
    yield script
    stopped = script.run("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert not script.processes()


def test_what_was_started(script: ClusterScript) -> None:
    processes = script.processes()
    assert processes.keys() == {"master", "worker-1", "worker-2"}
    status = script.run("status")
    assert status.returncode == 0, status.stdout + status.stderr
    assert status.stdout.count("runs, process") == 2
    again = script.start()
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("runs already") == 2
    assert script.processes() == processes


def test_the_secret_stays_secret(script: ClusterScript) -> None:
    path = script.folder / "secret"
    secret = path.read_text().strip()
    assert len(secret) == 64
    for private in (path, *script.folder.glob("nodes/*/*.conf")):
        assert stat.S_IMODE(private.stat().st_mode) == 0o600, private
    for process in psutil.process_iter():
        try:
            assert secret not in " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    for log in [*script.folder.glob("nodes/*/*.log"), *script.folder.glob("nodes/*/*.out")]:
        assert secret not in log.read_text()


def test_nothing_listens_to_the_network(script: ClusterScript) -> None:
    addresses = {
        connection.laddr.ip
        for process in script.processes().values()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses
    assert all(address.removeprefix("::ffff:").startswith("127.0.0.") for address in addresses)


def test_a_job_finds_the_secret(script: ClusterScript, small_mnist: Path, tmp_path: Path) -> None:
    command = [
        *("bash", str(ROOT / "scripts" / "submit.sh"), "train_lenet", "--profile", "lab-2pc"),
        *(*SMALL, "2", "--", "--data", str(small_mnist), "--epochs", "1", "--batch-size", "500"),
        *("--run-dir", str(tmp_path / "run")),
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, **script.environment},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["cluster"]["master"] == script.master
    assert result["cluster"]["executors"] == 2
    secret = (script.folder / "secret").read_text().strip()
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def ask_master(script: ClusterScript, secret: str | None) -> str:
    """What the Master answers to Spark's own client, which asks for a driver that is not there."""
    properties = {"spark.authenticate": "true", "spark.authenticate.secret": secret}
    options = [f"-D{key}={value}" for key, value in properties.items() if secret is not None]
    done = subprocess.run(
        [
            *("spark-class", "org.apache.spark.deploy.Client", "kill"),
            *(script.master, "driver-20260101000000-0000"),
        ],
        env={**os.environ, "JAVA_TOOL_OPTIONS": " ".join(options), "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return done.stdout + done.stderr


def test_whoever_does_not_know_the_secret_is_refused(script: ClusterScript) -> None:
    assert "Exception" not in ask_master(script, (script.folder / "secret").read_text().strip())
    assert "Expected SaslMessage" in ask_master(script, None)
    assert "SaslException" in ask_master(script, "0" * 64)


def runs_an_executor(script: ClusterScript) -> bool:
    """Whether a Worker has started an executor for somebody."""
    daemons = list(script.processes().values())
    return bool(processes_below(daemons, "CoarseGrainedExecutorBackend"))


def test_a_busy_cluster_is_not_waited_for_without_end(
    script: ClusterScript, small_mnist: Path, tmp_path: Path
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, script.master],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **script.environment},
    )
    try:
        deadline = time.monotonic() + COMMAND_SECONDS
        while not runs_an_executor(script):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        done = spark_submit(
            "train_lenet",
            *("--data", small_mnist, "--batch-size", 64, "--executor-wait", 10),
            run_dir=tmp_path / "run",
            profile="lab-2pc",
            spark=("--master", script.master, *SMALL, "2"),
            environment=script.environment,
        )
    finally:
        holder.communicate()
    assert done.code == 69, done.out + done.err
    assert "gave 1 of the 2 executors" in done.error
    assert "nothing on 127.0.0." in done.error
    assert "end other applications" in done.error


def test_a_killed_worker_is_named_and_started_again(script: ClusterScript) -> None:
    before = script.processes()
    os.kill(before["worker-2"].pid, signal.SIGKILL)
    before["worker-2"].wait(10)
    status = script.run("status")
    assert status.returncode == 69
    assert "worker-2  127.0.0.3: does not run" in status.stderr
    assert "worker-1  127.0.0.2  runs" in status.stdout
    assert script.start().returncode == 0
    after = script.processes()
    assert after["worker-1"] == before["worker-1"]
    assert after["worker-2"] != before["worker-2"]


def test_stop_ends_only_what_start_has_started(script: ClusterScript) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stranger:
        # As after a reboot: the process id of the Worker now belongs to something else.
        (pid_file,) = script.folder.glob("nodes/127.0.0.3/worker-2.json")
        worker = script.processes()["worker-2"]
        identity = json.loads(pid_file.read_text())
        pid_file.write_text(json.dumps({**identity, "pid": stranger.pid}))
        done = script.run("stop")
        assert done.returncode == 0, done.stderr
        assert "127.0.0.3  nothing runs" in done.stdout
        assert stranger.poll() is None
        stranger.kill()
    assert worker.is_running()
    worker.kill()
    worker.wait(10)
    assert script.run("stop").returncode == 0
    assert script.run("status").returncode == 69


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pc1 two 2g", "'two' cores"),
        ("pc1 2 lots", "memory 'lots'"),
        ("pc1 2", "expected HOST CORES MEMORY"),
        ("-oProxyCommand=sh 2 2g", "no host name"),
        ("127.0.0.1 1 1g\npc1 2 2g", "127.0.0.1 cannot be reached from pc1"),
        ("# nothing", "lists no hosts"),
    ],
)
def test_a_workers_file_that_is_wrong(tmp_path: Path, line: str, message: str) -> None:
    workers = tmp_path / "workers"
    workers.write_text(line + "\n")
    done = ClusterScript(tmp_path / "state", workers, free_port()).start()
    assert done.returncode == 2
    assert message in done.stderr
    assert str(workers) in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_host_that_does_not_answer_is_named(tmp_path: Path) -> None:
    workers = tmp_path / "workers"
    workers.write_text("no-such-host.invalid 2 2g\n")
    script = ClusterScript(tmp_path / "state", workers, free_port())
    ports = ("--port", str(script.port), "--web-port", "0", "--bind", "127.0.0.1")
    done = script.run("start", "--workers", str(workers), *ports)
    try:
        assert done.returncode == 69, done.stdout + done.stderr
        assert "no-such-host.invalid" in done.stderr
        assert "Traceback" not in done.stderr
        assert script.processes().keys() == {"master"}
    finally:
        script.run("stop")
    assert not script.processes()


def test_hosts_that_left_the_workers_file_are_stopped_too(tmp_path: Path) -> None:
    workers = tmp_path / "workers"
    workers.write_text("127.0.0.2 1 1g\n")
    script = ClusterScript(tmp_path / "state", workers, free_port())
    try:
        assert script.start().returncode == 0
        (earlier,) = (one for name, one in script.processes().items() if name != "master")
        workers.write_text("127.0.0.3 1 1g\n")
        assert script.start().returncode == 0
        assert earlier.is_running()
    finally:
        assert script.run("stop").returncode == 0
    assert not earlier.is_running()
    assert not script.processes()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    import socket

    workers = tmp_path / "workers"
    workers.write_text("localhost 1 1g\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = ClusterScript(tmp_path / "state", workers, port).start()
    assert done.returncode == 69
    assert f"127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr


def test_a_worker_that_takes_too_long_is_said_to_be_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what it says when it is told to end."""
    monkeypatch.setattr(node, "START_SECONDS", 8.0)
    worker = Worker("worker-1", "127.0.0.1", 1, "1g")
    with pytest.raises(UnavailableError, match="did not start within 8 s: ") as raised:
        node.Node(tmp_path, "localhost").start_worker(
            worker, f"spark://127.0.0.1:{free_port()}", None
        )
    assert "SIGNAL" not in str(raised.value)
