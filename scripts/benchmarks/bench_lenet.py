"""LeNet5: the experiment's recipe, the tuned one, and the tuned one in PyTorch, side by side."""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from benchmarks.charts import BLUE, GREY, ORANGE
from benchmarks.submitted import submit
from jobs.runtime.files import ROOT
from jobs.runtime.tables import median_and_spread, table
from lenet.recipe import Recipe

BASELINES = ROOT / "scripts" / "benchmarks" / "baselines"
GOAL = 0.9857
"""The experiment's run on four PCs: 15 epochs of 1875 iterations reached this."""
SEED_ITERATIONS = 28125
LARGE_BATCH = 2048
SHORT_EPOCHS = 3
"""Enough for a rate: the first epoch warms up."""
SIDES = {
    "seed": "BigDL, seed recipe, batch 32",
    "tuned": "BigDL, batch 512",
    "ddp": "PyTorch DDP under Spark, batch 512",
    "plain": "PyTorch, one process, batch 512",
    "tuned-2048": "BigDL, batch 2048",
    "ddp-2048": "PyTorch DDP under Spark, batch 2048",
    "plain-2048": "PyTorch, one process, batch 2048",
}
logger = logging.getLogger("benchmark")


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every side in turn, `options.rounds` times, each a process of its own."""
    seed = (
        *("--config", str(ROOT / "conf/lenet-seed.toml")),
        *("--max-iterations", str(options.seed_iterations)),
    )
    large = ("--batch-size", str(LARGE_BATCH), "--epochs", str(SHORT_EPOCHS))
    recipe = Recipe()
    bigdl, torch = ROOT / "jobs/train_lenet.py", BASELINES / "train_torch_lenet.py"
    sides: dict[str, Callable[[Path], dict[str, Any]]] = {
        "seed": lambda run_dir: _submit(options, bigdl, run_dir, *seed),
        "tuned": lambda run_dir: _submit(options, bigdl, run_dir),
        "ddp": lambda run_dir: _submit(options, torch, run_dir),
        "plain": lambda run_dir: _plain(options, run_dir, recipe.batch_size, recipe.epochs),
        "tuned-2048": lambda run_dir: _submit(options, bigdl, run_dir, *large),
        "ddp-2048": lambda run_dir: _submit(options, torch, run_dir, *large),
        "plain-2048": lambda run_dir: _plain(options, run_dir, LARGE_BATCH, SHORT_EPOCHS),
    }
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    result: dict[str, Any] = {}
    for number in range(1, options.rounds + 1):
        for side, run in sides.items():
            logger.info("round %d of %d: %s", number, options.rounds, SIDES[side])
            done = run(folder / "lenet" / f"{side}-{number}")
            result = result or done
            runs[side].append(_figures(side, done["metrics"]))
    report = {
        "cluster": result["cluster"],
        "versions": result["versions"],
        "rounds": options.rounds,
        "runs": runs,
        "medians": {
            side: {key: _median(run[key] for run in of_side) for key in of_side[0]}
            for side, of_side in runs.items()
        },
    }
    draw_chart(folder / "lenet.png", report)
    return report


def _submit(options: argparse.Namespace, job: Path, run_dir: Path, *more: str) -> dict[str, Any]:
    words = ("--data", options.data, "--fresh", *more)
    done = submit(job, run_dir, words, profile=options.profile, master=options.master)
    if done.code:
        sys.exit(done.code)
    return dict(done.result)


def _plain(
    options: argparse.Namespace, run_dir: Path, batch_size: int, epochs: int
) -> dict[str, Any]:
    run_dir.mkdir(parents=True, exist_ok=True)
    result = run_dir / "result.json"
    words = (batch_size, epochs, options.threads, options.data, result)
    command = [sys.executable, str(BASELINES / "plain_lenet.py"), *map(str, words)]
    subprocess.run(command, check=True)
    return json.loads(result.read_text(encoding="utf-8"))


def _figures(side: str, metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """What is compared of one run; times in seconds, None where a side has no such thing."""
    iteration, exchange = metrics["iteration_seconds"], metrics.get("exchange_seconds")
    to_goal = _seconds_to_goal(side, metrics)
    compute = metrics.get("compute_seconds", iteration - (exchange or 0.0))
    return {
        "records_per_second": metrics["records_per_second"],
        "iteration_seconds": iteration,
        "compute_seconds": compute,
        "exchange_seconds": exchange,
        "rest_seconds": max(0.0, iteration - compute - (exchange or 0.0)),
        "setup_seconds": metrics["setup_seconds"],
        "seconds_to_goal": to_goal,
        "command_to_goal": None if to_goal is None else metrics["setup_seconds"] + to_goal,
        "top1_accuracy": metrics["top1_accuracy"] if side in ("tuned", "ddp", "plain") else None,
    }


def _seconds_to_goal(side: str, metrics: Mapping[str, Any]) -> float | None:
    if side == "seed":
        return metrics["wall_clock_seconds"] / metrics["iterations"] * SEED_ITERATIONS
    seconds = 0.0
    for entry in metrics["history"]:
        seconds += entry["seconds"]
        if entry.get("test_accuracy", 0.0) >= GOAL:
            return seconds
    return None


def _median(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def markdown(report: dict[str, Any]) -> str:
    """The comparison as a table."""
    medians, runs, cluster = report["medians"], report["runs"], report["cluster"]
    shape = f"{cluster['master']}, {cluster['executors']} x {cluster['cores']} cores"
    header = (
        f"{shape}, {report['rounds']} rounds",
        "records/s",
        "ms per iteration",
        "compute",
        "exchange",
        "Spark",
        "to first iteration",
        "from there to 98.57 %",
        "in all",
        "accuracy",
    )
    rows = []
    for side, title in SIDES.items():
        row = medians[side]
        cells = [
            title,
            median_and_spread([run["records_per_second"] for run in runs[side]], ".0f"),
            *(
                _cell(row[f"{part}_seconds"], 1000, "{:.1f}")
                for part in ("iteration", "compute", "exchange", "rest")
            ),
            _cell(row["setup_seconds"], 1, "{:.1f} s"),
            _cell(row["seconds_to_goal"], 1, "{:.1f} s"),
            _cell(row["command_to_goal"], 1, "{:.1f} s"),
            _cell(row["top1_accuracy"], 100, "{:.2f} %"),
        ]
        rows.append(cells)
    return f"{table(header, rows)}\n\n" + "\n".join(_ratios(medians)) + "\n"


def _ratios(medians: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    lines = []
    seed, tuned = medians["seed"]["seconds_to_goal"], medians["tuned"]["seconds_to_goal"]
    if tuned:
        lines.append(f"- Time to 98.57 %: {seed / tuned:.0f} times shorter than the seed recipe.")
    for batch, suffix in (("512", ""), (str(LARGE_BATCH), f"-{LARGE_BATCH}")):
        ratio = (
            medians[f"tuned{suffix}"]["records_per_second"]
            / medians[f"ddp{suffix}"]["records_per_second"]
        )
        lines.append(f"- Records/s at batch {batch}: {ratio:.2f} of PyTorch DDP on the same cores.")
    lines.append(f"- The seed recipe's time is that of an iteration times {SEED_ITERATIONS}.")
    return lines


def _cell(value: float | None, factor: float, form: str) -> str:
    return "" if value is None else form.format(factor * value)


def draw_chart(path: Path, report: Mapping[str, Any]) -> None:
    """Where the time of an iteration goes, per 1000 records so that batches compare."""
    medians = report["medians"]
    sides = [side for side in reversed(SIDES) if side in medians]
    figure, axes = plt.subplots(figsize=(8, 0.5 * len(sides) + 1), layout="constrained")
    left = [0.0] * len(sides)
    parts = (("compute", BLUE), ("exchange", ORANGE), ("rest", GREY))
    for part, colour in parts:
        values = []
        for side in sides:
            row = medians[side]
            records = row["records_per_second"] * row["iteration_seconds"]
            values.append(1e6 * (row[f"{part}_seconds"] or 0.0) / records)
        label = "Spark and the rest" if part == "rest" else part
        axes.barh([SIDES[side] for side in sides], values, left=left, color=colour, label=label)
        left = [sum(pair) for pair in zip(left, values, strict=True)]
    axes.set_xlabel("milliseconds for 1000 records")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
