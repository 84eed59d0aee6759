"""The programs that the jobs are compared with do the same work, and the comparisons add up."""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from PIL import Image

from benchmarks import bench_gpu, bench_growth, bench_lenet, bench_upscale
from benchmarks.measured import run_measured
from jobs.runtime.errors import UnavailableError

BASELINES = ROOT / "scripts" / "benchmarks" / "baselines"
PROBES = ROOT / "scripts" / "benchmarks" / "probes"


def run_program(*words: object) -> str:
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_lenet_in_torch_learns(small_mnist: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    run_program(BASELINES / "plain_lenet.py", 64, 4, 2, small_mnist, result)
    metrics = json.loads(result.read_text())["metrics"]
    assert metrics["top1_accuracy"] > 0.88
    assert [entry["epoch"] for entry in metrics["history"]] == [1, 2, 3, 4]
    assert metrics["records_per_second"] == pytest.approx(64 / metrics["iteration_seconds"])
    assert 0 < metrics["setup_seconds"] < 100


@pytest.mark.slow
def test_lenet_in_torch_on_two_ranks(small_mnist: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    subprocess.run(
        [
            *("spark-submit", "--properties-file", ROOT / "conf" / "local.conf"),
            *("--master", "local[2]", BASELINES / "train_torch_lenet.py", "--data", small_mnist),
            *("--batch-size", "64", "--epochs", "4", "--run-dir", run_dir),
        ],
        timeout=200,
        check=True,
    )
    metrics = json.loads((run_dir / "result.json").read_text())["metrics"]
    assert metrics["ranks"] == 2
    assert metrics["top1_accuracy"] > 0.88
    assert metrics["exchange_seconds"] >= 0


def test_srgan_steps_on_one_rank() -> None:
    figures = json.loads(run_program(PROBES / "srgan_steps.py", 2, 1, 1))
    assert figures["crops_per_second"] > 0
    assert figures["waiting_share"] == 0
    assert figures["peak_memory_bytes"] > 2**27


def test_images_of_which_crops_are_drawn(tmp_path: Path) -> None:
    Image.new("RGB", (200, 120)).save(tmp_path / "a.png")
    figures = json.loads(run_program(PROBES / "srgan_images.py", tmp_path))
    assert figures["crops_per_second"] > 0
    assert figures["seconds_to_read"] > 0


def test_sections_of_a_gpu_on_a_cpu(tmp_path: Path) -> None:
    report = bench_gpu.compare(argparse.Namespace(tiny=True), tmp_path)
    assert json.loads((tmp_path / "gpu.json").read_text()) == json.loads(json.dumps(report))
    sections = report["sections"]
    assert not [name for name, found in sections.items() if "failed" in found]
    if not torch.cuda.is_available():
        assert set(sections["losses beside the CPU's"].values()) == {0.0}
        assert set(sections["checkpoints"].values()) == {0.0}
        assert sections["upscaling"]["default, grey levels to the CPU"] == 0
        assert "| a CPU, tiny, torch" in bench_gpu.markdown(report)
        with pytest.raises(UnavailableError, match="no GPU here; --tiny"):
            bench_gpu.compare(argparse.Namespace(tiny=False), tmp_path)
    assert sections["steps"]["SRResNet, bf16, batch 4"]["crops/s"] > 0


def test_peak_memory_of_what_a_program_starts() -> None:
    child = "data = b'x' * (300 << 20); import time; time.sleep(1.5)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    measured = run_measured([sys.executable, "-c", parent])
    assert 300 << 20 < measured.peak_bytes < 600 << 20
    assert measured.seconds > 1.5
    with pytest.raises(subprocess.CalledProcessError):
        run_measured([sys.executable, "-c", "raise SystemExit(3)"])


def lenet_metrics(seconds: float, accuracies: list[float]) -> dict[str, Any]:
    history = [
        {"epoch": number, "seconds": seconds, "test_accuracy": accuracy}
        for number, accuracy in enumerate(accuracies, 1)
    ]
    return {
        "records_per_second": 1000.0,
        "iteration_seconds": 0.1,
        "compute_seconds": 0.06,
        "exchange_seconds": 0.01,
        "setup_seconds": 8.0,
        "top1_accuracy": accuracies[-1],
        "wall_clock_seconds": 5.0,
        "iterations": 100,
        "history": history,
    }


def test_lenet_figures() -> None:
    metrics = lenet_metrics(20.0, [0.97, 0.9857, 0.99])
    tuned = bench_lenet._figures("tuned", metrics)
    assert tuned["seconds_to_goal"] == 40.0
    assert tuned["rest_seconds"] == pytest.approx(0.03)
    assert bench_lenet._figures("seed", metrics)["seconds_to_goal"] == pytest.approx(0.05 * 28125)
    assert bench_lenet._figures("ddp", lenet_metrics(20.0, [0.9]))["seconds_to_goal"] is None


def one_space(table: str) -> str:
    return re.sub(" +", " ", table)


def test_lenet_report(tmp_path: Path) -> None:
    runs = {
        side: [bench_lenet._figures(side, lenet_metrics(20.0, [0.99]))]
        for side in bench_lenet.SIDES
    }
    report = {
        "cluster": {"master": "local[2]", "executors": 1, "cores": 2},
        "rounds": 1,
        "runs": runs,
        "medians": {side: of_side[0] for side, of_side in runs.items()},
    }
    table = bench_lenet.markdown(report)
    assert "70 times shorter" in table
    assert "batch 2048: 1.00 of PyTorch DDP" in table
    bench_lenet.draw_chart(tmp_path / "chart.png", report)
    with Image.open(tmp_path / "chart.png") as chart:
        assert chart.width > 1000


def test_growth_report(tmp_path: Path) -> None:
    report = {
        "batch": [{"batch_size": 32, "rate": 640.0, "iteration_seconds": 0.05}],
        "images": [
            {"images": 100, "seconds_to_read": 1, "peak_memory_bytes": 2**30, "crops_per_second": 9}
        ],
        "megapixels": [{"megapixels": 12, "seconds": 9.0, "rate": 0.5, "peak_memory_bytes": 2**29}],
        "executors": [
            {
                **{"executors": 4, "rate": 9.0, "efficiency": 0.5},
                **{"exchange_share": 0.1, "compute_share": 0.6},
            }
        ],
        "tasks": [{"tasks": 512, "milliseconds": 300.0}],
    }
    table = one_space(bench_growth.markdown(report))
    for row in (
        "| 32 | 640 | 50 |",
        "| 100 | 1.0 | 1.0 GiB | 9 |",
        "| 12 | 9.0 | 0.50 | 0.50 GiB |",
    ):
        assert row in table
    bench_growth.draw_chart(tmp_path / "chart.png", report)
    assert (tmp_path / "chart.png").stat().st_size > 10_000


def test_network_alone(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    assert float(run_program(BASELINES / "upscale_network.py", "default", tmp_path, 1)) > 0


def test_upscale_report(tmp_path: Path) -> None:
    report = {
        **{"pictures": 2, "side": 192, "megapixels": 1.2},
        "rates": {"1": [1.0], "2": [1.8, 1.9], bench_upscale.PLAIN: [0.5]},
        "networks": {"default": [3.0, 5.0], "fast": [], "span": [2.0]},
        "peak_bytes": {"1": 2**28, "2": 2**28, bench_upscale.PLAIN: 2**29},
    }
    table = one_space(bench_upscale.markdown(report))
    assert "| 1.85 (1.80 to 1.90) | 1.85 | 3.70 | 256 MiB |" in table
    assert "| default model, network alone | 4.00 (3.00 to 5.00) | 2.00 |" in table
    report["networks"]["span"] = []
    assert "| 4.00 (3.00 to 5.00) | not installed |" in one_space(bench_upscale.markdown(report))
    bench_upscale.draw_chart(tmp_path / "chart.png", report)
    assert math.isclose(Image.open(tmp_path / "chart.png").width, 1200, rel_tol=0.1)
