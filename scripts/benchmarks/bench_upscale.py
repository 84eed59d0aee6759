"""Upscaling: the job on one and on two executors of a core, and a plain loop of torch.

Beside them the network alone, with two threads, and SPAN by ncnn, where that is installed (see
baselines/upscale_network.py).
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.baselines.upscale_network import UNAVAILABLE
from benchmarks.charts import bars_of
from benchmarks.measured import Measured, run_measured
from benchmarks.submitted import submit
from jobs.runtime.cluster.loopback import loopback_cluster
from jobs.runtime.files import ROOT
from jobs.runtime.tables import median_and_spread, table
from srgan.image_folder import read_images

SIDE = 192
PLAIN = "plain torch, one process of one thread"
NETWORKS = {
    "default": "default model, network alone",
    "fast": "model `fast`, network alone",
    "span": "SPAN by ncnn, network alone",
}
THREADS = 2
logger = logging.getLogger("benchmark")


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Each takes its turn, `options.rounds` times, on the same pictures."""
    work = folder / "upscale"
    shutil.rmtree(work, ignore_errors=True)
    megapixels = _write_pictures(work / "pictures", options.pictures)
    rates: dict[str, list[float]] = {"1": [], "2": [], PLAIN: []}
    networks: dict[str, list[float]] = {name: [] for name in NETWORKS}
    memory: dict[str, list[int]] = {name: [] for name in rates}
    with loopback_cluster(work / "cluster", 2, 1, "2g") as master:
        for number in range(options.rounds):
            for executors in (1, 2):
                rate, peak = _upscale(work, master, executors, f"{executors}-{number}")
                rates[str(executors)].append(rate)
                memory[str(executors)].append(peak)
            plain = _plain(work / "pictures")
            rates[PLAIN].append(megapixels / plain.seconds)
            memory[PLAIN].append(plain.peak_bytes)
            for name, of_network in networks.items():
                of_network += _network(name, work / "pictures")
            logger.info("round %d of %d: %s", number + 1, options.rounds, rates)
    report = {
        "pictures": options.pictures,
        "side": SIDE,
        "megapixels": megapixels,
        "rates": rates,
        "networks": networks,
        "peak_bytes": {name: max(peaks) for name, peaks in memory.items()},
    }
    draw_chart(folder / "upscale.png", report)
    return report


def markdown(report: dict[str, Any]) -> str:
    """A table of the job, and one of the networks alone."""
    pictures = f"{report['pictures']} pictures of {report['side']} x {report['side']}"
    header = (
        f"{pictures}, default model",
        "output megapixels/s",
        "to one executor",
        "to plain",
        "memory of a process",
    )
    medians = {name: statistics.median(rates) for name, rates in report["rates"].items()}
    rows = [
        (
            f"upscale.py, executors of one core: {name}" if name != PLAIN else PLAIN,
            median_and_spread(report["rates"][name]),
            f"{rate / medians['1']:.2f}",
            f"{rate / medians[PLAIN]:.2f}",
            f"{report['peak_bytes'][name] / 2**20:.0f} MiB",
        )
        for name, rate in medians.items()
    ]
    networks = {name: rates for name, rates in report["networks"].items() if rates}
    span = statistics.median(networks["span"]) if "span" in networks else None
    of_networks = [
        (
            NETWORKS[name],
            median_and_spread(rates),
            "not installed" if span is None else f"{statistics.median(rates) / span:.2f}",
        )
        for name, rates in networks.items()
    ]
    alone = table((f"{THREADS} threads", "output megapixels/s", "to SPAN"), of_networks)
    return f"{table(header, rows)}\n\n{alone}\n"


def _write_pictures(folder: Path, count: int) -> float:
    """Cut squares out of the sample pictures; millions of pixels of their upscaled versions."""
    folder.mkdir(parents=True)
    sources = read_images(str(ROOT / "data/sample/train"), SIDE).usable
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = sources[number % len(sources)].pixels
        top, left = (int(generator.integers(side - SIDE + 1)) for side in pixels.shape[:2])
        square = pixels[top : top + SIDE, left : left + SIDE]
        Image.fromarray(square).save(folder / f"{number}.png")
    return count * 16 * SIDE * SIDE / 1e6


def _upscale(work: Path, master: str, executors: int, name: str) -> tuple[float, int]:
    """Output megapixels per second, and bytes of the largest task."""
    done = submit(
        ROOT / "jobs" / "upscale.py",
        work / f"run-{name}",
        ("--input", work / "pictures", "--output", work / f"out-{name}"),
        profile="lab-2pc",
        master=master,
        conf=("--executor-cores", 1, "--total-executor-cores", executors),
        environment={"SPARK_CLUSTER_FOLDER": str(work / "cluster")},
        memory_of="deploy.worker.Worker",
    )
    return done.result["metrics"]["megapixels_per_second"], done.peak_bytes


def _plain(folder: Path) -> Measured:
    """From starting Python to the last file written."""
    program = Path(__file__).resolve().parent / "baselines" / "plain_upscale.py"
    return run_measured([sys.executable, program, folder, folder.parent / "plain"])


def _network(name: str, folder: Path) -> list[float]:
    """Output megapixels per second of a network alone; nothing where it is not installed."""
    program = Path(__file__).resolve().parent / "baselines" / "upscale_network.py"
    words = [sys.executable, str(program), name, str(folder), str(THREADS)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == UNAVAILABLE:
        return []
    done.check_returncode()
    return [float(done.stdout)]


def draw_chart(path: Path, report: Mapping[str, Any]) -> None:
    """Each side's median rate, with the range of its runs."""
    names = {"1": "1 executor", "2": "2 executors", PLAIN: "plain torch, 1 thread"}
    bars_of(
        path,
        {title: report["rates"][name] for name, title in names.items()},
        "output megapixels/s",
    )
