"""The report as one HTML file that needs nothing else: no network, no other files."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from nights.night import read_nights

from jobs.runtime.run_folder import write_atomically
from reports import content
from reports.charts import line_chart
from reports.collect import RecordedRun, find_runs, last_lines

TEMPLATE_FOLDER = Path(__file__).parent
LATEST = 20
PICTURES = 4


def write_page(root: Path, output: Path) -> None:
    """Write the report of all runs below a folder."""
    write_atomically(output, render_page(root))


def render_page(root: Path) -> str:
    """The page's HTML."""
    runs = find_runs(root)
    nights = read_nights(root)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    judged = content.newest_with(runs, "pictures")
    confusion = content.newest_with(runs, "confusion")
    return environment.get_template("page.html.j2").render(
        written=datetime.now().astimezone(),
        night=nights[-1] if nights else None,
        latest=runs[: -LATEST - 1 : -1],
        history=[
            (name, title, unit, Markup(line_chart(name, "", unit, series)))
            for name, title, unit, series in content.history(runs)
        ],
        curves=[
            (name, title, unit, Markup(line_chart(name, x, unit, series)))
            for name, title, x, unit, series in content.learning_curves(runs)
        ],
        failures=[(run, last_lines(run)) for run in content.failures(runs)],
        confusion=confusion,
        judged=judged,
        pictures=_pictures(judged) if judged else [],
        scaling=content.scaling_tables(root),
        studies=content.studies(root),
        cluster=runs[-1].result["cluster"] if runs else None,
        versions=runs[-1].result["versions"] if runs else None,
    )


def _pictures(run: RecordedRun) -> Sequence[Mapping[str, Any]]:
    found = []
    for picture in run.metrics["pictures"][:PICTURES]:
        try:
            versions = {
                version: _data_url(run.folder / picture[version])
                for version in ("bicubic", "upscaled", "original")
            }
        except OSError:
            continue
        found.append({**picture, **versions})
    return found


def _data_url(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
