"""A small study, its server as a process of its own, and raters who know what they see."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from random import Random
from typing import Any

from conftest import ROOT
from PIL import Image
from srgan_samples import sample_pixels

from mos_study.study import Study, read_study

METHODS = "default,bicubic,nearest,original"
# What a rater with good eyes gives.
OPINION = {"nearest": 1, "bicubic": 2, "default": 4, "original": 5}
MOS = str(ROOT / "scripts" / "mos.py")


def run_mos(*words: object) -> subprocess.CompletedProcess[str]:
    """Run scripts/mos.py to its end."""
    command = [sys.executable, MOS, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def make_study(
    folder: Path, images: int = 5, methods: str = METHODS, options: Sequence[object] = ()
) -> Path:
    """Prepare a study of small pictures in two sets; its folder."""
    for number in range(images):
        pictures = folder / ("near" if number < images // 2 else "far")
        pictures.mkdir(parents=True, exist_ok=True)
        pixels = sample_pixels(64, 96, seed=number)
        Image.fromarray(pixels).save(pictures / f"picture_{number}.png")
    sets = f"{folder / 'near'},{folder / 'far'}"
    words = ("--study", folder, "--runs", methods, "--images", sets, *options)
    done = run_mos("prepare", *words)
    assert done.returncode == 0, done.stderr
    return folder


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """scripts/mos.py serve, which may be killed and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study: Study = read_study(folder)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.invitation = f"{self.url}/join/{self.study.token}"
        self.process = self._start()
        # Noise-free eyes: what a picture is, by its bytes.
        self._versions = {
            _hash(self.study.picture(folder, image, version).read_bytes()): version
            for image in range(len(self.study.images))
            for version in self.study.versions
        }

    def version_of(self, picture: bytes) -> str:
        """Which version a picture is."""
        return self._versions[_hash(picture)]

    def kill_and_restart(self) -> None:
        """kill -9, and the same command again."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = self._start()

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(signal_number)
        return self.process.wait(10)

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, MOS, "serve", "--study", str(self.folder)]
        process = subprocess.Popen(
            [*command, "--port", str(self.port)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == f"invitation: {self.invitation}\n", line
        return process


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A running server."""
    server = Server(folder)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


class HttpRater:
    """A rater without a browser, as patient as its page: asks again until there is an answer."""

    def __init__(self, server: Server, name: str = "", random: Random | None = None) -> None:
        self.server = server
        self.name = name or f"somebody {next(_numbers)}"
        self.random = random
        self.acknowledged: dict[int, int] = {}
        form = urllib.parse.urlencode({"name": self.name}).encode()
        _, headers, _ = ask(server.invitation, form)
        (self.cookie,) = re.findall(r"rater=([^;]+)", " ".join(headers))

    def ask(self, path: str, sent: Any = None) -> bytes:
        """The answer's body; a server that is gone, or too busy, is asked again."""
        data = None if sent is None else json.dumps(sent).encode()
        for _ in range(400):
            try:
                code, _, body = ask(self.server.url + path, data, self.cookie)
            except (OSError, HTTPException):
                code = 0
            if code == 200:
                return body
            assert code in (0, 429, 500, 503), (code, path)
            time.sleep(0.05)
        raise AssertionError(f"no answer from {path}")

    def rate_all(self) -> None:
        """From here to the end, each rating by what the picture shows."""
        state = json.loads(self.ask("/state"))
        while state["position"] < state["total"]:
            position = state["position"]
            version = self.server.version_of(self.ask(f"/picture/{position}"))
            rating = self.opinion(version, state["calibration"])
            sent = {"position": position, "rating": rating}
            state = json.loads(self.ask("/rating", sent))
            assert state["position"] == position + 1
            self.acknowledged[position] = rating
            if self.random and self.random.random() < 0.2:
                # As a page does that has not heard the answer; another number must not win.
                again = json.loads(self.ask("/rating", {**sent, "rating": 6 - rating}))
                assert again["position"] == position + 1

    def opinion(self, version: str, calibration: bool = False) -> int:
        """1 to 5, with some noise where the rater has any."""
        noise = 0 if calibration or self.random is None else self.random.choice((-1, 0, 0, 0, 1))
        return min(5, max(1, OPINION[version] + noise))


def ask(url: str, data: bytes | None = None, cookie: str = "") -> tuple[int, list[str], bytes]:
    """Status, cookies set and body of one request; redirections are not followed."""
    headers = {"Cookie": f"rater={cookie}"} if cookie else {}
    if data is not None and data[:1] in (b"{", b"["):
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, data, headers)
    try:
        with _opener.open(request, timeout=30) as answer:
            return answer.status, answer.headers.get_all("Set-Cookie") or [], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_all("Set-Cookie") or [], error.read()


_numbers = itertools.count(1)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
