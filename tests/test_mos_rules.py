"""Order, storage and counting of a MOS study, without a server."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from small_study import HttpRater, make_study, run_mos, serving
from srgan_samples import write_samples

from mos_study.order import trials_for_a_rater
from mos_study.results import Results, analyse, holm, wilcoxon
from mos_study.store import NameTakenError, RatingStore, StoredTrial, read_trials
from mos_study.study import Study, StudyImage, read_study
from reports.page import render_page
from reports.text import render_text


def study_of(images: int, methods: list[str]) -> Study:
    return Study(
        token="token",
        created="2026-11-24T00:00:00+00:00",
        methods=methods,
        sources=methods,
        folders=["one", "two"],
        images=[StudyImage(set=("one", "two")[n % 2], name=f"{n}.png") for n in range(images)],
        calibration=[0, images // 2],
    )


@pytest.mark.parametrize("images", [3, 4, 5, 19])
@pytest.mark.parametrize("methods", [2, 4, 12])
def test_order(images: int, methods: int) -> None:
    study = study_of(images, [f"method {number}" for number in range(methods)])
    orders = [trials_for_a_rater(study, Random(seed)) for seed in range(30)]
    for order in orders:
        assert all(first.image != second.image for first, second in itertools.pairwise(order))
        assert [trial.kind for trial in order[:4]] == ["calibration"] * 4
        main = [(trial.image, trial.version) for trial in order if trial.kind == "main"]
        assert sorted(main) == [(n, m) for n in range(images) for m in sorted(study.methods)]
        again = [trial for trial in order if trial.kind == "repeat"]
        assert len(again) == min(images, max(4, round(0.1 * images * methods)))
        for trial in again:
            first = order.index(trial._replace(kind="main"))
            assert first < order.index(trial)
    assert len({tuple(order) for order in orders}) == len(orders)


def test_order_favours_nobody() -> None:
    """Each method comes first as often as any other, on average."""
    study = study_of(6, ["a", "b", "c"])
    firsts = Counter(trials_for_a_rater(study, Random(seed))[4].version for seed in range(900))
    assert stats.chisquare(list(firsts.values())).pvalue > 0.001


def test_store(tmp_path: Path) -> None:
    study = study_of(3, ["a", "original"])
    store = RatingStore(tmp_path)
    trials = trials_for_a_rater(study, Random(0))
    rater, secret = store.add_rater("Anna", trials)
    other, _ = store.add_rater("Ben", trials)
    assert store.knows(rater, secret) and not store.knows(other, secret)
    with pytest.raises(NameTakenError):
        store.add_rater("anna", trials)
    assert not store.rate(rater, 1, 3)
    assert store.rate(rater, 0, 3)
    assert not store.rate(rater, 0, 4)
    with pytest.raises(sqlite3.IntegrityError):
        store.rate(rater, 1, 6)
    assert store.progress(rater) == (1, len(trials))
    assert store.progress(other) == (0, len(trials))
    rows = read_trials(tmp_path)
    assert [row.rating for row in rows if row.rater == rater] == [3] + [None] * (len(trials) - 1)
    assert not any(secret.encode() in path.read_bytes() for path in tmp_path.iterdir())


def simulated(
    study: Study, qualities: dict[str, float], raters: int, seed: int, noise: float = 0.6
) -> list[StoredTrial]:
    """Raters who are strict or mild, on images that are easy or hard, with these preferences."""
    random, generator = Random(seed), np.random.default_rng(seed)
    of_images = generator.normal(0, 0.4, len(study.images))
    rows = []
    for rater in range(raters):
        mildness = generator.normal(0, 0.4)
        for position, trial in enumerate(trials_for_a_rater(study, random)):
            known = {"nearest": 1.0, "original": 5.0} if trial.kind == "calibration" else qualities
            opinion = known[trial.version] + mildness + of_images[trial.image]
            rating = int(np.clip(round(opinion + generator.normal(0, noise)), 1, 5))
            rows.append(StoredTrial(rater, f"rater {rater}", position, *trial, rating, "now"))
    return rows


def test_a_population_with_preferences_gives_back_their_order() -> None:
    qualities = {"bicubic": 2.0, "srresnet": 3.0, "srgan": 3.6, "original": 4.4}
    study = study_of(14, list(qualities))
    results = analyse(study, simulated(study, qualities, 26, seed=1))
    overall = {score.method: score for score in results.scores if score.set == "all"}
    assert sorted(overall, key=lambda name: overall[name].mos) == list(qualities)
    for comparison in results.comparisons:
        assert comparison.verdict == "worse"
    for score in overall.values():
        assert score.low is not None and score.high is not None
        assert 1 <= score.low < score.mos < score.high <= 5
    assert {score.set for score in results.scores} == {"one", "two", "all"}


def test_a_population_without_preferences_says_so() -> None:
    """Also over many studies: a difference is found in no more than 5 % of them."""
    qualities = {"a": 3.2, "b": 3.2, "c": 3.2}
    study = study_of(5, list(qualities))
    wrong = 0
    for seed in range(100):
        results = analyse(study, simulated(study, qualities, 16, seed))
        wrong += any(comparison.verdict != "no difference" for comparison in results.comparisons)
    # Of 100 studies with 5 % each, 12 or more would come once in two hundred times.
    assert wrong < 12


def test_intervals_cover_what_they_should() -> None:
    """The 95 % interval holds the population's mean in about 95 % of studies."""
    qualities = {"a": 3.0, "b": 3.0}
    study = study_of(4, list(qualities))
    inside = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        rows = []
        for rater in range(12):
            mildness = generator.normal(0, 0.7)
            for position, trial in enumerate(trials_for_a_rater(study, Random(seed))):
                known = {"nearest": 1, "original": 5}.get(trial.version, 0)
                opinion = generator.normal(3 + mildness, 0.5)
                rating = known or int(np.clip(round(opinion), 1, 5))
                rows.append(StoredTrial(rater, str(rater), position, *trial, rating, "now"))
        (score,) = (
            one for one in analyse(study, rows).scores if (one.set, one.method) == ("all", "a")
        )
        assert score.low is not None and score.high is not None
        inside += score.low <= 3 <= score.high
    # Outside of this range once in a thousand times, if it is 95 %.
    assert inside >= 51


