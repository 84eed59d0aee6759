"""The table and the chart of a scaling experiment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.shapes import Outcome, Shape
from jobs.runtime.tables import table

# What is counted, by job: the metric of speed, its unit, and the share of a step that goes into
# waiting for and talking to the others.
RATES = {"lenet": ("records_per_second", "records/s"), "srgan": ("crops_per_second", "crops/s")}
EXCHANGE: Mapping[str, Callable[[Mapping[str, Any]], float]] = {
    "lenet": lambda metrics: metrics["exchange_seconds"] / metrics["iteration_seconds"],
    "srgan": lambda metrics: metrics["allreduce_share"],
}
COMPUTE: Mapping[str, Callable[[Mapping[str, Any]], float]] = {
    "lenet": lambda metrics: metrics["compute_seconds"] / metrics["iteration_seconds"],
    "srgan": lambda metrics: 1 - metrics["allreduce_share"],
}


def summarise(
    what: str, outcomes: Sequence[Outcome], *, shares_this_machine: bool
) -> dict[str, Any]:
    """Everything the table and the chart show, from the smallest shape to the largest.

    Of several runs of a shape, the one with the median rate counts (of an even number the slower
    one in the middle), and the lowest and highest are shown beside it. Speed-up is the rate
    against that of the smallest shape that ended well; efficiency is the speed-up by the ratio of
    cores.
    """
    key, unit = RATES[what]
    by_shape = {shape: _sorted_by_rate(outcomes, shape, key) for shape in _shapes(outcomes)}
    middle = [runs[(len(runs) - 1) // 2] for runs in by_shape.values()]
    first = next((outcome for outcome in middle if outcome.code == 0), None)
    rows = []
    for outcome in middle:
        row: dict[str, Any] = {
            "executors": outcome.shape.executors,
            "cores": outcome.shape.cores,
            "error": None,
        }
        rows.append(row)
        if outcome.code or first is None:
            row["error"] = outcome.error
            continue
        metrics, options = outcome.metrics, outcome.result["options"]
        speed_up = metrics[key] / first.metrics[key]
        row.update(
            batch_size=options["batch_size"],
            seconds=metrics.get("wall_clock_seconds", outcome.result["seconds"]),
            rate=metrics[key],
            rates=[run.metrics[key] for run in by_shape[outcome.shape]],
            speed_up=speed_up,
            efficiency=speed_up * first.shape.total / outcome.shape.total,
            exchange_share=EXCHANGE[what](metrics),
            compute_share=COMPUTE[what](metrics),
            quality=_quality(metrics),
        )
    return {
        "what": what,
        "unit": unit,
        "machine_cores": len(os.sched_getaffinity(0)) if shares_this_machine else None,
        "versions": first.result["versions"] if first else None,
        "rows": rows,
    }


def _shapes(outcomes: Sequence[Outcome]) -> list[Shape]:
    return sorted({outcome.shape for outcome in outcomes})


def _sorted_by_rate(outcomes: Sequence[Outcome], shape: Shape, key: str) -> list[Outcome]:
    """The runs of a shape that ended well, else one that did not."""
    runs = [outcome for outcome in outcomes if outcome.shape == shape]
    good = [outcome for outcome in runs if outcome.code == 0]
    return sorted(good, key=lambda outcome: outcome.metrics[key]) or runs[:1]


def _quality(metrics: Mapping[str, Any]) -> str:
    if "top1_accuracy" in metrics:
        return f"{100 * metrics['top1_accuracy']:.2f} %"
    scores = metrics["test_sets"].items()
    return ", ".join(f"{name} {values['psnr_y']:.2f} dB" for name, values in scores) or "-"


def markdown(report: Mapping[str, Any]) -> str:
    """The experiment's table, one row for each shape."""
    header = ("executors x cores", "batch", "time", report["unit"], "speed-up", "efficiency")
    rows: list[Sequence[str]] = []
    for row in report["rows"]:
        shape = f"{row['executors']} x {row['cores']}"
        if row["error"] is not None:
            rows.append((shape, *[""] * 6, f"failed: {row['error']}"))
            continue
        spread = f" ({row['rates'][0]:.0f} to {row['rates'][-1]:.0f})" if row["rates"][1:] else ""
        rows.append(
            (
                shape,
                str(row["batch_size"]),
                f"{row['seconds']:.0f} s",
                f"{row['rate']:.0f}{spread}",
                f"{row['speed_up']:.2f}",
                f"{row['efficiency']:.2f}",
                f"{100 * row['exchange_share']:.0f} %",
                row["quality"],
            )
        )
    lines = [table((*header, "exchange", "result"), rows)]
    cores = report["machine_cores"]
    if cores is not None:
        lines += [
            "",
            f"All executors, the driver and the Master share this machine's {cores} cores.",
        ]
    return "\n".join(lines) + "\n"


def draw_chart(path: Path, report: Mapping[str, Any]) -> None:
    """Speed against cores beside the ideal line, and where the time of a step goes."""
    import matplotlib.pyplot as plt

    from benchmarks.charts import BLUE, GREY, ORANGE

    rows = [row for row in report["rows"] if row["error"] is None]
    figure, (speed, shares) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    names = [f"{row['executors']} x {row['cores']}" for row in rows]
    totals = [row["executors"] * row["cores"] for row in rows]
    if rows:
        ideal = rows[0]["rate"] / totals[0]
        span = [0, max(totals)]
        speed.plot(span, [ideal * cores for cores in span], "--", color=GREY, label="ideal")
    speed.plot(totals, [row["rate"] for row in rows], "o", color=BLUE, label="measured")
    for name, total, row in zip(names, totals, rows, strict=True):
        speed.annotate(
            f"{name}\n{100 * row['efficiency']:.0f} %",
            (total, row["rate"]),
            textcoords="offset points",
            xytext=(8, -14),
            fontsize=8,
        )
    speed.set(
        xlabel="cores of all executors", ylabel=report["unit"], xlim=(0, None), ylim=(0, None)
    )
    speed.set_xticks(sorted(set(totals)))
    speed.set_title("speed (and efficiency)")
    speed.legend(loc="upper left", frameon=False)

    compute = [100 * row["compute_share"] for row in rows]
    exchange = [100 * row["exchange_share"] for row in rows]
    rest = [max(0.0, 100 - one - two) for one, two in zip(compute, exchange, strict=True)]
    shares.bar(names, compute, color=BLUE, label="computing")
    shares.bar(names, exchange, bottom=compute, color=ORANGE, label="exchange between executors")
    both = [one + two for one, two in zip(compute, exchange, strict=True)]
    shares.bar(names, rest, bottom=both, color=GREY, label="scheduling and waiting")
    shares.set(xlabel="executors x cores", ylabel="% of an iteration", ylim=(0, 100))
    shares.set_title("where an iteration goes")
    shares.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3, frameon=False)
    for axes in (speed, shares):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
