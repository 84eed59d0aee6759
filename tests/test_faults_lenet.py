"""LeNet's training survives the loss of executors, Workers, the driver and the disk."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import fsspec
import pytest
from conftest import StandaloneCluster, Submission, cluster_of, spark_submit
from faults import RunningJob, executors_of, fill, on, running_job, unplug

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

LOCAL = ("--master", "local[2]")
EPOCHS = 4
# Epochs that are long enough to be hit.
RECIPE = ("--epochs", EPOCHS, "--batch-size", 16, "--learning-rate", 0.02)


def in_epoch(job: RunningJob, number: int) -> None:
    """Wait until the epoch has begun."""
    snapshot = job.run_dir / "snapshots" / f"epoch-{number - 1:04d}"
    job.wait_for(snapshot.exists)
    time.sleep(0.5)


@pytest.fixture(scope="module")
def clean(small_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    """An unbroken run."""
    run_dir = tmp_path_factory.mktemp("clean") / "run"
    done = spark_submit("train_lenet", "--data", small_mnist, *RECIPE, run_dir=run_dir, spark=LOCAL)
    assert done.code == 0, done.out + done.err
    return done


def is_as_good(done: Submission, clean: Submission) -> None:
    assert done.code == 0, done.out
    metrics, expected = done.result["metrics"], clean.result["metrics"]
    assert [entry["epoch"] for entry in metrics["history"]] == [1, 2, 3, 4]
    assert metrics["iterations"] == expected["iterations"]
    assert metrics["top1_accuracy"] == pytest.approx(expected["top1_accuracy"], abs=0.03)


def test_a_killed_executor(
    cluster: StandaloneCluster, hdfs: str, small_mnist: Path, clean: Submission, tmp_path: Path
) -> None:
    """With the run folder on HDFS; see the next test for a local one."""
    files, _ = fsspec.core.url_to_fs(hdfs)
    where = {**on(cluster), "run_dir": tmp_path / "run", "run_url": f"{hdfs}/runs/hurt"}
    where["environment"] = {**cluster.environment, "TMPDIR": str(tmp_path)}
    with running_job("train_lenet", "--data", small_mnist, *RECIPE, **where) as job:
        job.wait_for(lambda: files.exists("/runs/hurt/snapshots/epoch-0002"))
        time.sleep(0.5)
        executor = executors_of(cluster.master)[0]
        executor.kill()
        done = job.end(120)
    files.get_file("/runs/hurt/result.json", str(tmp_path / "run" / "result.json"))
    is_as_good(done, clean)
    assert "1 of 2 executors are gone" in done.out
    assert "resuming after epoch 2" in done.out


def test_an_unplugged_worker(small_mnist: Path, clean: Submission, tmp_path: Path) -> None:
    options = ("--data", small_mnist, *RECIPE, "--executor-wait", 15)
    with (
        cluster_of(2, tmp_path / "cluster") as cluster,
        running_job("train_lenet", *options, run_dir=tmp_path / "run", **on(cluster)) as job,
    ):
        in_epoch(job, 3)
        unplug(cluster)
        done = job.end(120)
    is_as_good(done, clean)
    assert "only 1 of 2 executors came back within 15 s; going on with them" in done.out
    assert "resuming after epoch 2" in done.out


def test_all_workers_gone(small_mnist: Path, tmp_path: Path) -> None:
    options = ("--data", small_mnist, *RECIPE, "--executor-wait", 15)
    with (
        cluster_of(2, tmp_path / "cluster") as cluster,
        running_job("train_lenet", *options, run_dir=tmp_path / "run", **on(cluster)) as job,
    ):
        in_epoch(job, 2)
        unplug(cluster)
        unplug(cluster)
        done = job.end(60)
    assert done.code == 69, done.out
    assert "gave 0 of the 2 executors" in done.error
    assert done.result["status"] == "failed"


def test_a_killed_driver(small_mnist: Path, clean: Submission, tmp_path: Path) -> None:
    options = ("--data", small_mnist, *RECIPE)
    run_dir = tmp_path / "run"
    with running_job("train_lenet", *options, run_dir=run_dir, spark=LOCAL) as job:
        in_epoch(job, 3)
        job.kill_group()
    assert not (run_dir / "result.json").exists()
    done = spark_submit("train_lenet", *options, run_dir=run_dir, spark=LOCAL)
    is_as_good(done, clean)
    assert "resuming after epoch 2" in done.out


@pytest.mark.parametrize(("whom", "name"), [("spark-submit", "SIGTERM"), ("group", "SIGHUP")])
def test_a_signal_to_end(
    whom: str, name: str, small_mnist: Path, clean: Submission, tmp_path: Path
) -> None:
    options = ("--data", small_mnist, *RECIPE)
    run_dir = tmp_path / "run"
    with running_job("train_lenet", *options, run_dir=run_dir, spark=LOCAL) as job:
        in_epoch(job, 2)
        send = os.killpg if whom == "group" else os.kill
        send(job.pid, signal.Signals[name])
        done = job.end(60)
    assert done.code == 1, done.out
    assert f"stopped by {name}; run the same command again to continue" in done.error
    assert done.result["error"] in done.error
    assert (run_dir / "snapshots" / "epoch-0002").exists()
    again = spark_submit("train_lenet", *options, run_dir=run_dir, spark=LOCAL)
    is_as_good(again, clean)
    assert "resuming after epoch 2" in again.out


def test_a_full_disk(small_mnist: Path, small_disk: Path, tmp_path: Path) -> None:
    options = ("--data", small_mnist, *RECIPE)
    run_dir = small_disk / "run"
    with running_job("train_lenet", *options, run_dir=run_dir, spark=LOCAL) as job:
        in_epoch(job, 2)
        fill(small_disk)
        done = job.end(60)
    assert done.code == 1, done.out
    assert "No space left on device" in done.error
    assert "make room" in done.error
    assert os.listdir(run_dir / "snapshots") == ["epoch-0001"]
    (small_disk / "filling").unlink()
    again = spark_submit("train_lenet", *options, run_dir=run_dir, spark=LOCAL)
    assert again.code == 0, again.out
    assert "resuming after epoch 1" in again.out


def test_a_loss_that_is_no_number(small_mnist: Path, tmp_path: Path) -> None:
    command = ("--data", small_mnist, "--epochs", 3, "--batch-size", 64)
    done = spark_submit(
        "train_lenet", *command, "--learning-rate", 1e38, run_dir=tmp_path / "a", spark=LOCAL
    )
    assert done.code == 1, done.out + done.err
    assert re.search(r"the loss of iteration \d+ \(batch \d+ of the epoch\) is (inf|nan)", done.out)
    assert "going on after epoch 0 with 0.1 of the learning rate" in done.out
    assert "with 0.1 of the learning rate as well; take a lower --learning-rate" in done.error
    assert not (tmp_path / "a" / "snapshots").exists()
