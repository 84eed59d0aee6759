"""The server of a MOS study over real HTTP: many raters, kill -9, strangers."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import psutil
import pytest
from small_study import MOS, HttpRater, Server, ask, free_port, make_study, run_mos, serving

from jobs.runtime.cluster.node import address_towards
from jobs.runtime.errors import UnavailableError
from mos_study.store import read_trials

RATERS = 50


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A study of four methods on five pictures, being served."""
    with serving(make_study(tmp_path_factory.mktemp("study"))) as running:
        yield running


def test_fifty_raters_at_once_and_a_killed_server(tmp_path: Path) -> None:
    with serving(make_study(tmp_path)) as server:
        raters = [HttpRater(server, f"rater {number}", Random(number)) for number in range(RATERS)]
        with ThreadPoolExecutor(RATERS) as pool:
            runs = [pool.submit(rater.rate_all) for rater in raters]
            while sum(len(rater.acknowledged) for rater in raters) < 200:
                assert not any(run.done() and run.exception() for run in runs)
                time.sleep(0.01)
            server.kill_and_restart()
            for run in runs:
                run.result()
        assert server.stop() == 0
    stored = read_trials(tmp_path)
    assert len(stored) == RATERS * (4 + 4 * 5 + 4)
    for number, rater in enumerate(raters, start=1):
        own = {trial.position: trial.rating for trial in stored if trial.name == rater.name}
        assert own == rater.acknowledged, number
    done = run_mos("results", "--study", tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    means = {score["method"]: score["mos"] for score in results["scores"] if score["set"] == "all"}
    assert sorted(means, key=means.__getitem__) == ["nearest", "bicubic", "default", "original"]


def test_only_the_owner_may_read_token_and_ratings(server: Server) -> None:
    for name in ("study.json", "ratings.sqlite", "ratings.sqlite-wal"):
        assert stat.S_IMODE(os.stat(server.folder / name).st_mode) == 0o600, name


@pytest.mark.parametrize(
    "path",
    ["/", "/instructions", "/state", "/picture/0", "/example/low", "/rating"],
)
@pytest.mark.parametrize("cookie", ["", "1.wrong", "1", ".", "999999999.x", "١.x", "1' OR 1=1.x"])
def test_who_has_not_joined_sees_nothing(server: Server, path: str, cookie: str) -> None:
    known = HttpRater(server)
    data = b'{"position": 0, "rating": 1}' if path == "/rating" else None
    code, _, body = ask(server.url + path, data, cookie.encode().decode("latin-1"))
    assert code == 403 and b"PNG" not in body
    assert json.loads(known.ask("/state"))["position"] == 0


def test_a_wrong_invitation(server: Server) -> None:
    for token in ("x", server.study.token[:-1], server.study.token + "x", "é"):
        url = f"{server.url}/join/{token}".encode().decode("latin-1")
        code, cookies, _ = ask(url.replace("Ã©", "%C3%A9"), b"name=Somebody")
        assert code == 404 and not cookies


@pytest.mark.parametrize(
    "path",
    [
        *("/static/../study.json", "/static/%2e%2e/study.json", "/static/..%2f..%2fmos.py"),
        *("/study.json", "/ratings.sqlite", "/picture/../study.json", "/picture/-1"),
        *("/static//etc/passwd", "/picture/0.png", "/example/..%2flow", "/picture/99999999999999"),
    ],
)
def test_nothing_but_pages_and_pictures_is_served(server: Server, path: str) -> None:
    rater = HttpRater(server)
    code, _, body = ask(server.url + path, None, rater.cookie)
    assert code in (404, 308)
    assert server.study.token.encode() not in body and b"root:" not in body


def test_pictures_ahead_are_not_shown(server: Server) -> None:
    rater = HttpRater(server)
    codes = [ask(f"{server.url}/picture/{place}", None, rater.cookie)[0] for place in range(4)]
    assert codes == [200, 200, 404, 404]


@pytest.mark.parametrize(
    "sent",
    [
        *(b'{"position": 0, "rating": 0}', b'{"position": 0, "rating": 6}'),
        *(b'{"position": 0, "rating": 2.5}', b'{"position": 0, "rating": true}'),
        *(b'{"position": 0, "rating": "5"}', b'{"position": -1, "rating": 3}'),
        *(b'{"position": 28, "rating": 3}', b'{"position": 1e99, "rating": 3}'),
        *(b'{"position": 99999999999999999999, "rating": 3}', b"[]", b'{"position": 0}', b"{"),
    ],
)
def test_what_is_no_rating_is_refused(server: Server, sent: bytes) -> None:
    rater = HttpRater(server)
    assert ask(f"{server.url}/rating", sent, rater.cookie)[0] == 400
    assert json.loads(rater.ask("/state"))["position"] == 0


def test_a_rating_out_of_turn_changes_nothing(server: Server) -> None:
    rater = HttpRater(server)
    state = json.loads(rater.ask("/rating", {"position": 3, "rating": 5}))
    assert state["position"] == 0 and "reference" not in state


def test_names(server: Server) -> None:
    HttpRater(server, "Käthe 1")
    for name in ("käthe 1", "=1", "-x", "", " ", "x" * 41, "<b>", 'a"b', "_x", "a\u202eb"):
        form = urllib.parse.urlencode({"name": name}).encode()
        code, cookies, body = ask(server.invitation, form)
        assert code == 422 and not cookies, name
        assert b"<b>" not in body and b'value="a"b' not in body
    # The same rater in the same browser goes on instead of beginning again.
    rater = HttpRater(server)
    code, cookies, _ = ask(server.invitation, b"name=other", rater.cookie)
    assert code == 302 and not cookies


def test_large_requests_are_refused(server: Server) -> None:
    rater = HttpRater(server)
    body = b'{"position": 0, "rating": 3, "x": "' + b"x" * 8000 + b'"}'
    assert ask(f"{server.url}/rating", body, rater.cookie)[0] == 413
    code, _, _ = ask(f"{server.url}/state", None, "1." + "x" * 60000)
    assert code in (400, 431)


def test_too_many_requests_are_refused(tmp_path: Path) -> None:
    with serving(make_study(tmp_path, 3, "bicubic,original")) as server:
        codes = [
            ask(server.invitation, f"name=crowd {number}".encode())[0] for number in range(125)
        ]
        assert set(codes[:100]) == {303}
        assert codes[-1] == 429


def test_every_answer_forbids_what_is_not_needed(server: Server) -> None:
    for path in (f"/join/{server.study.token}", "/static/rate.js"):
        with urllib.request.urlopen(server.url + path) as answer:
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
    _, cookies, _ = ask(server.invitation, b"name=cookie")
    assert "HttpOnly" in cookies[0] and "SameSite=Lax" in cookies[0]


def test_listens_on_loopback_unless_told_otherwise(server: Server) -> None:
    (listening,) = {
        connection.laddr.ip
        for connection in psutil.Process(server.process.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == "127.0.0.1"


def test_an_invitation_for_others_leads_here_from_elsewhere(server: Server) -> None:
    """Once it named localhost where /etc/hosts gives this machine's name to loopback."""
    try:
        address_towards("203.0.113.1")
    except UnavailableError:
        pytest.skip("this machine has no network but loopback")
    with subprocess.Popen(
        [
            *(sys.executable, MOS, "serve", "--study", server.folder),
            *("--host", "0.0.0.0", "--port", str(free_port())),
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            invitation = process.stdout.readline().removeprefix("invitation: ").strip()
            host = urllib.parse.urlsplit(invitation).hostname
            assert host and not socket.gethostbyname(host).startswith("127.")
            assert ask(invitation)[0] == 200
        finally:
            process.terminate()


def test_a_taken_port_is_one_line(server: Server) -> None:
    done = run_mos("serve", "--study", server.folder, "--port", server.port)
    assert done.returncode == 69
    (line,) = done.stderr.splitlines()
    assert f"--port {server.port}: cannot listen there" in line


def test_no_study_is_one_line(tmp_path: Path) -> None:
    for action in ("serve", "results"):
        done = run_mos(action, "--study", tmp_path)
        assert done.returncode == 66
        (line,) = done.stderr.splitlines()
        assert "no study here; make one with: python scripts/mos.py prepare" in line
