"""Who gets which GPU, and what is refused before the work, on machines without any."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from jobs import train_srgan
from jobs.evaluate_srgan import _score, _with_refusal
from jobs.runtime.cluster.master import check_room
from jobs.runtime.cluster.node import Node
from jobs.runtime.cluster.state import MASTER_FILE, WORKERS_FILE
from jobs.runtime.cluster.workers_file import Worker, read_workers
from jobs.runtime.errors import UnavailableError, UsageError
from jobs.runtime.gpu import device_of, local_gpus, rank_environment, task_device
from jobs.runtime.profile import Cluster
from jobs.runtime.ranks import _reason, plan_launch
from jobs.runtime.spark import local_gpu_properties, task_gpus

DISCOVER = Path(__file__).resolve().parents[1] / "scripts" / "discover_gpus.sh"


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "torch.AcceleratorError: CUDA error: no kernel image is available",
        "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp",
        "torch._inductor.exc.InductorError: InvalidCxxCompiler: No working C++ compiler",
        "torch._dynamo.exc.BackendCompilerFailed: backend='inductor' raised:",
        "RuntimeError: the usual kind",
    ],
)
def test_errors_of_cuda_are_named(line: str) -> None:
    """B2."""
    text = f"Job aborted\nTraceback (most recent call last):\n  File x\n{line}\n\tat java"
    error = SimpleNamespace(java_exception=SimpleNamespace(getMessage=lambda: text))
    kind, _, rest = line.partition(": ")
    assert _reason(error) == f"{kind.rpartition('.')[2]}: {rest}"  # type: ignore[arg-type]


def test_a_rank_sees_the_gpu_that_spark_gave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """B3: whatever the Worker's environment shows."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert rank_environment(["3"], 0, True)["CUDA_VISIBLE_DEVICES"] == "3"
    assert rank_environment(["3"], 0, True)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert rank_environment([], 0, False) == {"CUDA_VISIBLE_DEVICES": ""}
    assert device_of("3") == "cuda:1"
    with pytest.raises(UnavailableError, match="GPU 5 of .* which CUDA_VISIBLE_DEVICES=2,3 hides"):
        device_of("5")
    with mock.patch("torch.cuda.device_count", lambda: 2):
        # In local mode nobody gives one.
        assert rank_environment([], 1, True)["CUDA_VISIBLE_DEVICES"] == "3"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert device_of("3") == "cuda:3"


@pytest.mark.parametrize(
    ("environment", "addresses"),
    [
        ({"GPU_ADDRESSES": "5 7"}, ["5", "7"]),
        ({"GPU_ADDRESSES": "5 7", "GPU_FIRST": "1"}, ["7"]),
        ({"CUDA_VISIBLE_DEVICES": "2,3"}, ["2", "3"]),
        ({"GPU_ADDRESSES": "5", "GPU_FIRST": "1"}, None),
    ],
)
def test_a_worker_offers_its_own_gpus(
    environment: dict[str, str], addresses: list[str] | None
) -> None:
    """B3 and B4."""
    done = subprocess.run(
        [DISCOVER], env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True
    )
    found = json.loads(done.stdout)["addresses"] if done.returncode == 0 else None
    assert found == addresses


def test_workers_of_one_host_share_its_gpus(tmp_path: Path) -> None:
    """B4."""
    (tmp_path / "workers").write_text("pc1 2 2g 1\npc2 2 2g 1\nme@pc1 2 2g 2\n")
    assert [one.first_gpu for one in read_workers(tmp_path / "workers")] == [0, 0, 1]


def test_a_worker_is_not_promised_the_gpus_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B4: said before the Worker starts, of two GPUs whose first is another Worker's."""
    monkeypatch.setenv("GPU_ADDRESSES", "5 7")
    worker = Worker("worker-2", "localhost", 1, "1g", gpus=2, first_gpu=1)
    with pytest.raises(UnavailableError, match="worker-2: 2 GPUs promised, 1 found"):
        Node(tmp_path, "localhost").start_worker(worker, "spark://127.0.0.1:9", None)


