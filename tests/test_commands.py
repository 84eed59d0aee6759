"""What users get from the scripts for --help, and for a mistake: one line, and the exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("scaling.py", "lenet", "--out", "/proc/x"), 1, "scaling: error: /proc/x: "),
        (("reduce_pictures.py", ".", "--to", "/proc/x"), 1, "reduce_pictures: error: /proc/x: "),
        (("reduce_pictures.py", ".", "--to", "x", "--longest", "0"), 2, "--longest: 1 or more"),
        (("report.py", "--runs", ".", "--output", "/proc/x"), 1, "report: error: /proc/x: "),
        (("report.py", "--runs", "absent"), 66, "report: error: --runs "),
        (("runs.py", "list", "--runs", "absent"), 66, "runs: error: --runs "),
        (("fetch_data.py", "sample", "--to", "/proc/x"), 1, "fetch_data: error: /proc/x: "),
        (("blend_models.py", "absent", "b", "--to", "c"), 66, "blend_models: error: absent: "),
        (
            ("deepen_model.py", "absent", "--residual-blocks", "2", "--to", "c"),
            66,
            "error: absent: ",
        ),
        (("mos.py", "results", "--study", "absent"), 66, "mos: error: --study absent: no study"),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], code: int, message: str, tmp_path) -> None:
    script, *options = words
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / script, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_no_compiler_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "build_jar.py", tmp_path / "x.jar"],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 69
    assert done.stderr.startswith("build_jar: error: no javac") and done.stderr.count("\n") == 1


def test_every_command_explains_itself_and_does_nothing_else(tmp_path: Path) -> None:
    """scripts/README.md: --help explains the options; once it wrote a jar, or locked anew."""
    table = (ROOT / "scripts" / "README.md").read_text(encoding="utf-8")
    commands = sorted(set(re.findall(r"`((?:bash|python) scripts/\w+\.\w+)", table)))
    assert len(commands) > 12
    locked = [(path, path.stat().st_mtime_ns) for path in (ROOT / "conf" / "locked").iterdir()]
    started = [
        subprocess.Popen(
            [sys.executable if words[0] == "python" else "bash", ROOT / words[1], "--help"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in (command.split() for command in commands)
    ]
    for command, process in zip(commands, started, strict=True):
        out, err = process.communicate(timeout=300)
        assert (process.returncode, err) == (0, ""), command
        assert command in out, command
    assert not list(tmp_path.iterdir())
    assert all(path.stat().st_mtime_ns == time for path, time in locked)
