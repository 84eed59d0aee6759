"""Line charts as SVG for a web page: they take its colours, in the light and in the dark."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any

import matplotlib
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jobs.runtime.text import four_digits

VARIABLES = {
    "#010101": "var(--ink)",
    "#020202": "var(--line)",
    **{f"#{number:02x}0303": f"var(--series-{number})" for number in range(1, 7)},
}
"""Colours that stand for the page's variables, which matplotlib does not know."""
SERIES = [colour for colour, variable in VARIABLES.items() if "series" in variable]
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12,
    "axes.edgecolor": "#020202",
    "axes.labelcolor": "#010101",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#020202",
    "grid.linewidth": 0.5,
    "text.color": "#010101",
    "xtick.color": "#010101",
    "ytick.color": "#010101",
}
SIDE = timedelta(hours=12)
"""Left and right of a single moment, which has no extent."""
Points = Sequence[tuple[Any, float]]


def line_chart(
    name: str,
    x_label: str,
    y_label: str,
    series: Mapping[str, Points],
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> str:
    """An SVG element with a line, and a mark per point, for each series; a lone point in figures.

    Args:
        name: unique on the page; the ids in the SVG begin with it, those of series with
            NAME-series-.
        x_label: what goes to the right; unused where points lie in time.
        y_label: what goes up, with its unit.
        series: (x, y) by label; x is a number or a datetime.
        limits: what y can be, which the axis does not leave.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(axis="y")
        in_time = False
        for number, ((label, points), colour) in enumerate(
            zip(series.items(), cycle(SERIES), strict=False)
        ):
            xs, ys = [x for x, _ in points], [y for _, y in points]
            in_time = in_time or any(isinstance(x, datetime) for x in xs)
            (line,) = axes.plot(xs, ys, marker="o", markersize=4, label=label, color=colour)
            line.set_gid(f"series-{number}")
            if len(points) == 1:
                axes.annotate(
                    four_digits(ys[0]),
                    (xs[0], ys[0]),
                    (8, 0),
                    textcoords="offset points",
                    va="center",
                )
        axes.set_ylabel(y_label)
        if in_time:
            times = [x for points in series.values() for x, _ in points]
            if min(times) == max(times):
                axes.set_xlim(times[0] - SIDE, times[0] + SIDE)
            locator = AutoDateLocator(minticks=3, maxticks=6)
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_xlabel(x_label)
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, limits[0]), min(high, limits[1]))
        figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _for_page(out.getvalue(), name)


def possible(unit: str) -> tuple[float, float]:
    """What a figure of that unit can be."""
    return (0, 100) if unit == "%" else (0, math.inf)


def _for_page(svg: str, name: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Ids of several charts would meet on one page.
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'(<svg [^>]*?)\bwidth="[^"]*" ', r"\1", svg)
    svg = re.sub(r'(<svg [^>]*?)\bheight="[^"]*" ', r"\1", svg)
    svg = svg.replace("'DejaVu Sans'", "system-ui, sans-serif")
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)
