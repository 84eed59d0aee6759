"""Results as terminal tables, JSON, CSV and a chart, in the study's folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from jobs.runtime.files import write_atomically
from jobs.runtime.strict_json import to_json
from jobs.runtime.tables import table
from mos_study.results import Rater, Results, as_json
from mos_study.store import StoredTrial
from mos_study.study import Study

RESULTS_FILE, CSV_FILE, CHART_FILE, TEXT_FILE = (
    "results.json",
    "ratings.csv",
    "mos.png",
    "results.md",
)
COLUMNS = (
    "rater",
    "name",
    "standing",
    "position",
    "kind",
    "set",
    "image",
    "method",
    "rating",
    "rated",
)


def write_results(
    folder: Path, study: Study, trials: Iterable[StoredTrial], results: Results
) -> None:
    """Write all files of the results; the chart only once there is a score."""
    write_atomically(folder / CSV_FILE, as_csv(study, trials, results))
    content = to_json(as_json(study, results), indent=2, ensure_ascii=False)
    write_atomically(folder / RESULTS_FILE, content + "\n")
    write_atomically(folder / TEXT_FILE, as_text(results) + "\n")
    if results.scores:
        draw(results, folder / CHART_FILE)


def as_csv(study: Study, trials: Iterable[StoredTrial], results: Results) -> str:
    """A line for each rating; calibration, repeats and raters who do not count are marked."""
    standing = {rater.rater: rater.standing for rater in results.raters}
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for trial in trials:
        if trial.rating is not None:
            image = study.images[trial.image]
            asked = (trial.rater, trial.name, standing[trial.rater], trial.position, trial.kind)
            rated = (image.set, image.name, trial.version, trial.rating, trial.rated)
            writer.writerow((*asked, *rated))
    return out.getvalue()


def as_text(results: Results) -> str:
    """Markdown tables."""
    counted = sum(rater.standing == "counted" for rater in results.raters)
    parts = [f"{counted} of {len(results.raters)} raters count.", ""]
    if results.scores:
        parts += [
            table(*table_of_scores(results)),
            "",
            table(
                ("comparison", "difference", "p", "p, adjusted", "p of ratings", "verdict"),
                (
                    (
                        f"{one.first} - {one.second}",
                        f"{one.difference:+.2f}",
                        *(f"{p:.3g}" for p in (one.p, one.p_adjusted, one.p_ratings)),
                        f"{one.first} is {one.verdict}"
                        if one.verdict in ("better", "worse")
                        else one.verdict,
                    )
                    for one in results.comparisons
                ),
            ),
            "",
        ]
    if results.raters:
        # Those who count first: the others stand apart.
        ordered = sorted(results.raters, key=lambda rater: rater.standing != "counted")
        parts.append(
            table(
                (
                    "rater",
                    "rated",
                    "calibration: original - nearest",
                    "repeats differ by",
                    "standing",
                ),
                map(_row, ordered),
            )
        )
    return "\n".join(parts).rstrip()


def table_of_scores(results: Results) -> tuple[Sequence[str], Iterable[Sequence[str]]]:
    """Header and lines of the scores of a MOS study; what was measured beside what people say."""
    header = ("set", "method", "MOS", "95 % interval", "raters", "ratings", "PSNR", "LPIPS")
    return header, (
        (
            score.set,
            score.method,
            f"{score.mos:.2f}",
            "" if score.low is None else f"{score.low:.2f} to {score.high:.2f}",
            str(score.raters),
            str(score.ratings),
            "" if score.psnr is None else f"{score.psnr:.2f} dB",
            "" if score.lpips is None else f"{score.lpips:.3f}",
        )
        for score in results.scores
    )


def draw(results: Results, path: Path) -> None:
    """Scores with their intervals, a panel for each image set."""
    sets = list(dict.fromkeys(score.set for score in results.scores))
    methods = list(dict.fromkeys(score.method for score in results.scores))
    figure = Figure(
        figsize=(1.2 + 3.2 * len(sets), 1.4 + 0.45 * len(methods)), layout="constrained"
    )
    panels = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
    for panel, name in zip(panels, sets, strict=True):
        own = [score for score in results.scores if score.set == name]
        for row, score in enumerate(own):
            if score.low is not None and score.high is not None:
                panel.plot((score.low, score.high), (row, row), color="#2563eb", linewidth=2)
            panel.plot(score.mos, row, "o", color="#2563eb")
            panel.annotate(
                f"{score.mos:.2f}",
                (score.mos, row),
                (0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
        panel.set_yticks(range(len(methods)), methods)
        panel.set_ylim(len(methods) - 0.4, -0.7)
        panel.set_xlim(0.9, 5.1)
        panel.set_xticks(range(1, 6))
        panel.grid(axis="x", color="#d1d5db", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.set_title(f"{name}, {own[0].raters} raters", fontsize=11)
        panel.set_xlabel("mean opinion score, 95 % interval")
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
    figure.savefig(path, dpi=150)


def _row(rater: Rater) -> tuple[str, ...]:
    def shown(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    return (
        rater.name,
        f"{rater.done} of {rater.total}",
        shown(rater.span),
        shown(rater.repeat_difference),
        rater.standing,
    )