def test_a_gpu_needs_a_core() -> None:
    """B5: Spark would ask for the second slot for ten minutes, in silence."""
    with pytest.raises(UsageError, match="2 GPUs and 1 cores"):
        plan_launch(Cluster("spark://h:7077", 1, 1, "1g", gpus=2), None)


def test_gpus_that_no_worker_has_are_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B6."""
    monkeypatch.setenv("SPARK_CLUSTER_FOLDER", str(tmp_path))
    (tmp_path / MASTER_FILE).write_text("spark://127.0.0.1:7077\n")
    (tmp_path / WORKERS_FILE).write_text("pc1 4 8g 1\npc2 4 8g\n")
    check_room(Cluster("spark://127.0.0.1:7077", 1, 4, "8g", gpus=1))
    with pytest.raises(UnavailableError, match="room for 1 of the 2 executors.*and 1 GPU that"):
        check_room(Cluster("spark://127.0.0.1:7077", 2, 4, "8g", gpus=1))


def test_local_mode_trains_on_the_gpus_of_this_machine() -> None:
    cluster = Cluster("local[4]", 1, 4, "1g")
    launch = plan_launch(cluster, None, local_gpus=2)
    assert (launch.ranks, launch.use_gpu, launch.properties["spark.task.cpus"]) == (2, True, "2")
    assert not plan_launch(cluster, None).use_gpu
    with pytest.raises(UsageError, match="2 GPUs.*--device cpu"):
        plan_launch(cluster, 3, local_gpus=2)


def test_a_training_looks_for_the_gpus_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    started: list[dict[str, str]] = []

    def start_spark(properties: dict[str, str]) -> None:
        started.append(properties)
        raise UnavailableError("far enough")

    for device, cores in ("auto", "8"), ("cpu", "1"):
        options = train_srgan.Options(data="data", phase="srresnet", device=device)
        run = SimpleNamespace(
            options=options, cluster=Cluster("local[16]", 1, 16, "1g"), start_spark=start_spark
        )
        with pytest.raises(UnavailableError, match="far enough"):
            train_srgan.work(run)  # type: ignore[arg-type]
        assert started[-1]["spark.task.cpus"] == cores


def test_tasks_of_local_mode_take_the_gpus_of_this_machine(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    caplog.set_level(logging.INFO)
    local = Cluster("local[16]", 1, 16, "1g")
    assert local_gpus(local, "auto") == 2
    assert "on the 2 GPUs of this machine; --device cpu takes its cores instead" in caplog.text
    assert local_gpus(local, "cpu") == 0
    assert local_gpus(Cluster("spark://h:7077", 1, 4, "1g"), "auto") == 0
    # Each process would load the network, on a GPU each.
    assert local_gpu_properties(local, 2) == {"spark.task.cpus": "2"}
    assert task_device(2) == f"cuda:{os.getpid() % 2}"
    assert task_device() == "cpu"


@pytest.mark.parametrize(
    ("cores", "gpus", "amount", "task_cores"),
    [(4, 1, "0.2500", "1"), (12, 1, "0.2500", "3"), (3, 2, "1", "1"), (6, 2, "0.3333", "1")],
)
def test_tasks_share_a_gpu(cores: int, gpus: int, amount: str, task_cores: str) -> None:
    cluster = Cluster("spark://h:7077", 1, cores, "1g", gpus=gpus)
    properties, _ = task_gpus(cluster, "auto")
    assert properties["spark.task.resource.gpu.amount"] == amount
    assert properties["spark.task.cpus"] == task_cores
    assert properties["spark.executorEnv.CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_an_image_that_cannot_be_judged_on_its_gpu_gives_an_error_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Spark would try an exception again, and lose its exit code."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    [found] = _with_refusal(_score(iter(()), 1, {}, None, None))
    assert isinstance(found, UnavailableError) and "Spark gave cuda:0" in str(found)
