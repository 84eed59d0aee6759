"""hdfs:// that leads nowhere, to a closed port, or to something that never answers."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import an_hdfs, spark_submit
from faults import running_job

from jobs.runtime import answering, remote
from jobs.runtime.errors import UnavailableError, UsageError
from jobs.runtime.options import JobOptions, parse_options


class Options(JobOptions):
    """Of a job that reads something."""

    data: str = "."


class Silent:
    """Takes connections, and says nothing."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.url = f"hdfs://127.0.0.1:{server.getsockname()[1]}"

    def wait_for_a_caller(self) -> None:
        """Until somebody asks."""
        self._server.settimeout(60)
        self._server.accept()


@pytest.fixture
def silent() -> Iterator[Silent]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Silent(server)


@pytest.fixture
def closed() -> str:
    """Where nobody listens: a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"hdfs://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("hfds://pc1:9000/x", "no file system hfds:// is known here; try hdfs://"),
        ("hdfs:///x", "expected hdfs://HOST:PORT/PATH"),
        ("hdfs://pc1:nine/x", "expected hdfs://HOST:PORT/PATH"),
    ],
)
def test_urls_that_lead_nowhere(path: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HADOOP_CONF_DIR", raising=False)
    monkeypatch.delenv("HADOOP_HOME", raising=False)
    with pytest.raises(UsageError, match="--data") as found:
        parse_options(Options, ["--data", path], job="job", description="")
    assert reason in str(found.value)


def test_a_closed_port(closed: str, tmp_path: Path) -> None:
    for options in (("--data", f"{closed}/x"), ("--data", tmp_path)):
        to = f"{closed}/run" if options[1] == tmp_path else None
        done = spark_submit("train_lenet", *options, run_dir=tmp_path / "run", run_url=to)
        assert (done.code, len(done.err.strip().splitlines())) == (69, 1), done.err
        assert f"{closed} does not answer (Connection refused); start its NameNode" in done.error


def test_one_that_never_answers_and_a_signal(silent: Silent, tmp_path: Path) -> None:
    options = ("--data", f"{silent.url}/x")
    with running_job("train_lenet", *options, run_dir=tmp_path / "run") as job:
        silent.wait_for_a_caller()
        os.kill(job.pid, signal.SIGTERM)
        done = job.end(answering.ANSWER_SECONDS + 20)
    assert done.code == 1
    assert "stopped by SIGTERM" in done.error


def test_the_first_answer_is_waited_for_as_long_as_is_said(
    silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "ANSWER_SECONDS", 0.5)
    with pytest.raises(UnavailableError, match=r"does not answer \(nothing within 0 s\)"):
        remote.file_system(silent.url)[0].exists("/x")


def test_one_that_is_lost(tmp_path: Path) -> None:
    """After it has answered; the client's attempts of three minutes are cut short."""
    with an_hdfs(tmp_path) as nodes:
        port = int(nodes.url.rpartition(":")[2])
        system = answering.AnsweringHdfs(
            "127.0.0.1", port, **{"dfs.client.failover.max.attempts": "1"}
        )
        system.pipe_file("/x", b"x")
        file = system.open("/x")
        os.kill(nodes.pid, signal.SIGKILL)
        with pytest.raises(UnavailableError, match=f"{nodes.url} has no DataNode that answers"):
            file.read()
        with pytest.raises(UnavailableError, match=f"{nodes.url} does not answer"):
            system.ls("/")
