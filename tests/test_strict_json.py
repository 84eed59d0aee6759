"""No file of the project holds NaN or Infinity, of which JSON knows nothing."""

from __future__ import annotations

import ast
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
from conftest import ROOT

from jobs.runtime.rank_reports import MeetingPoint, join, report_progress
from jobs.runtime.recorded.runs import find_runs
from jobs.runtime.run_folder import RunFolder
from jobs.runtime.strict_json import to_json
from jobs.runtime.text import as_text, counted, in_one_line, number
from mos_study.output import RESULTS_FILE, write_results
from mos_study.results import Comparison, Results, Score
from mos_study.study import Measured, Study, StudyImage, write_study
from nights.config import Nightly, NightlyJob
from nights.night import Outcome, read_nights, write_night
from nights.regressions import find_regressions

NAN, INFINITY = float("nan"), float("inf")
NO_TEXT = os.fsdecode(b"latin1-\xe9\xff.png")


def strict(text: str) -> Any:
    """What a parser that keeps to the standard reads; bytes of names are UTF-8."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    found = json.loads(text, parse_constant=refuse)
    json.dumps(found, ensure_ascii=False).encode()
    return found


def test_what_is_no_finite_number_becomes_null() -> None:
    value = {"a": NAN, "b": [1.5, INFINITY, (-INFINITY, 2)], "c": {"d": True, NO_TEXT: None}}
    assert strict(to_json(value)) == {
        "a": None,
        "b": [1.5, None, [None, 2]],
        "c": {"d": True, "latin1-\\xe9\\xff.png": None},
    }
    assert strict(to_json("half a character \ud83d")) == "half a character \\ud83d"


def test_one_of_a_kind_takes_no_s() -> None:
    assert [counted(count, "file") for count in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


def test_names_as_text() -> None:
    assert as_text("日本 \n.png") == "日本 \n.png"
    assert in_one_line("日本 \n\udce9.png") == "日本 \\n\\xe9.png"
    assert (number(0.12345, ".2f"), number(None, ".2f")) == ("0.12", "no number")


def test_no_json_is_written_otherwise() -> None:
    """Each call of json.dumps or json.dump forbids them; what may hold them is given to to_json."""
    calls = 0
    for room in ("jobs", "lenet", "srgan", "scripts"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                    "json.dumps",
                    "json.dump",
                ):
                    given = {one.arg: ast.unparse(one.value) for one in node.keywords}
                    assert given.get("allow_nan") == "False", f"{path}:{node.lineno}"
                    calls += 1
    assert calls > 5


JOB = """
import sys
from jobs.runtime.job import run_job
from jobs.runtime.options import JobOptions
from jobs.runtime.text import number

class Options(JobOptions):
    file: str = "none"

def work(run):
    print(f"a library speaks of {run.options.file}")
    return {"loss": float("nan"), "psnr": [float("inf")], "file": run.options.file}

def summary(metrics):
    return [("loss", number(metrics["loss"], ".2f")), ("file", metrics["file"])]

sys.exit(run_job("nothing", Options, work, summary))
"""


def test_a_job_whose_numbers_are_none(tmp_path: Path) -> None:
    """And whose files have names that are no text: in result.json, the log and the terminal."""
    command = [sys.executable, "-c", JOB, "--file", NO_TEXT, "--run-dir", str(tmp_path / "run")]
    for said in ("loss", "already done"):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout.decode()
    result = strict((tmp_path / "run/result.json").read_text(encoding="utf-8"))
    assert result["metrics"] == {"loss": None, "psnr": [None], "file": "latin1-\\xe9\\xff.png"}
    strict((tmp_path / "run/options.json").read_text(encoding="utf-8"))
    assert "a library speaks of latin1-" in (tmp_path / "run/log.txt").read_text(encoding="utf-8")


def test_a_run_folder_of_before(tmp_path: Path) -> None:
    """Earlier versions wrote NaN, and had fewer options, which were at their defaults."""
    folder = RunFolder.open("job", str(tmp_path))
    folder.write_options({"epochs": 3})
    (tmp_path / "result.json").write_text('{"status": "ok", "metrics": {"loss": NaN}}')
    options = {"epochs": 3, "skip_bad": False}
    found = folder.finished_result(options, defaults={"skip_bad": False})
    assert found == {"status": "ok", "metrics": {"loss": None}}


def test_what_ranks_report(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE"):
        monkeypatch.setenv(name, "")
    heard: list[Any] = []
    with MeetingPoint("127.0.0.1", heard.append) as meeting:
        join(meeting.address, meeting.port)
        report_progress({"losses": {"mse": NAN}, "crops_per_second": 3.0})
    assert heard == [{"losses": {"mse": None}, "crops_per_second": 3.0}]


def test_nights(tmp_path: Path) -> None:
    night = tmp_path / "2026-01-01"
    night.mkdir()
    write_night(night, "2026", [Outcome("lenet", "train_lenet", 0, NAN, None)], [])
    strict((night / "night.json").read_text(encoding="utf-8"))
    assert read_nights(tmp_path)[0][1]["jobs"][0]["seconds"] is None


def write_run(folder: Path, psnr: str) -> None:
    """A result.json as an earlier version wrote it."""
    folder.mkdir(parents=True)
    scores = f'{{"psnr_y": {psnr}, "ssim_y": 0.9, "lpips": NaN}}'
    (folder / "result.json").write_text(
        f'{{"job": "evaluate_srgan", "status": "ok", "error": null, "seconds": 10.0, '
        f'"started": "2026-01-0{folder.name}T01:00:00+00:00", '
        f'"metrics": {{"test_sets": {{"Set5": {{"default": {scores}}}}}}}}}'
    )


def test_an_infinite_psnr_of_before_spoils_no_median(tmp_path: Path) -> None:
    for number_of, psnr in enumerate(("Infinity", "30.0", "NaN", "30.2"), start=1):
        write_run(tmp_path / str(number_of), psnr)
    runs = find_runs(tmp_path)
    assert [run.psnr for run in runs] == [{}, {"Set5": 30.0}, {}, {"Set5": 30.2}]
    assert all(run.lpips == {} for run in runs)
    write_run(tmp_path / "5", "25.0")
    tonight = find_runs(tmp_path)[-1]
    limits = Nightly(jobs=[NightlyJob(name="x", job="evaluate_srgan", time_limit_minutes=1)])
    (line,) = find_regressions({"x": tonight}, [{"x": run} for run in runs], limits)
    assert line == "x: PSNR on Set5 25.00 dB, usually 30.10 dB"


def test_results_of_a_study(tmp_path: Path) -> None:
    study = Study(
        token="t",
        created="2026",
        methods=["a", "b"],
        sources=["a", "b"],
        folders=["f"],
        images=[StudyImage(set="s", name="x")],
        calibration=[0, 0],
        measured=[{name: Measured(psnr_y=INFINITY, lpips=NAN) for name in "ab"}],
    )
    write_study(tmp_path, study)
    strict((tmp_path / "study.json").read_text(encoding="utf-8"))
    results = Results(
        [],
        [Score("s", "a", NAN, None, None, 1, 1, INFINITY, None)],
        [Comparison("a", "b", NAN, 1.0, 1.0, math.nan, "too few raters")],
    )
    write_results(tmp_path, study, [], results)
    found = strict((tmp_path / RESULTS_FILE).read_text(encoding="utf-8"))
    assert found["scores"][0]["psnr"] is None
