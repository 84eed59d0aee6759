"""What users get from the scripts for a mistake: one line, and the exit code."""

from __future__ import annotations

import subprocess
import sys

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
