"""Runs as Markdown tables, for terminals and chats."""

from __future__ import annotations

from pathlib import Path

from jobs.runtime.recorded.runs import last_lines, search, table_of_runs
from jobs.runtime.tables import table
from jobs.runtime.text import number
from mos_study.output import table_of_scores
from nights.night import odd_nights, read_nights
from reports import content

LATEST = 20


def render_text(root: Path) -> str:
    """The report of all runs below a folder."""
    runs, odd = search(root)
    parts = ["# Deep learning jobs", ""]
    nights = read_nights(root)
    if nights:
        folder, night = nights[-1]
        failed = [job for job in night["jobs"] if job["code"] != 0]
        parts.append(
            f"The night of {folder.name[:10]}: {len(failed)} of {len(night['jobs'])} failed"
        )
        parts += [f"- {job['name']}: {job['error']}" for job in failed]
        parts += [f"- worse than usual: {line}" for line in night["regressions"]]
        parts.append("")
    parts += ["## Latest runs", "", table_of_runs(runs[: -LATEST - 1 : -1]) if runs else "none", ""]
    odd = [*odd_nights(root), *odd]
    if odd:
        parts += ["## Left out", "", *(f"- {line}" for line in odd), ""]
    for run in content.failures(runs):
        log = ("    " + line for line in last_lines(run, 5))
        parts += [f"## {run.name} failed", "", str(run.result["error"]), "", *log, ""]
    for name, scaling in content.scaling_tables(root):
        rows = [
            (
                f"{row['executors']} x {row['cores']}",
                row["error"] or number(row["rate"], ".4g"),
                "" if row["error"] else number(row["efficiency"], ".2f"),
            )
            for row in scaling["rows"]
        ]
        parts += [f"## {name}", "", table(("executors x cores", "rate", "efficiency"), rows), ""]
    for name, results in content.studies(root):
        parts += [f"## {name}: mean opinion scores", "", table(*table_of_scores(results)), ""]
    return "\n".join(parts)
