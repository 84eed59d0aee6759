"""LeNet on a real Master with two Workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import StandaloneCluster, spark_submit

pytestmark = pytest.mark.cluster
TWO_BY_ONE = ("--executor-cores", "1", "--executor-memory", "900m")


def test_trains_across_two_executors(
    cluster: StandaloneCluster, mnist: str, tmp_path: Path
) -> None:
    done = spark_submit(
        "train_lenet",
        *("--data", mnist, "--max-iterations", 60),
        run_dir=tmp_path / "run",
        profile="lab-2pc",
        spark=("--master", cluster.master, *TWO_BY_ONE, "--total-executor-cores", "2"),
        environment=cluster.environment,
    )
    assert done.code == 0, done.out + done.err
    result = done.result
    assert result["cluster"] == {
        "master": cluster.master,
        "executors": 2,
        "cores": 1,
        "memory": "900m",
        "gpus": 0,
    }
    assert result["metrics"]["top1_accuracy"] > 0.88


def test_missing_executors_are_counted(
    cluster: StandaloneCluster, small_mnist: Path, tmp_path: Path
) -> None:
    done = spark_submit(
        "train_lenet",
        *("--data", small_mnist, "--batch-size", 96, "--executor-wait", 20),
        run_dir=tmp_path / "run",
        profile="lab-2pc",
        spark=("--master", cluster.master, *TWO_BY_ONE, "--total-executor-cores", "3"),
        environment=cluster.environment,
    )
    assert done.code == 69, done.out + done.err
    assert "gave 2 of the 3 executors" in done.error
