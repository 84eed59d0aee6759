"""The report in a real browser: charts with their data, a slider, nothing from outside."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from browser import chromium
from PIL import Image
from playwright.sync_api import Error, Page
from srgan_samples import sample_pixels

from jobs.runtime.recorded.runs import find_runs
from reports.charts import line_chart
from reports.page import render_page, write_page
from srgan.events import EventLog

PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


def write_run(folder: Path, job: str, day: int, **changes: Any) -> Path:
    """A run folder as a job leaves it."""
    folder.mkdir(parents=True)
    result = {
        "job": job,
        "status": "ok",
        "error": None,
        "started": f"2026-11-{day:02d}T02:00:00+00:00",
        "finished": f"2026-11-{day:02d}T02:02:00+00:00",
        "seconds": 100.0 + day,
        "options": {"epochs": 3},
        "cluster": {
            **{"master": "spark://pc1:7077", "executors": 4, "cores": 2, "memory": "2g"},
            "gpus": 1,
        },
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "metrics": {},
        **changes,
    }
    (folder / "result.json").write_text(json.dumps(result))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three nights of trainings and evaluations, the last of which failed in part."""
    root = tmp_path_factory.mktemp("runs")
    for day in (1, 2, 3):
        night = root / f"2026-11-{day:02d}-020000"
        history = [{"epoch": epoch, "test_accuracy": 0.9 + epoch / 100} for epoch in (1, 2, 3)]
        metrics = {"top1_accuracy": 0.93, "records_per_second": 4000.0 + day, "history": history}
        write_run(night / "lenet", "train_lenet", day, metrics=metrics)
        # The first night is of before LPIPS was measured.
        lpips = {"lpips": 0.3 - day / 100} if day > 1 else {}
        scores = {"Set5": {"psnr_y": 28.0 + day / 10, **lpips}}
        srgan = {"test_sets": scores, "crops_per_second": 16.0 + day}
        folder = write_run(night / "srgan", "train_srgan", day, metrics=srgan)
        events = EventLog(str(folder), 0)
        for step in range(5):
            events.add_scalars({"Loss": 1 / (step + 1)}, step)
        events.close()
        (night / "night.json").write_text(json.dumps({"jobs": [], "regressions": []}))
    confusion = [[900 if row == column else 5 for column in range(10)] for row in range(10)]
    tested = {"confusion": confusion, "top1_accuracy": 0.93}
    write_run(night / "lenet-test", "evaluate_lenet", 3, metrics=tested)
    measured = pictures(lpips=0.2, bicubic_lpips=0.3)
    judged = write_run(night / "srgan-test", "evaluate_srgan", 3, metrics=measured)
    for number, version in enumerate(("bicubic", "upscaled", "original")):
        Image.fromarray(sample_pixels(120, 160, seed=number)).save(judged / f"{version}.png")
    error = '<script>alert("x")</script> no space left'
    failed = write_run(night / "upscale", "upscale", 3, status="failed", error=error)
    (failed / "log.txt").write_text("one\nthe last line of the log\n")
    failure = {"name": "upscale", "job": "upscale", "code": 1, "seconds": 3.0, "error": error}
    night_of = {"jobs": [failure], "regressions": ["lenet: accuracy 90.00 %, usually 93.00 %"]}
    (night / "night.json").write_text(json.dumps(night_of))
    row = {"executors": 1, "cores": 1, "error": None, "batch_size": 64, "seconds": 10.0}
    table = {"rows": [{**row, "rate": 4000.0, "speed_up": 1.0, "efficiency": 1.0}]}
    (root / "scaling").mkdir()
    (root / "scaling" / "scaling.json").write_text(json.dumps(table))
    write_page(root, root / "report.html")
    return root


def pictures(**lpips: float | None) -> dict[str, Any]:
    """An evaluation's metrics with one picture."""
    files = {version: f"{version}.png" for version in ("bicubic", "upscaled", "original")}
    scores = {"psnr_y": 29.0, "bicubic_psnr_y": 28.0}
    picture = {"image": "Set5 baby.png", "method": "srresnet", **scores, **lpips, **files}
    return {"pictures": [picture], "test_sets": {"Set5": {"bicubic": {"psnr_y": 28.0}}}}


@pytest.fixture(scope="module")
def page(runs: Path) -> Iterator[Page]:
    """The report, opened; everything that it complains of or asks the network for is noted."""
    with chromium() as browser:
        opened = browser.new_page(viewport=DESKTOP)
        opened.noted = []  # type: ignore[attr-defined]
        opened.on("console", lambda message: opened.noted.append(message.text))
        opened.on("pageerror", lambda error: opened.noted.append(str(error)))
        opened.on("request", lambda request: opened.noted.append(request.url))
        opened.goto((runs / "report.html").as_uri())
        yield opened


def test_nothing_comes_from_outside_and_nothing_goes_wrong(page: Page, runs: Path) -> None:
    allowed = (runs / "report.html").as_uri()
    strange = [note for note in page.noted if note != allowed and not note.startswith("data:")]
    assert not strange