def with_ratings(study: Study, rate: dict[str, int], repeat: int = 0) -> Results:
    rows = []
    for position, trial in enumerate(trials_for_a_rater(study, Random(5))):
        rating = rate[trial.version] + (repeat if trial.kind == "repeat" else 0)
        rows.append(StoredTrial(1, "one", position, *trial, rating, "now"))
    return analyse(study, rows)


@pytest.mark.parametrize(
    ("nearest", "original", "repeat", "standing"),
    [
        (1, 5, 0, "counted"),
        (2, 4, 1, "counted"),
        (3, 4, 0, "calibration failed"),
        (5, 1, 0, "calibration failed"),
        (1, 3, 2, "inconsistent"),
    ],
)
def test_who_counts(nearest: int, original: int, repeat: int, standing: str) -> None:
    study = study_of(4, ["nearest", "original"])
    results = with_ratings(study, {"nearest": nearest, "original": original}, repeat)
    (rater,) = results.raters
    assert rater.standing == standing
    assert rater.span == original - nearest and rater.repeat_difference == repeat
    assert bool(results.scores) == (standing == "counted")


def test_raters_who_do_not_count_are_shown_and_change_nothing() -> None:
    qualities = {"a": 2.0, "b": 4.0}
    study = study_of(5, list(qualities))
    good = simulated(study, qualities, 8, seed=1)
    trials = trials_for_a_rater(study, Random(1))
    careless = [StoredTrial(98, "same", n, *trial, 3, "now") for n, trial in enumerate(trials)]
    unfinished = [
        StoredTrial(99, "gone", n, *trial, 1 if n < 9 else None, "now")
        for n, trial in enumerate(trials)
    ]
    results = analyse(study, [*good, *careless, *unfinished])
    assert results.scores == analyse(study, good).scores
    assert [rater.standing for rater in results.raters[-2:]] == ["calibration failed", "unfinished"]


def test_one_rater_has_no_interval() -> None:
    study = study_of(3, ["nearest", "original"])
    results = with_ratings(study, {"nearest": 1, "original": 5})
    assert {(score.low, score.high) for score in results.scores} == {(None, None)}
    assert results.comparisons[0].verdict == "too few raters"


