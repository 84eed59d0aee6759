"""The run folder: locked, resumable, its result written in one step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.runtime.errors import BusyError, JobError, UsageError
from jobs.runtime.run_folder import RunFolder

OPTIONS = {"epochs": 3}


def test_a_second_run_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    first = RunFolder.open("job", str(tmp_path / "run"))
    before = sorted(path.name for path in first.path.iterdir())
    with pytest.raises(BusyError, match="another run holds"):
        RunFolder.open("job", str(tmp_path / "run"))
    assert sorted(path.name for path in first.path.iterdir()) == before
    first.close()
    RunFolder.open("job", str(tmp_path / "run")).close()


def test_kill_minus_nine_frees_the_lock(tmp_path: Path) -> None:
    code = (
        "import sys, time; from jobs.runtime.run_folder import RunFolder\n"
        "folder = RunFolder.open('job', sys.argv[1]); print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BusyError):
            RunFolder.open("job", str(tmp_path))
        process.kill()
    RunFolder.open("job", str(tmp_path)).close()


def test_finished_work_is_recognised_by_its_options(tmp_path: Path) -> None:
    folder = RunFolder.open("job", str(tmp_path))
    assert folder.finished_result(OPTIONS) is None
    folder.write_options(OPTIONS)
    folder.write_result({"status": "failed"})
    assert folder.finished_result(OPTIONS) is None
    folder.write_result({"status": "ok"})
    assert folder.finished_result(OPTIONS) == {"status": "ok"}
    with pytest.raises(UsageError, match=r"epochs \(was 3, is 4\).*--fresh"):
        folder.finished_result({"epochs": 4})


def test_finished_work_may_be_given_more_of_what_may_grow(tmp_path: Path) -> None:
    folder = RunFolder.open("job", str(tmp_path))
    options = {"epochs": 3, "batch": 4, "steps": None}
    folder.write_options(options)
    folder.write_result({"status": "ok"})
    may_grow = {"epochs", "steps"}
    assert folder.finished_result(options, may_grow) == {"status": "ok"}
    assert folder.finished_result({**options, "epochs": 4}, may_grow) is None
    for changed in ({"epochs": 2}, {"epochs": 4, "batch": 8}, {"steps": 1}):
        with pytest.raises(UsageError):
            folder.finished_result({**options, **changed}, may_grow)


def test_fresh_clears_all_but_the_lock(tmp_path: Path) -> None:
    folder = RunFolder.open("job", str(tmp_path))
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "file").write_text("old")
    folder.write_options(OPTIONS)
    folder.clear()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="file/run.*--run-dir"):
        RunFolder.open("job", str(tmp_path / "file" / "run"))


def test_default_folders_do_not_collide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = RunFolder.open("job", None), RunFolder.open("job", None)
    assert first.path != second.path
    assert first.path.parent == tmp_path / "runs" / "job"


def test_a_folder_whose_name_is_no_utf_8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"r\xfcn")
    with pytest.raises(UsageError, match=r"--run-dir .*r\\xfcn: Java cannot write"):
        RunFolder.open("job", str(folder))
    assert not folder.exists()
