"""LeNet on a real Master with two Workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import StandaloneCluster, cluster_of, spark_submit
from faults import on, unplug

pytestmark = pytest.mark.cluster


def test_trains_across_two_executors(
    cluster: StandaloneCluster, small_mnist: Path, tmp_path: Path
) -> None:
    done = spark_submit(
        "train_lenet",
        *("--data", small_mnist, "--batch-size", 64, "--max-iterations", 40),
        run_dir=tmp_path / "run",
        **on(cluster),
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
    assert result["metrics"]["top1_accuracy"] > 0.75


def test_missing_executors_are_counted(small_mnist: Path, tmp_path: Path) -> None:
    with cluster_of(2, tmp_path / "cluster") as cluster:
        unplug(cluster)
        done = spark_submit(
            "train_lenet",
            *("--data", small_mnist, "--executor-wait", 15),
            run_dir=tmp_path / "run",
            **on(cluster),
        )
    assert done.code == 69, done.out + done.err
    assert "gave 1 of the 2 executors" in done.error
