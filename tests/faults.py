"""Jobs in the background, to be hurt while they run."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from conftest import StandaloneCluster, Submission, submit_command


class RunningJob:
    """A job under spark-submit, in a process group of its own."""

    def __init__(self, process: subprocess.Popen[bytes], run_dir: Path, output: Path) -> None:
        self._process = process
        self.run_dir = run_dir
        self._output = output
        self.pid = process.pid

    @property
    def out(self) -> str:
        """What it has said so far, on stdout and stderr."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, condition: Callable[[], object], seconds: float = 120) -> None:
        """Wait until a condition holds, which must happen while the job runs."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self._process.poll() is None, f"the job has ended:\n{self.out}"
            assert time.monotonic() < deadline, f"nothing within {seconds} s:\n{self.out}"
            time.sleep(0.05)

    def kill_group(self) -> None:
        """kill -9 of all that spark-submit has started in its group: JVM and driver."""
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def end(self, seconds: float) -> Submission:
        """What it leaves behind; it must end within that time."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            said = self.out
            # The JVM now prints what each of its threads does.
            os.kill(self.pid, signal.SIGQUIT)
            time.sleep(1)
            stacks = self.out[len(said) :].split("\n\n")
            waiting = "\n\n".join(one for one in stacks if re.search("DAGScheduler|bigdl", one))
            raise AssertionError(f"still running after {seconds} s:\n{waiting}\n{said}") from None
        return Submission(code, self.out, self.out, self.run_dir)


@contextmanager
def running_job(
    job: str,
    *options: object,
    run_dir: Path,
    profile: str = "local",
    spark: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
    run_url: str | None = None,
) -> Iterator[RunningJob]:
    """Start a job, and see to it that nothing of it is left at the end; see `spark_submit`."""
    output = run_dir.with_name(f"{run_dir.name}.out")
    options = (*options, "--run-dir", run_url or run_dir)
    command = submit_command(job, *options, profile=profile, spark=spark)
    with open(output, "wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=run_dir.parent,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield RunningJob(process, run_dir, output)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def processes_with(*words: str) -> list[psutil.Process]:
    """The processes in whose command line all these words are, oldest first."""
    found = []
    for process in psutil.process_iter(["cmdline", "create_time"]):
        line = " ".join(process.info["cmdline"] or [])
        if all(word in line for word in words) and process.pid != os.getpid():
            found.append(process)
    return sorted(found, key=lambda process: process.info["create_time"])


def children_of(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """All that they have started and that still runs."""
    return [child for process in processes for child in process.children(recursive=True)]


def processes_below(ancestors: Sequence[psutil.Process], *words: str) -> list[psutil.Process]:
    """Those of `processes_with` that descend from one of these."""
    # Not by their parents: a process of another test may end while it is asked.
    below = set(children_of(ancestors))
    return [process for process in processes_with(*words) if process in below]


def executors_of(master: str) -> list[psutil.Process]:
    """The executors of all applications of the Workers of a Master."""
    port = master.rpartition(":")[2]
    workers = processes_with("deploy.worker.Worker", f":{port}")
    return processes_below(workers, "CoarseGrainedExecutorBackend")


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for something that must come within that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def fill(disk: Path) -> None:
    """Leave a file system without a byte."""
    with contextlib.suppress(OSError), open(disk / "filling", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def unplug(cluster: StandaloneCluster) -> None:
    """kill -9 of a Worker and all that it has started."""
    worker = processes_with("deploy.worker.Worker", cluster.master)[0]
    family = children_of([worker])
    for process in (worker, *family):
        # A rank's helper may be ending by itself.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    # Or the next one to be unplugged may be the same, which is only ending.
    wait_until(
        lambda: worker not in processes_with("deploy.worker.Worker", cluster.master),
        20,
        f"Worker {worker.pid} does not end",
    )


def on(cluster: StandaloneCluster) -> dict[str, Any]:
    """What submits a job to both Workers of a cluster."""
    return {
        "profile": "lab-2pc",
        "spark": (
            *("--master", cluster.master, "--total-executor-cores", "2"),
            *("--executor-cores", "1", "--executor-memory", "900m"),
        ),
        "environment": cluster.environment,
    }
