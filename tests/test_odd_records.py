"""Whatever result.json, night.json or scaling.json hold, the report and the night go on."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.runtime.recorded.retention import superfluous
from jobs.runtime.recorded.runs import find_runs, search
from nights.config import Nightly, NightlyJob
from nights.night import odd_nights, read_nights
from nights.regressions import find_regressions
from reports.page import render_page
from reports.text import render_text

SCORES = {"psnr_y": 28.0, "ssim_y": 0.9, "lpips": 0.2}
PICTURE = {
    **{"image": "Set5 a", "method": "ours", "psnr_y": 29.0, "bicubic_psnr_y": 28.0},
    **{"bicubic": "b.png", "upscaled": "u.png", "original": "o.png"},
}
RESULT: dict[str, Any] = {
    "job": "train_lenet",
    "status": "ok",
    "error": None,
    "started": "2026-11-01T02:00:00+00:00",
    "seconds": 100.0,
    "options": {"epochs": 3},
    "cluster": {"master": "local[2]", "executors": 1, "cores": 2, "memory": "3g", "gpus": 0},
    "versions": {"python": "3.11.7"},
    "metrics": {
        "top1_accuracy": 0.9,
        "records_per_second": 4000.0,
        "history": [{"epoch": 1, "test_accuracy": 0.9}, {"epoch": 1}],
        "test_sets": {"Set5": {"bicubic": SCORES, "ours": SCORES}, "Set14": SCORES},
        "confusion": [[1] * 10] * 10,
        "pictures": [PICTURE],
        "done": 3,
    },
}
NIGHT: dict[str, Any] = {
    "started": "2026-11-01T02:00:00+00:00",
    "jobs": [{"name": "lenet", "job": "train_lenet", "code": 1, "seconds": 1.0, "error": "no"}],
    "regressions": ["lenet: slow"],
}
SCALING: dict[str, Any] = {
    "rows": [
        {"executors": 1, "cores": 1, "error": None, "batch_size": 64, "seconds": 1.0}
        | {"rate": 1.0, "speed_up": 1.0, "efficiency": 1.0}
    ]
}
LIMITS = Nightly(jobs=[NightlyJob(name="run", job="train_lenet", time_limit_minutes=1)])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["psnr_y", "epoch", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each value within a value."""
    keys = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(found for key, inner in keys for found in places(inner, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], to: Any) -> Any:
    """A copy with another value in one place, or, for ..., without it."""
    if not path:
        return None if to is ... else to
    whole = copy.deepcopy(value)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    if to is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return whole


def odd(valid: Any) -> st.SearchStrategy[Any]:
    """A file in which one thing is of another kind, or is not there."""
    return st.builds(
        lambda path, to: changed(valid, path, to),
        st.sampled_from(places(valid)),
        st.just(...) | JSON,
    )


@given(result=odd(RESULT), night=odd(NIGHT), scaling=odd(SCALING))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_in_them(tmp_path: Path, result: Any, night: Any, scaling: Any) -> None:
    folder = tmp_path / "2026-11-02"
    (folder / "run").mkdir(parents=True, exist_ok=True)
    (tmp_path / "2026-11-01" / "run").mkdir(parents=True, exist_ok=True)
    (tmp_path / "2026-11-01" / "run" / "result.json").write_text(json.dumps(RESULT))
    for path, content in (
        (folder / "run" / "result.json", result),
        (folder / "night.json", night),
        (folder / "scaling.json", scaling),
    ):
        path.write_text(json.dumps(content))
    found = search(tmp_path)
    assert len(found.runs) + len(found.odd) == 2
    assert len(read_nights(tmp_path)) + len(odd_nights(tmp_path)) == 1
    text, page = render_text(tmp_path), render_page(tmp_path)
    for line in (*found.odd, *odd_nights(tmp_path)):
        assert line.partition(":")[0] in text
        assert line.partition(":")[0] in page
    tonight = {run.name.rpartition("/")[2]: run for run in find_runs(folder)}
    find_regressions(tonight, [{"run": found.runs[0]}], LIMITS)
    superfluous({run.folder: [run] for run in found.runs}, [run.folder for run in found.runs], 1)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe{", b"[" * 100_000, b"{}", b'{"job": "x"', b"9" * 5000, b'"\\ud800"'],
    ids=["empty", "utf-16", "deep", "without keys", "cut off", "a number", "half a character"],
)
def test_what_is_no_json(content: bytes, tmp_path: Path) -> None:
    for name in ("result.json", "night.json", "scaling.json"):
        (tmp_path / "night").mkdir(exist_ok=True)
        (tmp_path / "night" / name).write_bytes(content)
    found = search(tmp_path)
    (line,) = found.odd
    assert line.startswith("night: result.json: ")
    assert "\n" not in line
    assert line in render_text(tmp_path)
    assert "Left out" in render_page(tmp_path)


def test_a_deep_value_where_anything_goes(tmp_path: Path) -> None:
    deep = '{"a":' * 800 + "1" + "}" * 800
    (tmp_path / "result.json").write_text(
        json.dumps(RESULT).replace('"options": {"epochs": 3}', f'"options": {deep}')
    )
    assert search(tmp_path).odd or search(tmp_path).runs
    render_page(tmp_path)


def test_times_with_and_without_a_zone_are_in_order(tmp_path: Path) -> None:
    for name, started in (("b", "2026-11-01T02:00:00"), ("a", "2026-11-01T02:30:00+01:00")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps({**RESULT, "started": started}))
    assert [run.name for run in find_runs(tmp_path)] == ["a", "b"]


def test_a_picture_of_somewhere_else_is_not_shown(tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"secret")
    names = dict.fromkeys(("bicubic", "upscaled", "original"), "../outside.png")
    metrics = {"pictures": [{**PICTURE, **names}]}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "result.json").write_text(json.dumps({**RESULT, "metrics": metrics}))
    assert "data:image" not in render_page(tmp_path)


def test_a_night_with_odd_files_of_before_says_nothing_of_them(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for number, content in enumerate(("[]", '{"jobs": 3}', "{")):
        night = runs / f"2026-01-0{number + 1}-020000"
        (night / "lenet").mkdir(parents=True)
        (night / "night.json").write_text(content)
        (night / "lenet" / "result.json").write_text(content)
    config = tmp_path / "nightly.toml"
    config.write_text(
        f'runs = "{runs}"\nkeep = 1\n[[jobs]]\nname = "lenet"\njob = "no_such_job"\n'
        "time_limit_minutes = 1\n"
    )
    done = subprocess.run(
        ["bash", ROOT / "scripts" / "nightly.sh", "--config", config],
        capture_output=True,
        text=True,
        check=False,
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("nightly: 1 of 1 jobs failed. lenet: submit: error: no job no_such_job")
    page = (runs / "report.html").read_text()
    assert all(f"2026-01-0{number}-020000: night.json" in page for number in (1, 2, 3))
