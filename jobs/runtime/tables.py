"""Markdown tables, for terminals and chats; apart from what takes seconds to import."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jobs.runtime.recorded.runs import RecordedRun


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns are as wide as their widest cell."""
    lines = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    template = "| " + " | ".join(f"{{:{width}}}" for width in widths) + " |"
    return "\n".join(template.format(*line) for line in lines)


def table_of_runs(runs: Sequence[RecordedRun]) -> str:
    """A line a run."""
    return table(
        ("run", "job", "began", "time", "result", "speed"),
        (
            (
                run.name,
                run.job,
                f"{run.started.astimezone():%Y-%m-%d %H:%M}",
                f"{run.seconds:.0f} s",
                ("" if run.is_ok else "FAILED: ") + run.quality,
                "{:.4g} {}".format(*run.rate) if run.rate else "",
            )
            for run in runs
        ),
    )
