"""How cost grows: with batch, number of images, size of an image, executors, tasks of a job."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from benchmarks.charts import BLUE
from benchmarks.submitted import Submitted, spark_submit, submit
from jobs.runtime.files import ROOT
from jobs.runtime.tables import table
from srgan.image_folder import read_images

PROBES = ROOT / "scripts" / "benchmarks" / "probes"
BATCH_SIZES = (32, 128, 512, 1024, 2048, 4096)
IMAGE_COUNTS = (100, 1000, 10000)
IMAGE_SIDE = 192
MEGAPIXELS = (0.05, 0.2, 0.8, 3, 12)
EXECUTORS = "1,2,3,4"
RECORDS_A_CORE = 1024
TASKS = "1,8,64,512"
IMAGES_LABEL = "SRGAN: training images of 192 x 192"
logger = logging.getLogger("benchmark")

Rows = list[dict[str, Any]]


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every series, from the smallest to the largest, `options.rounds` times; the best counts.

    The best of several: what is looked for is the shape of a curve, and whatever else the machine
    did makes a point only slower.
    """
    work = folder / "growth"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    series: dict[str, Callable[[], Rows]] = {
        "batch": lambda: [_lenet(options, work, size) for size in BATCH_SIZES],
        "images": lambda: [_images(work, count) for count in IMAGE_COUNTS],
        "megapixels": lambda: [_upscale(options, work, size) for size in MEGAPIXELS],
        "executors": lambda: _executors(options, work),
        "tasks": lambda: _empty_jobs(options),
    }
    report: dict[str, Any] = {"rounds": options.rounds}
    for name, measure in series.items():
        logger.info("%s: measuring", name)
        rounds = [measure() for _ in range(options.rounds)]
        report[name] = [
            max(rows, key=lambda row: row["rate"]) for rows in zip(*rounds, strict=True)
        ]
    draw_chart(folder / "growth.png", report)
    return report


def _submit(
    options: argparse.Namespace,
    job: str,
    run_dir: Path,
    *more: object,
    memory_of: str | None = None,
) -> Submitted:
    done = submit(
        ROOT / "jobs" / job,
        run_dir,
        ("--fresh", *more),
        profile=options.profile,
        master=options.master,
        memory_of=memory_of,
    )
    if done.code:
        sys.exit(done.code)
    return done


def _lenet(options: argparse.Namespace, work: Path, batch_size: int) -> dict[str, Any]:
    more = ("--data", options.data, "--batch-size", batch_size, "--epochs", 3)
    run_dir = work / f"batch-{batch_size}"
    done = _submit(options, "train_lenet.py", run_dir, *more, "--max-iterations", 150)
    metrics = done.result["metrics"]
    return {
        "batch_size": batch_size,
        "rate": metrics["records_per_second"],
        "iteration_seconds": batch_size / metrics["records_per_second"],
    }