@pytest.mark.parametrize(
    ("chart", "points"),
    [
        ("accuracy", {"lenet": 3, "lenet-test": 1}),
        ("psnr", {"srgan, Set5": 3, "srgan-test, Set5": 1}),
        ("lpips", {"srgan, Set5": 2}),
        ("time", {"lenet": 3, "srgan": 3, "lenet-test": 1, "srgan-test": 1}),
        ("rate-records", {"lenet": 3}),
        ("rate-crops", {"srgan": 3}),
        ("curves-lenet", {f"2026-11-0{day}-020000/lenet": 3 for day in (1, 2, 3)}),
        ("curves-srgan", {f"2026-11-0{day}-020000/srgan": 5 for day in (1, 2, 3)}),
    ],
)
def test_every_chart_has_its_data(page: Page, chart: str, points: dict[str, int]) -> None:
    svg = page.locator(f"svg[aria-label='{chart}']")
    assert svg.is_visible()
    for label in points:
        assert svg.get_by_text(label, exact=True).count() == 1
    counts = [
        svg.locator(f"[id='{chart}-series-{number}'] use").count() for number in range(len(points))
    ]
    assert sorted(counts) == sorted(points.values())
    assert svg.locator("[id*='-series-']").count() == len(points)


def test_the_slider_uncovers_ours_and_then_the_original(page: Page) -> None:
    images = page.locator(".slider img")
    assert [images.nth(n).evaluate("image => image.naturalWidth") for n in range(3)] == [160] * 3
    slider = page.locator("input[type=range]")

    def hidden() -> list[str]:
        return [images.nth(n).evaluate("image => image.style.clipPath") for n in (1, 2)]

    slider.fill("0")
    assert hidden() == ["inset(0px 100% 0px 0px)", "inset(0px 100% 0px 0px)"]
    slider.focus()
    page.keyboard.press("End")
    assert hidden() == ["inset(0px 0% 0px 0px)", "inset(0px 0% 0px 0px)"]
    slider.fill("100")
    assert hidden() == ["inset(0px 0% 0px 0px)", "inset(0px 100% 0px 0px)"]


def test_lpips_stands_beside_psnr(page: Page) -> None:
    caption = page.locator("#pictures h3").text_content() or ""
    assert "bicubic 28.00 dB, LPIPS 0.300; srresnet 29.00 dB, LPIPS 0.200" in caption
    assert page.locator("#latest").get_by_text("Set5 28.30 dB, LPIPS 0.270").is_visible()


@pytest.mark.parametrize("lpips", [{}, {"lpips": None, "bicubic_lpips": None}])
def test_runs_without_lpips(tmp_path: Path, lpips: dict[str, None]) -> None:
    """Of before it was measured, or without its weights."""
    folder = write_run(tmp_path / "old", "evaluate_srgan", 1, metrics=pictures(**lpips))
    for version in ("bicubic", "upscaled", "original"):
        Image.fromarray(sample_pixels(40, 40)).save(folder / f"{version}.png")
    assert [run.quality for run in find_runs(tmp_path)] == ["Set5 28.00 dB"]
    page = render_page(tmp_path)
    assert page.startswith("<!doctype html>")
    assert "bicubic 28.00 dB; srresnet 29.00 dB</span>" in page
    assert "LPIPS" not in page


def test_failures_are_named_and_nothing_in_them_is_run(page: Page) -> None:
    assert page.get_by_text("1 failed, 1 worse than usual").is_visible()
    assert page.get_by_text("lenet: accuracy 90.00 %, usually 93.00 %").is_visible()
    assert page.locator("#failures").get_by_text('<script>alert("x")</script>').count() == 1
    assert page.locator("#failures pre").text_content() == "one\nthe last line of the log"
    assert page.locator("#confusion td").count() == 100
    assert page.locator("#scaling tbody tr, #scaling tr").count() >= 2
    cluster = page.locator("#cluster").text_content() or ""
    assert "4 executors, 2 cores and 2g each, 1 GPU." in cluster


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_it_fits_the_screen(page: Page, viewport: dict, scheme: str, tmp_path: Path) -> None:
    page.set_viewport_size(viewport)
    page.emulate_media(color_scheme=scheme)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= viewport["width"]
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    page.screenshot(path=folder / f"report-{viewport['width']}-{scheme}.png", full_page=True)
    ink, paper = (
        page.evaluate(f"getComputedStyle(document.body).{name}")
        for name in ("color", "backgroundColor")
    )
    assert ink != paper
    page.set_viewport_size(DESKTOP)
    page.emulate_media(color_scheme="light")


def test_it_prints(page: Page, tmp_path: Path) -> None:
    try:
        page.pdf(path=tmp_path / "report.pdf")
    except Error as error:
        pytest.skip(f"this Chromium prints no PDF: {error}")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_a_single_night_is_a_point_with_its_value_and_no_axis_leaves_the_possible() -> None:
    chart = line_chart("accuracy", "", "%", {"lenet": [(datetime(2026, 1, 1), 99.14)]}, (0, 100))
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", chart)
    assert "99.14" in texts
    assert max(float(one) for one in texts if re.fullmatch(r"\d+(\.\d+)?", one)) <= 100
    chart = line_chart("rate", "", "records/s", {"lenet": [(datetime(2026, 1, 1), 15034.2)]})
    assert ">15034<" in chart
