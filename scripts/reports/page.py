"""The report as one HTML file that needs nothing else: no network, no other files."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from jobs.runtime.files import write_atomically
from jobs.runtime.recorded.runs import RecordedRun, last_lines, search
from jobs.runtime.text import counted, four_digits
from nights.night import odd_nights, read_nights
from reports import content
from reports.charts import line_chart, possible

TEMPLATE_FOLDER = Path(__file__).parent
LATEST = 20
PICTURES = 4


def write_page(root: Path, output: Path) -> None:
    """Write the report of all runs below a folder."""
    write_atomically(output, render_page(root))


def render_page(root: Path) -> str:
    """The page's HTML."""
    runs, odd = search(root)
    nights = read_nights(root)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["four_digits"] = four_digits
    environment.filters["counted"] = counted
    environment.filters["figure"] = lambda value, form: "" if value is None else form % value
    judged = content.newest_with(runs, "pictures")
    confusion = content.newest_with(runs, "confusion")
    upscaled = content.newest_with(runs, "contact_sheet")
    return environment.get_template("page.html.j2").render(
        written=datetime.now().astimezone(),
        night=nights[-1] if nights else None,
        odd=[*odd_nights(root), *odd],
        latest=runs[: -LATEST - 1 : -1],
        history=[
            (name, title, unit, _chart(name, "", unit, series))
            for name, title, unit, series in content.history(runs)
        ],
        curves=[
            (name, title, unit, _chart(name, x, unit, series))
            for name, title, x, unit, series in content.learning_curves(runs)
        ],
        failures=[(run, last_lines(run)) for run in content.failures(runs)],
        confusion=confusion,
        judged=judged,
        pictures=_pictures(judged) if judged else [],
        upscaled=upscaled,
        contact_sheet=_contact_sheet(upscaled) if upscaled else None,
        scaling=content.scaling_tables(root),
        studies=content.studies(root),
        cluster=runs[-1].result.get("cluster") if runs else None,
        versions=runs[-1].result.get("versions", {}) if runs else {},
    )


def _chart(name: str, x: str, unit: str, series: content.Series) -> Markup:
    return Markup(line_chart(name, x, unit, series, limits=possible(unit)))


def _pictures(run: RecordedRun) -> Sequence[Mapping[str, Any]]:
    found = []
    for picture in run.metrics["pictures"][:PICTURES]:
        try:
            versions = {
                version: _data_url(run.folder, picture[version])
                for version in ("bicubic", "upscaled", "original")
            }
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found.append({**picture, **versions})
    return found


def _contact_sheet(run: RecordedRun) -> str | None:
    try:
        return _data_url(run.folder, run.metrics["contact_sheet"], "image/jpeg")
    except (OSError, ValueError):
        return None


def _data_url(folder: Path, name: str, kind: str = "image/png") -> str:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError("a picture of somewhere else")
    return f"data:{kind};base64," + base64.b64encode(path.read_bytes()).decode()
