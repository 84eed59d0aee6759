"""Raters in a real browser: reload, lost connection, keyboard alone, a phone, two languages."""

from __future__ import annotations

import csv
import itertools
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import chromium
from PIL import Image
from playwright.sync_api import Browser, Page
from scipy import stats
from small_study import OPINION, Server, make_study, run_mos, serving
from srgan_samples import sample_pixels

from mos_study.store import read_trials

TRIALS = 4 + 4 * 5 + 4
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB"}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 760},
    "device_scale_factor": 3,
    "is_mobile": True,
    "has_touch": True,
    "locale": "ja-JP",
}


class BrowserRater:
    """A page of a browser of its own, and what its rater has given."""

    def __init__(self, browser: Browser, server: Server, taste: int, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page: Page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._note)
        self.server = server
        self.taste = taste
        self.given: list[int] = []

    def _note(self, message: Any) -> None:
        # Chromium reports requests that a test has made fail.
        if message.type in ("error", "warning") and "net::ERR" not in message.text:
            self.problems.append(message.text)

    def join(self, name: str) -> None:
        """By the invitation, with the mouse, up to the first picture."""
        self.page.goto(self.server.invitation)
        self.page.fill("#name", name)
        self.page.click("button.main")
        self.page.click("a.main")

    def wait_for(self, position: int) -> None:
        """Until the picture at this position may be rated."""
        self.page.wait_for_function(
            "place => document.querySelector('#count')?.textContent.match(/^\\d+/)?.[0] == place "
            "&& document.querySelector('#buttons button').ariaDisabled === 'false'",
            arg=position + 1,
            timeout=120_000,
        )

    def judge(self) -> int:
        """What this rater thinks of the picture that is shown."""
        self.wait_for(len(self.given))
        data = self.page.evaluate(
            "async place => [...await (await fetch(`/picture/${place}`)).bytes()]", len(self.given)
        )
        rating = OPINION[self.server.version_of(bytes(data))]
        if rating in (2, 4):
            # The same picture again gets the same, or a rater would count only by chance.
            rating += (-1, 0, 0, 1)[(self.taste + zlib.crc32(bytes(data))) % 4]
        self.given.append(rating)
        return rating


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def rated(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A study that three raters have completed, each in another way."""
    folder = tmp_path_factory.mktemp("study")
    with serving(make_study(folder)) as server:
        raters = {
            "mouse": with_the_mouse(browser, server),
            "keys": with_keys_alone(browser, server),
            "phone": on_a_phone(browser, server),
        }
        return {"folder": folder, "raters": raters}


def with_the_mouse(browser: Browser, server: Server) -> BrowserRater:
    """Reloads, loses the connection, and the server is killed meanwhile."""
    rater = BrowserRater(browser, server, 1, **DESKTOP)
    page = rater.page
    rater.join("mouse")
    for position in range(TRIALS):
        rating = rater.judge()
        if position == 6:
            page.reload()
            rater.wait_for(position)
        if position == 9:
            rater.context.set_offline(True)
        button = page.locator(f"#buttons button:nth-child({rating})")
        if position == 12:
            # In a hurry: the second click is for a picture that is not there yet.
            button.evaluate("button => { button.click(); button.click(); }")
        else:
            button.click()
        if position == 9:
            page.wait_for_selector("#message:has-text('No connection')")
            rater.context.set_offline(False)
        if position == 15:
            rater.wait_for(position + 1)
            server.kill_and_restart()
    page.wait_for_selector("text=Thank you!")
    return rater


def with_keys_alone(browser: Browser, server: Server) -> BrowserRater:
    """Never touches a mouse, and loses the page between rating and answer."""
    rater = BrowserRater(browser, server, 2, **DESKTOP)
    page = rater.page
    page.goto(server.invitation)
    # The page gives its field the focus when it is first drawn, which is after it was loaded.
    page.wait_for_selector("#name:focus")
    page.keyboard.type("keys")
    page.keyboard.press("Enter")
    page.wait_for_url("**/instructions")
    page.wait_for_selector("a.main:focus")
    page.keyboard.press("Enter")
    for position in range(TRIALS):
        rating = rater.judge()
        if position == 8:
            # Through the buttons, as with a screen reader.
            page.locator(f"#buttons button:nth-child({rating})").focus()
            page.keyboard.press("Enter")
        elif position == 11:
            page.route("**/rating", lambda route: route.abort())
            page.keyboard.press(str(rating))
            page.wait_for_selector("#message:has-text('No connection')")
            page.unroute("**/rating")
            page.reload()
        else:
            page.keyboard.press(str(rating))
    page.wait_for_selector("text=Thank you!")
    return rater


def on_a_phone(browser: Browser, server: Server) -> BrowserRater:
    """Taps, in Japanese."""
    rater = BrowserRater(browser, server, 3, **PHONE)
    page = rater.page
    page.goto(server.invitation)
    page.fill("#name", "携帯")
    page.tap("button.main")
    page.wait_for_url("**/instructions")
    assert page.inner_text("h1") == "評価のしかた"
    page.tap("a.main")
    for position in range(TRIALS):
        rating = rater.judge()
        if position == 5:
            check_pixels_and_layout(page, 3)
            assert page.inner_text("#message") == "キー 1 ~ 5"
        page.tap(f"#buttons button:nth-child({rating})")
    page.wait_for_selector("text=ありがとうございました")
    return rater


def check_pixels_and_layout(page: Page, scale: int) -> None:
    """A pixel is a pixel; nothing sticks out; buttons are large enough for a thumb."""
    size = page.evaluate("[picture.getBoundingClientRect().width, picture.naturalWidth]")
    assert size[0] * scale == pytest.approx(size[1], abs=0.01)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    for button in page.query_selector_all("#buttons button"):
        box = button.bounding_box()
        assert box and box["height"] >= 44 and box["width"] >= 44


@pytest.mark.parametrize("name", ["mouse", "keys", "phone"])
def test_every_rating_is_stored_once(rated: dict[str, Any], name: str) -> None:
    rater = rated["raters"][name]
    called = "携帯" if name == "phone" else name
    stored = [trial for trial in read_trials(rated["folder"]) if trial.name == called]
    assert [trial.position for trial in stored] == list(range(TRIALS))
    assert [trial.rating for trial in stored] == rater.given
    assert not rater.problems


def test_results_are_those_of_scipy_from_the_csv(rated: dict[str, Any]) -> None:
    folder = rated["folder"]
    done = run_mos("results", "--study", folder)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 raters count." in done.stdout
    results = json.loads((folder / "results.json").read_text())
    with open(folder / "ratings.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "main"]
    assert len(rows) == 3 * 4 * 5
    for score in results["scores"]:
        own = [
            row
            for row in rows
            if row["method"] == score["method"] and score["set"] in ("all", row["set"])
        ]
        means = [
            np.mean([int(row["rating"]) for row in own if row["rater"] == rater])
            for rater in sorted({row["rater"] for row in own})
        ]
        low = high = means[0]
        if np.ptp(means) > 0:
            low, high = stats.t.interval(0.95, len(means) - 1, np.mean(means), stats.sem(means))
        assert score["mos"] == pytest.approx(np.mean(means))
        assert (score["low"], score["high"]) == pytest.approx((low, high))
    given = {(row["rater"], row["image"], row["method"]): int(row["rating"]) for row in rows}
    assert len(results["comparisons"]) == 6
    for pair, (first, second) in zip(
        results["comparisons"], itertools.combinations(results["methods"], 2), strict=True
    ):
        assert (pair["first"], pair["second"]) == (first, second)
        keys = [(rater, image) for rater, image, method in given if method == first]
        differences = [given[(*key, first)] - given[(*key, second)] for key in keys]
        assert pair["difference"] == pytest.approx(np.mean(differences))
        assert pair["p_ratings"] == pytest.approx(stats.wilcoxon(differences).pvalue)
        of_raters = [
            np.mean([value for key, value in zip(keys, differences, strict=True) if key[0] == one])
            for one in sorted({key[0] for key in keys})
        ]
        assert pair["p"] == pytest.approx(stats.wilcoxon(np.round(of_raters, 9)).pvalue)
        assert pair["verdict"] == "too few raters"


def test_a_large_picture_is_moved_within_its_frame(browser: Browser, tmp_path: Path) -> None:
    pictures = tmp_path / "large"
    pictures.mkdir()
    for number in range(3):
        Image.fromarray(sample_pixels(1200, 1600, seed=number)).save(pictures / f"{number}.png")
    done = run_mos(
        *("prepare", "--study", tmp_path / "study", "--runs", "bicubic,original"),
        *("--images", pictures),
    )
    assert done.returncode == 0, done.stderr
    with serving(tmp_path / "study") as server:
        rater = BrowserRater(browser, server, 4, **DESKTOP)
        page = rater.page
        rater.join("large")
        rater.wait_for(0)
        check_pixels_and_layout(page, 1)
        page.focus("#frame")
        page.keyboard.press("End")
        page.wait_for_function("() => document.querySelector('#frame').scrollTop > 300")
