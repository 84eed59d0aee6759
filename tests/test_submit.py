"""scripts/submit.sh: the command it builds, and what it refuses."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT


def submit(*words: str, cluster: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", ROOT / "scripts" / "submit.sh", *words],
        cwd="/",
        env={**os.environ, "SPARK_CLUSTER_FOLDER": str(cluster)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def dry_run(*words: str, cluster: Path) -> list[str]:
    done = submit(*words, "--dry-run", cluster=cluster)
    assert done.returncode == 0, done.stderr
    return shlex.split(done.stdout)


@pytest.mark.parametrize("profile", ["local", "lab-2pc", "lab-4pc", "gpu-nodes", "yarn"])
def test_every_profile(profile: str, tmp_path: Path) -> None:
    command = dry_run("train_lenet", "--profile", profile, cluster=tmp_path)
    archive = f"{ROOT / 'runs' / 'environment.tar.gz'}#environment"
    assert command == [
        *("spark-submit", "--properties-file", str(ROOT / "conf" / f"{profile}.conf")),
        *(("--archives", archive) if profile == "yarn" else ()),
        str(ROOT / "jobs" / "train_lenet.py"),
    ]


def test_words_are_handed_through(tmp_path: Path) -> None:
    command = subprocess.run(
        [
            *("bash", ROOT / "scripts" / "submit.sh", "train_srgan", "--dry-run"),
            *("--total-executor-cores", "2", "--", "--data", "my 'pictures' \n$HOME", "--fresh"),
        ],
        env={**os.environ, "SPARK_CLUSTER_FOLDER": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command.stdout}"], capture_output=True, check=True
    ).stdout.split(b"\0")
    assert words[-7:-1] == [
        *(b"--total-executor-cores", b"2", str(ROOT / "jobs" / "train_srgan.py").encode()),
        *(b"--data", b"my 'pictures' \n$HOME", b"--fresh"),
    ]


def test_the_cluster_that_was_started_last(tmp_path: Path) -> None:
    (tmp_path / "master").write_text("spark://192.168.1.10:7077\n")
    command = dry_run("train_lenet", "--profile", "lab-4pc", cluster=tmp_path)
    assert command[3:5] == ["--master", "spark://192.168.1.10:7077"]
    assert "--master" not in dry_run("train_lenet", cluster=tmp_path)
    other = ("--master", "spark://elsewhere:7077")
    command = dry_run("train_lenet", "--profile", "lab-4pc", *other, cluster=tmp_path)
    assert [word for word in command if word.startswith("spark://")] == ["spark://elsewhere:7077"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which job? one of: evaluate_lenet.py"),
        (["--profile", "local"], "which job?"),
        (["paint"], "no job paint; one of: evaluate_lenet.py"),
        (["../jobs/train_lenet"], "no job ../jobs/train_lenet"),
        (["train_lenet", "--profile", "moon"], "no profile"),
        (["train_lenet", "--profile"], "--profile needs a name"),
    ],
)
def test_what_is_refused(words: list[str], message: str, tmp_path: Path) -> None:
    done = submit(*words, cluster=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_yarn_needs_its_archive_and_its_configuration(tmp_path: Path) -> None:
    done = submit("train_lenet", "--profile", "yarn", cluster=tmp_path)
    packed = (ROOT / "runs" / "environment.tar.gz").exists()
    assert done.returncode == (2 if packed else 69)
    assert ("HADOOP_CONF_DIR" if packed else "pack_environment.sh") in done.stderr


def test_the_exit_code_is_the_jobs(tmp_path: Path) -> None:
    if not (ROOT / ".venv" / "bin" / "activate").exists():
        pytest.skip("this checkout was not set up by scripts/setup.sh")
    words = ("train_lenet", "--", "--data", str(tmp_path), "--run-dir", str(tmp_path / "run"))
    done = submit(*words, cluster=tmp_path)
    assert done.returncode == 66, done.stdout + done.stderr


def test_too_few_files_may_be_open() -> None:
    """Of its 300 jars Spark would print 127 lines."""
    script = 'ulimit -n 256; exec bash "$@"'
    done = subprocess.run(
        ["bash", "-c", script, "bash", ROOT / "scripts" / "submit.sh", "train_lenet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 69
    (line,) = done.stderr.splitlines()
    assert "only 256 files may be open at a time, Spark needs 512: ulimit -n 512" in line
