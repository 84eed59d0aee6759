"""A checkout runs its own code in its own environment, whatever happened to either, and whatever
the shell has from other installations."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import ROOT, without_privileges

SECONDS = 200
MARK = "the code of this very checkout"


def run(
    *command: object, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def refusal(*command: object) -> str:
    """The one line with which a command ends."""
    done = run(*command)
    assert done.returncode == 69, done.stdout + done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    return line


def replace(path: Path, text: str) -> None:
    """Write a file anew: the old one may be linked to that of another checkout."""
    path.unlink(missing_ok=True)
    path.write_text(text)


def at_activation(venv: Path, name: str, value: Path) -> None:
    """Let activation give a variable another value."""
    activate = venv / "bin" / "activate"
    line = f"export {name}={shlex.quote(str(value))}"
    replace(activate, re.sub(f"^export {name}=.*", line, activate.read_text(), flags=re.M))


def hostile(folder: Path) -> dict[str, str]:
    """What a person's .bashrc may set for other Sparks, Pythons and notebooks."""
    for name in ("pyspark", "numpy", "torch"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise SystemExit('a foreign package')\n")
    return {
        **{"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1", "PYTHONHOME": "/nowhere"},
        **{"PYSPARK_DRIVER_PYTHON": "jupyter", "PYSPARK_DRIVER_PYTHON_OPTS": "notebook"},
        **{"PYSPARK_PYTHON": "/nowhere/python", "PYSPARK_SUBMIT_ARGS": "--master yarn"},
        **{"SPARK_HOME": "/nowhere/spark", "SPARK_CONF_DIR": "/nowhere", "SPARK_ENV_LOADED": "1"},
        **{
            "SPARK_MASTER_OPTS": "-broken",
            "SPARK_WORKER_OPTS": "-broken",
            "SPARK_WORKER_CORES": "x",
        },
        **{"SPARK_DAEMON_JAVA_OPTS": "-broken", "SPARK_SUBMIT_OPTS": "-broken"},
        **{"SPARK_DIST_CLASSPATH": "/nowhere/*", "SPARK_MASTER_HOST": "nowhere.invalid"},
    }


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of this checkout with its environment, by hard links."""
    if not (ROOT / ".venv" / "setup.stamp").exists():
        pytest.skip("this checkout was not set up by scripts/setup.sh")
    folder = tmp_path / "über 'all' möglich"
    folder.mkdir()
    for name in ("scripts", "jobs", "lenet", "srgan", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    linked = subprocess.run(["cp", "-al", ROOT / ".venv", folder / ".venv"], check=False)
    if linked.returncode:
        pytest.skip("no hard links between the checkout and the folder for tests")
    return folder


@pytest.mark.slow
def test_copied_robbed_broken_off_and_moved(
    copied: Path, small_mnist: Path, tmp_path: Path
) -> None:
    submit = ("bash", copied / "scripts" / "submit.sh", "train_lenet")
    venv = copied / ".venv"

    # A copy, or a git worktree: neither its scripts nor its jobs take the other's environment.
    for script in (
        submit,
        ("bash", copied / "scripts" / "nightly.sh"),
        (*_cluster(copied), "stop"),
    ):
        assert f"the environment is that of {ROOT}" in refusal(*script)
    line = refusal(sys.executable, copied / "jobs" / "train_lenet.py", "--help")
    assert line.startswith(f"train_lenet: error: it lies in {copied}") and str(ROOT) in line
    assert refusal(sys.executable, copied / "scripts" / "runs.py", "list")

    # Each of these is said with the way out.
    replace(venv / "checkout", f"{copied}\n")
    at_activation(venv, "JAVA_HOME", Path("/nowhere/java"))
    assert "the environment's Java, /nowhere/java, is gone" in refusal(*submit)
    for python in (venv / "bin").glob("python*"):
        python.unlink()
    at_activation(venv, "PYSPARK_PYTHON", venv / "bin" / "python")
    (venv / "bin" / "python").symlink_to("/nowhere/bin/python3")
    assert "the environment's Python, /nowhere/bin/python3, is gone" in refusal(*submit)
    # As a Python in root's home is to everybody else.
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "python3").symlink_to(sys.executable)
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(tmp_path / "home" / "python3")
    assert "the environment's Java, /nowhere/java, is gone" in refusal(*submit)
    (tmp_path / "home").chmod(0)
    line = refusal(*without_privileges(), *submit)
    assert f"the environment's Python, {tmp_path}/home/python3, is gone or not for" in line
    (venv / "unfinished").touch()
    assert "the environment is not finished; make it: bash " in refusal(*submit)

    # A second set-up heals all of that, in a shell that has much of others.
    environment = {**hostile(tmp_path / "others"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = run("bash", copied / "scripts" / "setup.sh", environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "setup: done" in done.stdout
    assert done.stderr == ""
    # Every job would compile torch anew, three seconds long.
    assert list(venv.glob("lib/python3.*/site-packages/torch/__pycache__/*.pyc"))

    with open(copied / "lenet" / "__init__.py", "a") as package:
        package.write(f"\nprint({MARK!r})\n")
    options = ("--master", "local[2]", "--", "--data", small_mnist, "--epochs", 1)
    run_dir = tmp_path / "run"
    done = run(
        *(*submit, *options, "--batch-size", 64, "--run-dir", run_dir), environment=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert MARK in done.stdout and (run_dir / "result.json").exists()
    try:
        done = run(*_cluster(copied), "start", "--port", 7099, environment=environment)
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        run(*_cluster(copied), "stop")

    moved = copied.rename(tmp_path / "moved")
    line = refusal("bash", moved / "scripts" / "submit.sh", "train_lenet")
    assert f"the environment is that of {copied}" in line and "setup.sh" in line

    # A worktree that borrows an environment by a link is not to take it away from its owner.
    borrower = tmp_path / "borrower"
    shutil.copytree(moved, borrower, ignore=shutil.ignore_patterns(".venv"))
    replace(moved / ".venv" / "checkout", f"{moved}\n")
    (borrower / ".venv").symlink_to(moved / ".venv")
    line = refusal("bash", borrower / "scripts" / "setup.sh")
    assert f"leads to the environment of {moved}; delete that link" in line


def _cluster(checkout: Path) -> tuple[object, ...]:
    return ("bash", checkout / "scripts" / "cluster.sh")
