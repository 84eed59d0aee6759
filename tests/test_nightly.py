"""Three real nights: a good one, one with a failing job, one that got worse; and their report."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT
from faults import fill, processes_with, wait_until

from jobs.runtime.recorded.runs import find_runs

pytestmark = pytest.mark.slow

SECONDS = 300
CRON = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LOGNAME": "nobody"}


@dataclass(frozen=True)
class Night:
    """What one call of nightly.sh left behind."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Nights:
    """Three nights in one folder."""

    runs: Path
    good: Night
    failing: Night
    worse: Night


def config(runs: Path, small_mnist: Path, **changes: object) -> str:
    recipe = {"data": str(small_mnist), "batch_size": 64, "epochs": 3, **changes}
    options = ", ".join(f"{key} = {json.dumps(value)}" for key, value in recipe.items())
    return f"""
runs = "{runs}"
keep = 2
max_accuracy_drop = 0.05
max_slowdown = 0.9

[[jobs]]
name = "lenet"
job = "train_lenet"
time_limit_minutes = 3
options = {{ {options} }}

[[jobs]]
name = "lenet-test"
job = "evaluate_lenet"
time_limit_minutes = 3
options = {{ model = "{{night}}/lenet", data = "{small_mnist}" }}
"""


def nightly(path: Path, *options: str) -> Night:
    """As cron calls it: next to nothing in the environment, another folder, no terminal."""
    done = subprocess.run(
        ["bash", str(ROOT / "scripts" / "nightly.sh"), "--config", str(path), *options],
        cwd="/",
        env=CRON,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        start_new_session=True,
        check=False,
    )
    return Night(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def nights(small_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    """A good night, one whose first job has no data, and one that trains too little."""
    folder = tmp_path_factory.mktemp("nights")
    # No UTF-8.
    runs, path = folder / "runs", folder / os.fsdecode(b"n\xe4chtlich.toml")

    def one(**changes: object) -> Night:
        path.write_text(config(runs, small_mnist, **changes))
        return nightly(path)

    good = one()
    failing = one(data=str(folder / "nowhere"))
    worse = one(epochs=1, max_iterations=4)
    yield Nights(runs, good, failing, worse)


def test_a_good_night_says_nothing(nights: Nights) -> None:
    assert nights.good == Night(0, "", "")


def test_a_failing_job_does_not_keep_the_next_from_running(nights: Nights) -> None:
    assert nights.failing.code == 1
    assert nights.failing.out == ""
    (line,) = nights.failing.err.splitlines()
    assert "2 of 2 jobs failed." in line
    assert "nowhere/train-images-idx3-ubyte" in line
    assert "report.html" in line


def test_a_regression_is_a_failure(nights: Nights) -> None:
    assert nights.worse.code == 1
    (line,) = nights.worse.err.splitlines()
    assert "Worse than usual: lenet: accuracy" in line
    assert "failed" not in line


def test_old_nights_go_but_the_best_stays(nights: Nights) -> None:
    left = sorted(path.parent.name for path in nights.runs.glob("*/night.json"))
    # Two are kept, and the first has the best accuracy.
    assert len(left) == 3
    best = max(find_runs(nights.runs), key=lambda run: run.accuracy or 0)
    assert left[0] in best.name


def test_a_night_at_a_time(nights: Nights, small_mnist: Path, tmp_path: Path) -> None:
    path = tmp_path / "nightly.toml"
    path.write_text(config(nights.runs, small_mnist))
    before = sorted(os.listdir(nights.runs))
    with open(nights.runs / ".nightly.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        second = nightly(path)
    assert second.code == 75
    assert "another night is at work" in second.err
    assert sorted(os.listdir(nights.runs)) == before


def test_a_job_that_takes_too_long_is_ended(small_mnist: Path, tmp_path: Path) -> None:
    path = tmp_path / "nightly.toml"
    text = config(tmp_path / "runs", small_mnist, epochs=500)
    path.write_text(text.replace("time_limit_minutes = 3", "time_limit_minutes = 0.3", 1))
    done = nightly(path)
    assert done.code == 1
    assert "lenet: took longer than its limit of 0.3 minutes and was ended" in done.err
    # It was asked to stop, so what it had trained can be tested.
    assert "1 of 2 jobs failed." in done.err


def test_a_night_on_a_full_disk_says_so_in_a_line(small_disk: Path, tmp_path: Path) -> None:
    runs, path = small_disk / "runs", tmp_path / "nightly.toml"
    path.write_text(config(runs, tmp_path / "nowhere"))
    assert "2 of 2 jobs failed." in nightly(path).err
    fill(small_disk)
    done = nightly(path)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith("nightly: error: ")
    assert "No space left on device" in line


def test_whoever_ends_the_night_ends_its_job(small_mnist: Path, tmp_path: Path) -> None:
    path, runs = tmp_path / "nightly.toml", tmp_path / "runs"
    path.write_text(config(runs, small_mnist, epochs=500))
    command = ["bash", str(ROOT / "scripts" / "nightly.sh"), "--config", str(path)]
    with subprocess.Popen(command, env=CRON, stderr=subprocess.DEVNULL) as night:
        wait_until(lambda: list(runs.glob("*/lenet/snapshots/*")), 120, "no snapshot")
        night.terminate()
        assert night.wait(120) == 1
    assert not processes_with("train_lenet.py", str(runs))
    (result,) = find_runs(runs)
    assert "stopped by SIGTERM" in result.result["error"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("keep = 0", "keep"),
        ("jobs = []", "jobs"),
        ("kep = 3", "kep"),
        ("keep = ", "is not TOML"),
        ('[[jobs]]\nname = "../x"\njob = "train_lenet"\ntime_limit_minutes = 1', "jobs.0.name"),
    ],
)
def test_mistakes_in_the_configuration(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "nightly.toml"
    path.write_text(text)
    done = nightly(path)
    assert done.code == 2, done.err
    (line,) = done.err.splitlines()
    assert str(path) in line
    assert words in line


def test_the_report_names_both(nights: Nights) -> None:
    page = (nights.runs / "report.html").read_text()
    assert "0 failed, 2 worse than usual" in page
    command = ["python", str(ROOT / "scripts" / "report.py"), "--format", "markdown"]
    done = subprocess.run(
        [*command, "--runs", str(nights.runs)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "worse than usual: lenet: accuracy" in done.stdout
    assert "## Latest runs" in done.stdout
    assert "FAILED" in done.stdout


def test_runs_in_the_terminal(nights: Nights) -> None:
    def runs(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["python", str(ROOT / "scripts" / "runs.py"), *words, "--runs", str(nights.runs)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    listed = runs("list").stdout
    names = [run.name for run in find_runs(nights.runs) if run.is_ok and run.job == "train_lenet"]
    assert all(name in listed for name in names)
    assert json.loads(runs("show", names[0]).stdout)["job"] == "train_lenet"
    compared = runs("compare", names[0], names[-1]).stdout
    assert "| epochs " in compared
    assert "top1_accuracy" in compared
    assert "batch_size" not in compared
    missing = runs("show", "nowhere")
    assert missing.returncode == 66
    assert "no such run" in missing.stderr
