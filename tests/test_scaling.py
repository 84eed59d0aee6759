"""The scaling experiment on a loopback cluster: table, a shape that fails, a second call."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image
from srgan_samples import write_samples

from benchmarks.scaling_report import markdown, summarise
from benchmarks.shapes import Outcome, Shape

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
EXPERIMENT_SECONDS = 300


def scaling(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "scaling.py", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=EXPERIMENT_SECONDS,
        check=False,
    )


def test_lenet_on_three_shapes(small_mnist: Path, tmp_path: Path) -> None:
    # 64 records do not divide among 3 executors: that shape fails, and the others go on.
    words = (
        *("lenet", "--executors", "1,2,3", "--data", small_mnist, "--out", tmp_path),
        *("--", "--epochs", 1, "--batch-size", 64),
    )
    done = scaling(*words)
    assert done.returncode == 1, done.stdout + done.stderr
    one, two, three = json.loads((tmp_path / "scaling.json").read_text())["rows"]
    assert (one["executors"], two["executors"], three["executors"]) == (1, 2, 3)
    assert (one["speed_up"], one["efficiency"]) == (1, 1)
    assert two["efficiency"] == pytest.approx(two["rate"] / one["rate"] / 2)
    for row in (one, two):
        assert 0 < row["exchange_share"] < 1
        assert 0 < row["compute_share"] < 1
        assert row["batch_size"] == 64
    assert "--batch-size 64 does not divide among 3 executors" in three["error"]
    table = (tmp_path / "table.md").read_text()
    assert table in done.stdout
    assert re.search(r"^\| 3 x 1 .*\| failed: ", table, re.MULTILINE), table
    with Image.open(tmp_path / "scaling.png") as chart:
        assert chart.width > 1000

    before = {path: path.read_bytes() for path in tmp_path.glob("*/result.json")}
    again = scaling(*words)
    assert again.stdout.count("already done") == 2
    for shape in ("1x1", "2x1"):
        path = tmp_path / shape / "result.json"
        assert path.read_bytes() == before[path]
    assert (tmp_path / "table.md").read_text() == table


def test_srgan_on_two_ranks(tmp_path: Path) -> None:
    write_samples(tmp_path / "train", 4)
    done = scaling(
        *("srgan", "--ranks", 2, "--recipe", ROOT / "conf" / "srgan-tiny.toml"),
        *("--data", tmp_path / "train", "--out", tmp_path / "out", "--batch-per-core", 2),
        *("--", "--srresnet-steps", 4, "--crop-size", 32, "--channels", 8, "--log-every", 2),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads((tmp_path / "out" / "scaling.json").read_text())["rows"]
    assert (row["executors"], row["cores"], row["batch_size"]) == (2, 1, 4)
    assert row["rate"] > 0
    assert 0 <= row["exchange_share"] < 1


def test_no_cluster(tmp_path: Path) -> None:
    done = scaling(
        *("lenet", "--executors", 1, "--master", "spark://127.0.0.1:9", "--out", tmp_path)
    )
    assert done.returncode == 1
    assert "no Spark master answers at spark://127.0.0.1:9" in done.stdout


def test_of_several_runs_of_a_shape_the_median_counts() -> None:
    options = {"batch_size": 64}

    def run(executors: int, rate: float) -> Outcome:
        metrics = {
            **{"records_per_second": rate, "wall_clock_seconds": 1.0, "top1_accuracy": 0.5},
            **{"iteration_seconds": 1.0, "exchange_seconds": 0.1, "compute_seconds": 0.8},
        }
        result = {"metrics": metrics, "options": options, "versions": {}, "seconds": 2.0}
        return Outcome(Shape.of(executors, 1), 0, result)

    failed = Outcome(Shape.of(2, 1), 69, {"error": "no executor"})
    outcomes = [run(1, 100), run(2, 150), run(1, 300), run(2, 190), run(1, 110), failed]
    report = summarise("lenet", outcomes, shares_this_machine=True)
    one, two = report["rows"]
    assert (one["rate"], one["rates"]) == (110, [100, 110, 300])
    assert (two["rate"], two["rates"]) == (150, [150, 190])
    assert two["efficiency"] == pytest.approx(150 / 110 / 2)
    assert "| 110 (100 to 300) |" in markdown(report)
