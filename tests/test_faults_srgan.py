"""SRGAN's training survives the loss of ranks, executors, the driver and the disk."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
import torch
from conftest import StandaloneCluster, Submission, cluster_of, spark_submit
from faults import (
    RunningJob,
    executors_of,
    fill,
    on,
    processes_below,
    running_job,
    unplug,
    wait_until,
)
from safetensors.torch import load_file
from srgan_samples import write_samples

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STEPS = 120
RECIPE = (
    *("--phase", "srresnet", "--srresnet-steps", STEPS, "--residual-blocks", 1, "--channels", 8),
    *("--crop-size", 32, "--batch-size", 4, "--learning-rate", 1e-3),
    *("--log-every", 10, "--checkpoint-every", 20, "--validate-every", STEPS, "--pictures", 1),
)
ONE_RANK = {"spark": ("--master", "local[1]")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated training images."""
    return write_samples(tmp_path_factory.mktemp("pictures") / "train", 4, side=64)


@pytest.fixture(scope="module")
def clean(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    """An unbroken run on one rank."""
    run_dir = tmp_path_factory.mktemp("clean") / "run"
    done = spark_submit("train_srgan", "--data", data, *RECIPE, run_dir=run_dir, **ONE_RANK)
    assert done.code == 0, done.out + done.err
    return done


def model_of(done: Submission) -> dict[str, torch.Tensor]:
    return load_file(done.run_dir / "srresnet.safetensors")


def is_the_same(done: Submission, clean: Submission) -> None:
    """Bit for bit, which one rank on one core allows."""
    assert done.code == 0, done.out + done.err
    assert done.result["metrics"]["steps"] == STEPS
    expected = model_of(clean)
    for name, weights in model_of(done).items():
        assert torch.equal(weights, expected[name]), name


def is_close(done: Submission, clean: Submission) -> None:
    """Two ranks add their gradients in another order than one."""
    assert done.code == 0, done.out
    metrics, expected = done.result["metrics"], clean.result["metrics"]
    assert metrics["steps"] == STEPS
    last = [found["losses"]["srresnet"]["last"]["mse"] for found in (metrics, expected)]
    assert last[0] == pytest.approx(last[1], rel=0.05)


def at_checkpoint(job: RunningJob, step: int) -> None:
    job.wait_for((job.run_dir / "checkpoints" / f"0-srresnet-{step:09d}.pt.sha256").exists)


def ranks_below(ancestors: Sequence[psutil.Process]) -> list[psutil.Process]:
    """The processes that train and descend from one of these."""
    daemons = processes_below(ancestors, "pyspark.daemon")
    return [process for process in daemons if process.parent() in daemons]


def all_end(processes: Sequence[psutil.Process]) -> None:
    wait_until(lambda: not any(p.is_running() for p in processes), 30, f"orphans: {processes}")


@pytest.mark.parametrize("whom", ["rank", "executor"])
def test_a_killed_rank(
    whom: str, cluster: StandaloneCluster, data: Path, clean: Submission, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    with running_job("train_srgan", "--data", data, *RECIPE, run_dir=run_dir, **on(cluster)) as job:
        at_checkpoint(job, 40)
        executors = executors_of(cluster.master)
        mine = ranks_below(executors)
        assert len(mine) == 2
        (mine if whom == "rank" else executors)[1].kill()
        all_end(mine)
        done = job.end(180)
    is_close(done, clean)
    assert "the ranks failed" in done.out
    assert "restart 1 of 2, from the newest checkpoint" in done.out
    assert done.result["metrics"]["world_size"] == 2


def test_an_unplugged_worker(data: Path, clean: Submission, tmp_path: Path) -> None:
    options = ("--data", data, *RECIPE, "--executor-wait", 15)
    with (
        cluster_of(2, tmp_path / "cluster") as cluster,
        running_job("train_srgan", *options, run_dir=tmp_path / "run", **on(cluster)) as job,
    ):
        at_checkpoint(job, 40)
        unplug(cluster)
        done = job.end(180)
    is_close(done, clean)
    assert "only 1 of 2 executors came back within 15 s; going on with them" in done.out
    assert done.result["metrics"]["world_size"] == 1


def test_more_failures_than_restarts(
    data: Path, cluster: StandaloneCluster, tmp_path: Path
) -> None:
    options = ("--data", data, *RECIPE, "--max-restarts", 0)
    with running_job("train_srgan", *options, run_dir=tmp_path / "run", **on(cluster)) as job:
        at_checkpoint(job, 20)
        mine = ranks_below(executors_of(cluster.master))
        mine[0].kill()
        done = job.end(60)
    assert done.code == 1, done.out
    assert "the ranks failed 1 times, at last with" in done.error
    all_end(mine)


def test_a_killed_driver(data: Path, clean: Submission, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with running_job("train_srgan", "--data", data, *RECIPE, run_dir=run_dir, **ONE_RANK) as job:
        at_checkpoint(job, 40)
        mine = ranks_below([psutil.Process(job.pid)])
        assert len(mine) == 1
        job.kill_group()
        all_end(mine)
    assert not (run_dir / "result.json").exists()
    done = spark_submit("train_srgan", "--data", data, *RECIPE, run_dir=run_dir, **ONE_RANK)
    is_the_same(done, clean)


def test_sigterm_and_a_flipped_bit(data: Path, clean: Submission, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with running_job("train_srgan", "--data", data, *RECIPE, run_dir=run_dir, **ONE_RANK) as job:
        at_checkpoint(job, 40)
        time.sleep(0.2)
        os.kill(job.pid, signal.SIGTERM)
        done = job.end(60)
    assert done.code == 1, done.out
    assert "stopped by SIGTERM; run the same command again to continue" in done.error
    newest = sorted((run_dir / "checkpoints").glob("*.pt"))[-1]
    step = int(newest.stem[-9:])
    assert step > 40
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    again = spark_submit("train_srgan", "--data", data, *RECIPE, run_dir=run_dir, **ONE_RANK)
    is_the_same(again, clean)
    assert f"{newest.name}: damaged, so going on from" in again.out


def test_a_full_disk(data: Path, clean: Submission, small_disk: Path, tmp_path: Path) -> None:
    run_dir = small_disk / "run"
    with running_job("train_srgan", "--data", data, *RECIPE, run_dir=run_dir, **ONE_RANK) as job:
        at_checkpoint(job, 40)
        fill(small_disk)
        done = job.end(60)
    assert done.code == 1, done.out
    assert "No space left on device" in done.error
    assert "restart 1 of" not in done.out
    (small_disk / "filling").unlink()
    again = spark_submit("train_srgan", "--data", data, *RECIPE, run_dir=run_dir, **ONE_RANK)
    is_the_same(again, clean)


def test_a_loss_that_is_no_number(data: Path, tmp_path: Path) -> None:
    command = ("--data", data, *RECIPE, "--learning-rate", 1e38)
    done = spark_submit("train_srgan", *command, run_dir=tmp_path / "run", **ONE_RANK)
    assert done.code == 1, done.out + done.err
    assert "srresnet: the loss is" in done.out
    assert "from the beginning with 0.1 of the learning rate" in done.out
    assert "(batch " in done.error
    assert "with 0.1 of the learning rate as well" in done.error
