"""Reaching the other nodes by ssh: asking for daemons, and bringing checkout and environment."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.runtime.errors import UnavailableError
from jobs.runtime.files import ROOT

CONNECT_SECONDS = 10
SSH_FAILED = 255
STAMP = ".venv/setup.stamp"
NOT_SENT = ("./.venv", "./runs", "./.git", "./build", "__pycache__", "./.*_cache", "./.hypothesis")
"""What a node does not need, or has of its own; the environment goes separately."""


def ask_node(host: str, request: Mapping[str, Any]) -> Any:
    """Let `scripts/cluster.py node` on a host carry out a request, and return what it answers.

    The request goes through standard input: it holds the secret, which an argument would show.

    Raises:
        UnavailableError: no answer, or one that says what went wrong.
    """
    agent = ". .venv/bin/activate && exec python scripts/cluster.py node"
    command = f"cd {shlex.quote(str(ROOT))} && {agent}"
    done = _ssh(host, command, input=json.dumps(request, allow_nan=False).encode())
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise UnavailableError(
            f"{host}: no environment at {ROOT} ({_last_line(done.stderr)}); "
            "bring it there with: bash scripts/cluster.sh sync"
        ) from None
    if answer["error"] is not None:
        raise UnavailableError(f"{host}: {answer['error']}")
    return answer["value"]


def send_checkout(host: str) -> str:
    """Bring this checkout, and its environment unless it is there already, to a host.

    Both go to the same path, where Spark expects them.

    Raises:
        UnavailableError: the host does not answer, lacks this Python or this Java, or is full.
    """
    root = shlex.quote(str(ROOT))
    _checked(host, f"mkdir -p {root}")
    _send(host, [f"--exclude={pattern}" for pattern in NOT_SENT], ["."])
    here = (ROOT / STAMP).read_bytes()
    there = _ssh(host, f"cat {root}/{STAMP}").stdout
    sent = "checkout"
    if here != there:
        # The stamp goes last: a half environment must not look like a whole one.
        _send(host, [f"--exclude=./{STAMP}"], ["./.venv"])
        _send(host, [], [f"./{STAMP}"])
        sent = "checkout and environment"
    check = '"$JAVA_HOME/bin/java" -version && python -c "import bigdl, pyspark, torch"'
    _checked(host, f"cd {root} && . .venv/bin/activate && {check}")
    return sent


def _send(host: str, options: Sequence[str], names: Sequence[str]) -> None:
    pack = ["tar", "--create", "--file=-", f"--directory={ROOT}", *options, *names]
    unpack = f"tar --extract --file=- --directory={shlex.quote(str(ROOT))}"
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as tar:
        done = _ssh(host, unpack, stdin=tar.stdout)
    if done.returncode or tar.returncode:
        raise UnavailableError(f"{host}: copying failed: {_last_line(done.stderr)}")


def _checked(host: str, command: str) -> None:
    done = _ssh(host, command)
    if done.returncode:
        reason = _last_line(done.stderr) or _last_line(done.stdout)
        raise UnavailableError(f"{host}: {reason}")


def _ssh(host: str, command: str, **streams: Any) -> subprocess.CompletedProcess[bytes]:
    options = shlex.split(os.environ.get("SPARK_SSH_OPTS", ""))
    words = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}", *options]
    if not streams:
        streams["stdin"] = subprocess.DEVNULL
    done = subprocess.run([*words, host, command], capture_output=True, check=False, **streams)
    if done.returncode == SSH_FAILED:
        raise UnavailableError(f"{host} does not answer: {_last_line(done.stderr)}")
    return done


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
