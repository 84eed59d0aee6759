"""Ranks get the GPUs that Spark gives them; the addresses are invented, the scheduling is real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import cluster_of, spark_submit
from srgan_samples import write_samples

pytestmark = pytest.mark.cluster


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPUs")
def test_a_gpu_that_torch_cannot_use_is_no_success(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_samples(tmp_path / "train", 4)
    folder = tmp_path_factory.mktemp("gpu-cluster")
    # Two executors of one GPU on one Worker: the second must be given another GPU than the first.
    monkeypatch.setenv("GPU_ADDRESSES", "5 7")
    with cluster_of(1, folder, cores=2, memory="2g", gpus=2) as cluster:
        on_gpus: dict[str, Any] = {
            "profile": "gpu-nodes",
            "spark": (
                *("--master", cluster.master, "--executor-cores", "1"),
                *("--executor-memory", "900m", "--total-executor-cores", "2"),
            ),
            "environment": cluster.environment,
        }
        done = spark_submit(
            "train_srgan",
            *("--data", tmp_path / "train", "--batch-size", 4, "--crop-size", 32),
            *("--phase", "srresnet", "--srresnet-steps", 2),
            run_dir=tmp_path / "run",
            **on_gpus,
        )
        upscaled = spark_submit(
            "upscale",
            *("--model", "bicubic", "--input", tmp_path / "train", "--output", tmp_path / "out"),
            run_dir=tmp_path / "upscale",
            **on_gpus,
        )
        evaluated = spark_submit(
            "evaluate_srgan",
            *("--models", "default", "--test-sets", tmp_path / "train"),
            run_dir=tmp_path / "evaluate",
            **on_gpus,
        )
    assert done.code == 69, done.out + done.err
    assert "Spark gave GPU 5 of" in done.error or "Spark gave GPU 7 of" in done.error
    assert "profile without GPUs" in done.error
    log = (done.run_dir / "log.txt").read_text(encoding="utf-8")
    assert "2 ranks, a GPU each" in log
    assert upscaled.code == 69, upscaled.out + upscaled.err
    assert "Spark gave cuda:5" in upscaled.error or "Spark gave cuda:7" in upscaled.error
    assert evaluated.code == 69, evaluated.out + evaluated.err
    assert "Spark gave cuda:" in evaluated.error