def _images(work: Path, count: int) -> dict[str, Any]:
    folder = work / f"images-{count}"
    if not folder.exists():
        folder.mkdir()
        sources = read_images(str(ROOT / "data/sample/train"), IMAGE_SIDE).usable
        for number in range(count):
            copy = folder / f"{number}.png"
            if number < len(sources):
                square = sources[number].pixels[:IMAGE_SIDE, :IMAGE_SIDE]
                Image.fromarray(np.ascontiguousarray(square)).save(copy)
            else:
                shutil.copyfile(folder / f"{number % len(sources)}.png", copy)
    command = [sys.executable, str(PROBES / "srgan_images.py"), str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures = json.loads(done.stdout)
    return {"images": count, "rate": count / figures["seconds_to_read"], **figures}


def _upscale(options: argparse.Namespace, work: Path, megapixels: float) -> dict[str, Any]:
    name = f"{megapixels:g}-megapixels"
    (work / name).mkdir(exist_ok=True)
    height = round(math.sqrt(megapixels * 1e6 * 3 / 4))
    source = read_images(str(ROOT / "data/sample/train"), IMAGE_SIDE).usable[0].pixels
    size = (round(height * 4 / 3), height)
    Image.fromarray(source).resize(size, Image.Resampling.BICUBIC).save(work / name / "image.png")
    shutil.rmtree(work / f"{name}-out", ignore_errors=True)
    words = ("--input", work / name, "--output", work / f"{name}-out")
    done = _submit(options, "upscale.py", work / f"{name}-run", *words, memory_of="")
    rate = done.result["metrics"]["megapixels_per_second"]
    return {
        "megapixels": megapixels,
        "rate": rate,
        "seconds": 16 * megapixels / rate,
        "peak_memory_bytes": done.peak_bytes,
    }


def _executors(options: argparse.Namespace, work: Path) -> Rows:
    folder = work / "executors"
    shutil.rmtree(folder, ignore_errors=True)
    command = [
        *(sys.executable, str(ROOT / "scripts" / "scaling.py"), "lenet"),
        *("--executors", EXECUTORS, "--batch-per-core", str(RECORDS_A_CORE)),
        *("--data", options.data, "--out", str(folder), "--", "--epochs", "3"),
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    rows = json.loads((folder / "scaling.json").read_text(encoding="utf-8"))["rows"]
    keys = ("executors", "rate", "efficiency", "exchange_share", "compute_share")
    return [{key: row[key] for key in keys} for row in rows]


def _empty_jobs(options: argparse.Namespace) -> Rows:
    words = spark_submit(options.profile, options.master)
    command = [*words, str(PROBES / "empty_jobs.py"), TASKS]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    milliseconds = json.loads(done.stdout.strip().splitlines()[-1])
    return [
        {"tasks": int(count), "rate": 1000 / value, "milliseconds": value}
        for count, value in milliseconds.items()
    ]


COLUMNS: Mapping[str, Sequence[tuple[str, Callable[[Mapping[str, Any]], str]]]] = {
    "batch": (
        ("LeNet, records per iteration", lambda row: f"{row['batch_size']}"),
        ("records/s", lambda row: f"{row['rate']:.0f}"),
        ("ms per iteration", lambda row: f"{1000 * row['iteration_seconds']:.0f}"),
    ),
    "images": (
        ("SRGAN, training images of 192 x 192", lambda row: f"{row['images']}"),
        ("seconds to read", lambda row: f"{row['seconds_to_read']:.1f}"),
        ("memory of a rank", lambda row: f"{row['peak_memory_bytes'] / 2**30:.1f} GiB"),
        ("crops/s drawn", lambda row: f"{row['crops_per_second']:.0f}"),
    ),
    "megapixels": (
        ("upscale, megapixels of the image", lambda row: f"{row['megapixels']:g}"),
        ("seconds", lambda row: f"{row['seconds']:.1f}"),
        ("output megapixels/s", lambda row: f"{row['rate']:.2f}"),
        ("memory of a task", lambda row: f"{row['peak_memory_bytes'] / 2**30:.2f} GiB"),
    ),
    "executors": (
        ("LeNet, executors of a core", lambda row: f"{row['executors']}"),
        ("records/s", lambda row: f"{row['rate']:.0f}"),
        ("efficiency", lambda row: f"{row['efficiency']:.2f}"),
        ("exchange", lambda row: f"{100 * row['exchange_share']:.0f} %"),
        ("compute", lambda row: f"{100 * row['compute_share']:.0f} %"),
    ),
    "tasks": (
        ("Spark, empty tasks of a job", lambda row: f"{row['tasks']}"),
        ("ms per job", lambda row: f"{row['milliseconds']:.1f}"),
    ),
}


def markdown(report: dict[str, Any]) -> str:
    """A table for each series."""
    tables = []
    for name, columns in COLUMNS.items():
        rows = [[text(row) for _, text in columns] for row in report[name]]
        tables.append(table([title for title, _ in columns], rows) + "\n")
    return "\n".join(tables)


def draw_chart(path: Path, report: Mapping[str, Any]) -> None:
    """A panel for each series."""
    figure, panels = plt.subplots(3, 2, figsize=(10, 10), layout="constrained")
    batch, images, megapixels, executors, tasks, empty = panels.flat
    empty.set_axis_off()
    curves = (
        (batch, "batch", "batch_size", "rate", "LeNet: records per iteration", "records/s"),
        (images, "images", "images", "seconds_to_read", IMAGES_LABEL, "seconds to read"),
        (megapixels, "megapixels", "megapixels", "seconds", "upscale: megapixels", "seconds"),
        (executors, "executors", "executors", "rate", "LeNet: executors of a core", "records/s"),
        (tasks, "tasks", "tasks", "milliseconds", "Spark: empty tasks of a job", "ms per job"),
    )
    for axes, name, x, y, x_label, y_label in curves:
        rows = report[name]
        axes.plot([row[x] for row in rows], [row[y] for row in rows], marker="o", color=BLUE)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (batch, executors, tasks):
        axes.set_ylim(bottom=0)
    for axes in (images, megapixels):
        axes.set_yscale("log")
    for axes in (batch, images, megapixels, tasks):
        axes.set_xscale("log")
    executors.set_xticks([row["executors"] for row in report["executors"]])
    figure.savefig(path, dpi=130)
    plt.close(figure)