def test_wilcoxon_and_holm() -> None:
    assert wilcoxon(np.zeros(9)) == 1.0
    values = np.array([1.5, 2.5, -0.5, 3.5, 0.25, 4.0])
    assert wilcoxon(values) == stats.wilcoxon(values).pvalue
    # Holm's own example of the order: 0.01, 0.02, 0.03, 0.04 of four tests.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_prepare_renders_once_and_what_was_asked_for(tmp_path: Path) -> None:
    make_study(tmp_path)
    study = read_study(tmp_path)
    assert study.methods == ["default", "bicubic", "nearest", "original"]
    assert [image.set for image in study.images] == ["near"] * 2 + ["far"] * 3
    original = np.asarray(Image.open(tmp_path / "near" / "picture_0.png"))
    shown = {
        version: np.asarray(Image.open(study.picture(tmp_path, 0, version)))
        for version in study.versions
    }
    assert np.array_equal(shown["original"], original)
    blocks = shown["nearest"].reshape(16, 4, 24, 4, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    small = Image.fromarray(original).resize((24, 16), Image.Resampling.BICUBIC)
    assert np.array_equal(blocks[:, 0, :, 0], np.asarray(small))
    before = (tmp_path / "study.json").read_text()
    make_study(tmp_path)
    assert (tmp_path / "study.json").read_text() == before


@pytest.mark.parametrize(
    ("runs", "images", "code", "message"),
    [
        ("bicubic", "near,far", 2, "two methods or more"),
        ("bicubic,bicubic", "near,far", 2, "two have the same name"),
        ("bicubic,original", "near", 2, "2 images; a study needs 3"),
        ("bicubic,original", "nowhere", 66, "nowhere: no such folder"),
        ("bicubic,nothing", "near,far", 66, "--model nothing: no such file or folder"),
        ("bicubic,sub/original", "near,far", 2, "original has a meaning here"),
        ("bicubic,nearest", "near,far", 2, "holds a study of"),
    ],
)
def test_bad_input(tmp_path: Path, runs: str, images: str, code: int, message: str) -> None:
    study = make_study(tmp_path, methods="bicubic,original")
    if "holds" not in message:
        study = tmp_path / "new"
    sets = ",".join(str(tmp_path / name) for name in images.split(","))
    done = run_mos("prepare", "--study", study, "--runs", runs, "--images", sets)
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("mos: error: ") and message in line
    assert not (tmp_path / "new" / "study.json").exists()


def test_a_study_on_hdfs() -> None:
    done = run_mos("results", "--study", "hdfs://pc1:9000/mos")
    assert done.returncode == 2
    assert done.stderr == "mos: error: --study hdfs://pc1:9000/mos: must be a local folder\n"


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    make_study(tmp_path)
    (tmp_path / "ratings.sqlite").write_bytes(b"no database at all" * 100)
    for action in ("results", "serve"):
        done = run_mos(action, "--study", tmp_path)
        assert done.returncode == 65, done.stderr
        assert len(done.stderr.splitlines()) == 1 and "ratings.sqlite" in done.stderr
    (tmp_path / "study.json").write_text("{}")
    done = run_mos("results", "--study", tmp_path)
    assert done.returncode == 65 and "not the file of a study" in done.stderr


def test_results_before_anybody_has_finished(tmp_path: Path) -> None:
    make_study(tmp_path)
    done = run_mos("results", "--study", tmp_path)
    assert done.returncode == 0
    assert "no scores yet: 0 raters have begun" in done.stdout
    assert not (tmp_path / "mos.png").exists()


def test_the_report_shows_studies(tmp_path: Path) -> None:
    make_study(tmp_path / "mos")
    study = read_study(tmp_path / "mos")
    store = RatingStore(tmp_path / "mos")
    opinion = {"nearest": 1, "bicubic": 2, "default": 4, "original": 5}
    for number in range(10):
        trials = trials_for_a_rater(study, Random(number))
        rater, _ = store.add_rater(f"rater {number}", trials)
        for position, trial in enumerate(trials):
            rating = opinion[trial.version] - (
                trial.kind == "main" and (position + number) % 3 == 0
            )
            assert store.rate(rater, position, max(1, rating))
    page, text = render_page(tmp_path), render_text(tmp_path)
    assert "default and bicubic: default is better" in page
    assert "10 of 10 raters count" in page
    assert study.token not in page
    assert "## mos: mean opinion scores" in text
    measured = [by_method["bicubic"].psnr_y for by_method in study.measured]
    assert f"{np.mean(measured):.2f} dB" in page and f"{np.mean(measured):.2f} dB" in text
    (tmp_path / "mos" / "study.json").write_text("{")
    assert "What people say" not in render_page(tmp_path)


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    """Of the study, the image set and the pictures."""
    study, images = (tmp_path / os.fsdecode(name) for name in (b"st\xfcdy", b"p\xefcs"))
    write_samples(images, 3, side=64)
    for file in list(images.iterdir()):
        file.rename(images / (file.stem + os.fsdecode(b"\xe4.png")))
    for _ in range(2):
        done = run_mos(
            "prepare", "--study", study, "--runs", "bicubic,original", "--images", images
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(f"serve --study '{tmp_path}/st\\xfcdy'\n")
    assert {image.set for image in read_study(study).images} == {"p\\xefcs"}
    with serving(study) as server:
        rater = HttpRater(server)
        rater.rate_all()
        assert server.stop() == 0
    assert {trial.name for trial in read_trials(study)} == {rater.name}
    done = run_mos("results", "--study", study)
    assert done.returncode == 0, done.stderr
    results = json.loads((study / "results.json").read_text(encoding="utf-8"))
    assert "p\\xefcs" in {score["set"] for score in results["scores"]}
