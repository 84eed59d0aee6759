"""A cluster's folder that is not for everybody: said in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, without_privileges


def test_a_user_who_may_not_write_the_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    for folder in (closed, closed / "state"):
        done = subprocess.run(
            [*without_privileges(), sys.executable, ROOT / "scripts" / "cluster.py", "start"],
            env={**os.environ, "SPARK_CLUSTER_FOLDER": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert f"cluster: error: cannot write {folder}: Permission denied" in done.stderr
        assert "SPARK_CLUSTER_FOLDER" in done.stderr
