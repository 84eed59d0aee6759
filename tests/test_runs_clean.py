"""scripts/runs.py clean deletes old runs alone: nothing foreign, nothing kept, nothing in use."""

from __future__ import annotations

import json
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from conftest import ROOT, without_privileges

from jobs.runtime.lock import FolderLock
from jobs.runtime.recorded.retention import OUTPUTS


def write_run(folder: Path, day: int, job: str = "upscale", **changes: object) -> Path:
    """A run folder as a job leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    result = {"job": job, "status": "ok", "error": None, "seconds": 1.0, "metrics": {}}
    started = f"2026-01-{day:02d}T01:00:00+00:00"
    (folder / "result.json").write_text(json.dumps({**result, "started": started, **changes}))
    for name in ("options.json", "log.txt", ".lock"):
        (folder / name).write_text("{}")
    (folder / "tensorboard").mkdir()
    return folder


def runs(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*without_privileges(), sys.executable, ROOT / "scripts" / "runs.py", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def clean(root: Path, keep: int = 1) -> list[str]:
    done = runs("clean", "--keep", keep, "--runs", root)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_old_runs_go(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        write_run(tmp_path / str(day), day)
    assert clean(tmp_path) == ["deleted 2 of 3 runs"]
    assert [path.name for path in tmp_path.iterdir()] == ["3"]


def test_what_belongs_to_a_kept_run_stays(tmp_path: Path) -> None:
    # An evaluation within the training that it judged, and one that holds a newer one.
    training = write_run(tmp_path / "training", 1, "train_lenet")
    write_run(training / "test", 2, "evaluate_lenet")
    outer = write_run(tmp_path / "outer", 3, "evaluate_lenet")
    write_run(outer / "newest", 4, "evaluate_lenet")
    assert clean(tmp_path) == [
        "deleted 0 of 4 runs",
        "left training/test: it lies in training, which is kept",
        "left outer: it holds newest, which is kept",
    ]


def test_old_runs_within_old_runs(tmp_path: Path) -> None:
    outer = write_run(tmp_path / "outer", 1)
    write_run(write_run(outer / "inner", 2) / "innermost", 3)
    write_run(tmp_path / "newest", 9)
    assert clean(tmp_path) == ["deleted 3 of 4 runs"]
    assert [path.name for path in tmp_path.iterdir()] == ["newest"]


def test_the_folder_that_is_searched_stays_and_what_is_foreign(tmp_path: Path) -> None:
    write_run(tmp_path, 1)
    (tmp_path / "thesis.tex").write_text("years of work")
    old = write_run(tmp_path / "old", 2)
    (old / "notes").mkdir()
    (write_run(tmp_path / "half", 3) / "options.json").unlink()
    write_run(tmp_path / "gone", 4)
    write_run(tmp_path / "newest", 5)
    assert clean(tmp_path) == [
        "deleted 1 of 5 runs",
        "left .: the others lie in it",
        "left old: it holds notes, which no job has written",
        "left half: it is no run folder, since it has no options.json",
    ]
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    shutil.rmtree(tmp_path / "newest")
    for name in ("old", "half"):
        shutil.rmtree(tmp_path / name)
    (tmp_path / "thesis.tex").unlink()
    other = write_run(tmp_path / "tensorboard" / "other", 6)
    assert clean(tmp_path) == ["deleted 0 of 2 runs", "left .: the others lie in it"]
    assert other.exists()


def test_a_run_that_goes_on_stays(tmp_path: Path) -> None:
    for day in (1, 2):
        write_run(tmp_path / str(day), day)
    with closing(FolderLock(str(tmp_path / "1"), ".lock", "--run-dir")):
        lines = clean(tmp_path)
    assert lines == ["deleted 0 of 2 runs", "left 1: a job is at work in it"]
    assert clean(tmp_path) == ["deleted 1 of 2 runs"]


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    done = subprocess.run(["chattr", "+i", path], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no immutable files here: {done.stderr.strip()}")
    yield
    subprocess.run(["chattr", "-i", path], check=True)


def test_what_cannot_be_deleted_keeps_no_other(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        write_run(tmp_path / str(day), day)
    with immutable(tmp_path / "1" / "log.txt"):
        first, second = clean(tmp_path)
    assert first == "deleted 1 of 3 runs"
    assert second.startswith("left 1: ") and "not permitted" in second


def test_a_reader_who_has_read_enough(tmp_path: Path) -> None:
    for number in range(300):
        write_run(tmp_path / f"{'x' * 200}-{number}", 1 + number % 28)
    command = f"python {ROOT}/scripts/runs.py list --runs {tmp_path} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_an_odd_run_is_named_and_left(tmp_path: Path) -> None:
    write_run(tmp_path / "odd", 1, seconds="long")
    for day in (2, 3):
        write_run(tmp_path / str(day), day)
    listed = runs("list", "--runs", tmp_path)
    assert listed.returncode == 0
    (line,) = listed.stderr.splitlines()
    assert line == "runs: left out odd: result.json: seconds: Input should be a valid number"
    assert clean(tmp_path) == ["deleted 1 of 2 runs"]
    assert (tmp_path / "odd").exists()


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        write_run(tmp_path / f"of-{day}" / "run", day)
    (tmp_path / "of-1").chmod(0)
    try:
        listed = runs("list", "--runs", tmp_path)
        assert listed.stderr == "runs: left out of-1: Permission denied\n"
        assert clean(tmp_path) == ["deleted 1 of 2 runs"]
    finally:
        (tmp_path / "of-1").chmod(0o755)
    assert (tmp_path / "of-1" / "run").exists()


def test_the_patterns_name_files_not_everything() -> None:
    assert not any(set(pattern) <= set("*.?[]") for pattern in OUTPUTS)


def test_a_dry_run_deletes_nothing(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        write_run(tmp_path / str(day), day)
    (tmp_path / "1" / "notes").touch()
    done = runs("clean", "--keep", 1, "--runs", tmp_path, "--dry-run")
    assert done.stdout.splitlines() == [
        "would delete 1 of 3 runs",
        "would delete 2",
        "left 1: it holds notes, which no job has written",
    ]
    assert len(list(tmp_path.iterdir())) == 3


# So many are kept that nothing would go if it were not refused.
CLEAN = ("clean", "--keep", 10**9, "--runs")


@pytest.mark.parametrize("folder", ["/", str(ROOT), pwd.getpwuid(0).pw_dir])
def test_a_folder_with_more_than_runs(folder: str) -> None:
    done = runs(*CLEAN, folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--runs {folder}: " in done.stderr and "so it holds more than runs" in done.stderr


def test_a_home_is_no_folder_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "anna" / "runs").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "anna")
    monkeypatch.setenv("HOME", str(tmp_path / "anna"))
    for folder in ("~/", tmp_path / "anna", tmp_path / "link", tmp_path):
        done = runs(*CLEAN, folder)
        assert done.returncode == 2 and f"a home, {tmp_path}/anna, lies in it" in done.stderr
    assert runs(*CLEAN, "~/runs").returncode == 0


def test_a_folder_of_checkouts_is_no_folder_of_runs(tmp_path: Path) -> None:
    for name in ("mine", "yours"):
        (tmp_path / name / "scripts").mkdir(parents=True)
        (tmp_path / name / "scripts" / "runs.py").touch()
        for day in (1, 2):
            write_run(tmp_path / name / "runs" / str(day), day)
    done = runs(*CLEAN[:1], "--keep", 1, "--runs", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--runs {tmp_path}: the checkout {tmp_path}/" in done.stderr
    assert len(list(tmp_path.glob("*/runs/*"))) == 4
    assert clean(tmp_path / "mine" / "runs") == ["deleted 1 of 2 runs"]
