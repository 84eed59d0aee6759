"""A cluster, or its folder, that is not for everybody: said in one line, and in time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, StandaloneCluster, spark_submit, without_privileges


def test_a_job_without_the_secret_waits_no_longer_than_it_is_told(
    cluster: StandaloneCluster, small_mnist: Path, tmp_path: Path
) -> None:
    done = spark_submit(
        "train_lenet",
        *("--data", small_mnist, "--batch-size", 64, "--executor-wait", 5),
        run_dir=tmp_path / "run",
        profile="lab-2pc",
        spark=("--master", cluster.master),
        environment={"SPARK_CLUSTER_FOLDER": str(tmp_path)},
    )
    assert done.code == 69, done.out + done.err
    assert "does it demand a secret that this node lacks?" in done.error
    # Spark's own patience is a minute.
    assert done.result["seconds"] < 30


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
