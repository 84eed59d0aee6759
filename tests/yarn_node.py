"""A stand-in for YARN's NodeManager, for tests: see yarn.py."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KILLED = 137


@dataclass(frozen=True)
class Resource:
    """A file that a container wants to have in its working folder, an archive unpacked."""

    link: str
    path: Path
    kind: str


@dataclass(frozen=True)
class Launch:
    """What YARN's ContainerLaunchContext says."""

    resources: list[Resource]
    environment: dict[str, str]
    command: str
    tokens: bytes

    @classmethod
    def of(cls, context: Any) -> Launch:
        """Read the message."""
        resources = [
            Resource(
                link,
                Path(one.getResource().toPath().toUri().getPath()),
                one.getType().toString(),
            )
            for link, one in dict(context.getLocalResources()).items()
        ]
        tokens = context.getTokens()
        return cls(
            resources,
            dict(context.getEnvironment()),
            " ".join(context.getCommands()),
            b"" if tokens is None else bytes(tokens.array()),
        )


class Node:
    """Starts processes as a NodeManager does: a working folder each, with links to what they need.

    Logs lie in logs/APPLICATION/CONTAINER, as stdout and stderr.
    """

    def __init__(self, folder: Path, conf_dir: Path) -> None:
        self._folder = folder
        self._conf_dir = conf_dir
        self._lock = threading.Lock()
        self._unpacked: dict[Path, Path] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, application: str, container: str, context: Any, ended: Callable[[int], None]
    ) -> None:
        """Start a container; `ended` is called with its exit code."""
        launch = Launch.of(context)

        def run() -> None:
            process = self._start(application, container, launch)
            code = process.wait()
            ended(code if code >= 0 else KILLED)

        threading.Thread(target=run, daemon=True).start()

    def stop(self, containers: Iterable[str]) -> None:
        """End containers, where they still run."""
        for name in containers:
            process = self._processes.get(name)
            if process is not None and process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)

    def stop_all(self) -> None:
        """End whatever runs."""
        self.stop(list(self._processes))
        for process in self._processes.values():
            process.wait()

    def _start(self, application: str, container: str, launch: Launch) -> subprocess.Popen[bytes]:
        home = self._folder / application / container
        logs = self._folder / "logs" / application / container
        home.mkdir(parents=True)
        logs.mkdir(parents=True)
        for resource in launch.resources:
            link = home / resource.link
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(self._localize(resource))
        (home / "container_tokens").write_bytes(launch.tokens)
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "JAVA_HOME": os.environ["JAVA_HOME"],
            "PWD": str(home),
            "LOG_DIRS": str(logs),
            "LOCAL_DIRS": str(home),
            "USER": os.environ.get("USER", "root"),
            "LOGNAME": os.environ.get("USER", "root"),
            # As little to be written to as Hadoop's default, /home/.
            "HOME": "/proc",
            "CONTAINER_ID": container,
            "NM_HOST": "127.0.0.1",
            "NM_PORT": "8041",
            "NM_HTTP_PORT": "8042",
            "HADOOP_CONF_DIR": str(self._conf_dir),
            "HADOOP_TOKEN_FILE_LOCATION": str(home / "container_tokens"),
        }
        lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
        for name, value in launch.environment.items():
            lines.append(f'export {name}="{_expanded(value, logs)}"')
        lines.append("exec /bin/bash -c " + shlex.quote(_expanded(launch.command, logs)))
        script = home / "launch_container.sh"
        script.write_text("\n".join(lines) + "\n")
        with open(logs / "prelaunch", "wb") as output:
            process = subprocess.Popen(
                ["bash", script],
                cwd=home,
                env={},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes[container] = process
        return process

    def _localize(self, resource: Resource) -> Path:
        """Each resource once a node."""
        with self._lock:
            if resource.path in self._unpacked:
                return self._unpacked[resource.path]
            place = self._folder / "filecache" / str(len(self._unpacked)) / resource.path.name
            place.parent.mkdir(parents=True)
            if resource.kind != "ARCHIVE":
                shutil.copyfile(resource.path, place)
            elif resource.path.suffix in (".zip", ".jar"):
                with zipfile.ZipFile(resource.path) as archive:
                    archive.extractall(place)
            else:
                with tarfile.open(resource.path) as archive:
                    archive.extractall(place)
            self._unpacked[resource.path] = place
            return place


def _expanded(text: str, logs: Path) -> str:
    """With YARN's own marks replaced by what a shell understands."""
    text = text.replace("<LOG_DIR>", str(logs)).replace("<CPS>", ":")
    return re.sub(r"\{\{(\w+)\}\}", r"$\1", text)
