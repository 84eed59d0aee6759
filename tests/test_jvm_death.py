"""The driver's JVM: its temporary folder will not do, it dies, or passes a signal on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, spark_submit, without_privileges
from faults import processes_with, running_job, wait_until


@pytest.fixture
def no_code(tmp_path: Path) -> Iterator[Path]:
    """A file system that nothing may be run from."""
    folder = tmp_path / "no code"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "noexec,size=200m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no such file system here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(("kind", "reason"), [("small_disk", "room for"), ("no_code", "noexec")])
def test_a_temporary_folder_that_will_not_do(
    kind: str, reason: str, small_mnist: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = str(request.getfixturevalue(kind))
    done = spark_submit(
        *("train_lenet", "--data", small_mnist),
        run_dir=tmp_path / "run",
        environment={"TMPDIR": folder},
    )
    assert (done.code, len(done.err.strip().splitlines())) == (69, 1), done.err
    assert folder in done.error
    assert reason in done.error
    assert "the variable TMPDIR" in done.error


def test_the_jvm_uses_the_folder_that_tmpdir_names(tmp_path: Path) -> None:
    folder = tmp_path / "of mine"
    folder.mkdir()
    program = (
        "from jobs.runtime.jvm import driver_jvm; "
        "print(driver_jvm().java.io.File.createTempFile('abc', 'd').getParent())"
    )
    done = subprocess.run(
        ["bash", "-c", 'source .venv/bin/activate && exec python -c "$0"', program],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(folder), done.stderr


def test_a_killed_jvm(small_mnist: Path, tmp_path: Path) -> None:
    options = ("--data", small_mnist, "--epochs", 500, "--batch-size", 64)
    with running_job("train_lenet", *options, run_dir=tmp_path / "run") as job:
        job.wait_for(lambda: "epoch 1" in job.out)
        os.kill(job.pid, signal.SIGKILL)
        done = job.end(10)
        wait_until(lambda: not processes_with(str(tmp_path / "run")), 20, "the job goes on")
    assert done.code == -signal.SIGKILL
    last = job.out.strip().splitlines()[-1]
    assert last.startswith("train_lenet: error: Spark's JVM is gone (killed")
    assert "run the same command again" in last
    assert done.result["status"] == "failed"
    assert "Spark's JVM is gone" in done.result["error"]


@pytest.mark.parametrize("kind", ["socket", "file that may not be opened"])
def test_what_the_watch_says_reaches_any_stderr(kind: str, tmp_path: Path) -> None:
    # systemd gives a socket; root's shell opens a file for the user that it then becomes.
    program = (
        "import time; from jobs.runtime.jvm_watch import JvmWatch; "
        "JvmWatch('train_lenet'); print('watching', flush=True); time.sleep(60)"
    )
    parent = [
        *without_privileges(),
        "bash",
        "-c",
        '"$0" -c "$1" 2>/dev/null; true',
        sys.executable,
        program,
    ]
    file = tmp_path / "log"
    ours, theirs = socket.socketpair()
    with ours, theirs, file.open("w") as log:
        file.chmod(0o400)
        with subprocess.Popen(
            parent,
            cwd=ROOT,
            env={**os.environ, "PYSPARK_GATEWAY_PORT": "1"},
            stdout=subprocess.PIPE,
            stderr=theirs if kind == "socket" else log,
        ) as started:
            assert started.stdout is not None
            assert started.stdout.readline() == b"watching\n"
            started.kill()
        if kind == "socket":
            ours.settimeout(10)
            said = ours.recv(1000).decode()
        else:
            wait_until(lambda: file.read_text() != "", 10, "nothing is said")
            said = file.read_text()
    assert said.startswith("train_lenet: error: Spark's JVM is gone (killed")


def test_a_signal_to_the_jvm_goes_to_the_main_thread() -> None:
    # Another thread would take it on a busy machine, and the main one, in which alone Python
    # handles signals, sleep on. Where only the main one may take it, it waits until that one does.
    program = """
import os, signal, threading, time
from jobs.runtime.jvm import driver_jvm
from jobs.runtime.errors import JobError
from jobs.runtime.stop import StopSignal
stop = StopSignal()
stop.listen()
jvm = driver_jvm().java.lang.ProcessHandle.current().pid()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.kill(jvm, signal.SIGTERM)
until = time.monotonic() + 30
while signal.SIGTERM not in signal.sigpending() and time.monotonic() < until:
    time.sleep(0.05)
print("waits for the main thread", flush=True)
try:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
except JobError as error:
    print(error, flush=True)
threading.Timer(1.5, os.kill, [jvm, signal.SIGTERM]).start()
try:
    driver_jvm().java.lang.Thread.sleep(60000)
except Exception as error:
    print("at once:", stop.cause_of(error), flush=True)
os._exit(0)
"""
    done = subprocess.run(
        ["bash", "-c", 'source .venv/bin/activate && exec python -c "$0"', program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    stopped = "stopped by SIGTERM; run the same command again to continue"
    lines = ["waits for the main thread", stopped, f"at once: {stopped}"]
    assert done.stdout.splitlines() == lines, done.stderr
