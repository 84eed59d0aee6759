"""jobs/upscale.py under spark-submit: bad files among good ones, kill and run again, options."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, StandaloneCluster, spark_submit
from films import frames_of, sound_of, write_film
from PIL import Image
from srgan_samples import data_path, sample_pixels

from reports.page import render_page
from srgan.evaluation import bicubic as upscale_bicubic
from srgan.evaluation import evaluate, upscale_with
from srgan.export import decode_generator
from srgan.image_folder import read_images
from srgan.upscaling.model_choice import read_model

CLUSTER = ("--executor-cores", "1", "--executor-memory", "700m", "--total-executor-cores", "2")
# No UTF-8.
FILM = os.fsdecode(b"f\xfclm.mp4")
SUFFIXES = ("png", "jpg", "bmp", "tif", "webp")


def write_gallery(folder: Path, count: int) -> dict[str, bytes]:
    """Images of mixed sizes and formats, one of them huge, and five broken; the broken ones."""
    folder.mkdir()
    for number in range(count - 6):
        pixels = sample_pixels(20 + number % 60, 30 + number % 90, seed=number)
        path = folder / f"album {number % 3}" / f"im_{number}.{SUFFIXES[number % 5]}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    Image.fromarray(sample_pixels(1100, 1500)).save(folder / "huge.png")
    whole = (folder / "album 0" / "im_0.png").read_bytes()
    broken = {
        os.fsdecode(b"a text \xff.png"): b"hello",
        "nothing.jpg": b"",
        "cut.png": whole[: len(whole) // 2],
        "album 1/flipped.png": whole[:60] + bytes(20) + whole[80:],
        "noise.webp": os.urandom(500),
    }
    for name, content in broken.items():
        (folder / name).write_bytes(content)
    return broken


def failed_names(run_dir: Path) -> list[str]:
    lines = (run_dir / "failed.jsonl").read_text(encoding="utf-8").splitlines()
    return sorted(json.loads(line)["name"] for line in lines)


def results(folder: Path) -> dict[str, int]:
    """Name and time of change of every finished file."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.parts)
    }


@pytest.mark.slow
@pytest.mark.cluster
def test_two_hundred_files_with_five_broken_and_a_kill_in_the_middle(
    cluster: StandaloneCluster, tmp_path: Path
) -> None:
    broken = write_gallery(tmp_path / "in", 200)
    out, run_dir = tmp_path / "out", tmp_path / "run"
    options = ("--model", "bicubic", "--input", tmp_path / "in", "--output", out)
    spark = ("--master", cluster.master, *CLUSTER)

    command = [
        *("spark-submit", "--properties-file", str(ROOT / "conf/lab-2pc.conf"), *spark),
        *(str(ROOT / "jobs/upscale.py"), *map(str, options), "--run-dir", str(run_dir)),
    ]
    first = subprocess.Popen(
        command,
        env={**os.environ, **cluster.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not results(out) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    # What executors had begun may still be finished by them.
    time.sleep(3)
    early = results(out)
    assert 0 < len(early) < 195

    again = spark_submit(
        "upscale",
        *options,
        run_dir=run_dir,
        profile="lab-2pc",
        spark=spark,
        environment=cluster.environment,
    )
    assert again.code == 1, again.out + again.err
    assert "5 of 200 files failed" in again.error
    # A name need not be text.
    assert failed_names(run_dir) == sorted(name.replace("\udcff", "\\xff") for name in broken)
    metrics = again.result["metrics"]
    assert (metrics["files"], metrics["failed"]) == (200, 5)
    assert metrics["done_before"] == len(early)
    assert metrics["done"] == 195 - len(early)
    assert metrics["megapixels_per_second"] > 0

    done = results(out)
    assert len(done) == 195
    assert {name: done[name] for name in early} == early, "nothing is done twice"
    for name in done:
        with Image.open(tmp_path / "in" / name) as source, Image.open(out / name) as result:
            result.load()
            assert result.size == (4 * source.width, 4 * source.height)
    huge = np.asarray(Image.open(out / "huge.png"))
    expected = upscale_bicubic(np.asarray(Image.open(tmp_path / "in/huge.png")))
    assert np.abs(huge.astype(int) - expected).mean() < 0.3
    hidden = {path.name for path in out.rglob(".*")}
    assert hidden == {".upscale.json", ".upscale.lock", ".upscaling"}
    assert not list((out / ".upscaling").iterdir())


@pytest.fixture(scope="module")
def film_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of ten seconds with sound, and a picture, upscaled on local cores."""
    folder = tmp_path_factory.mktemp("film")
    (folder / "in").mkdir()
    write_film(folder / "film.mp4", 10, "libx264", "aac").rename(folder / "in" / FILM)
    Image.fromarray(sample_pixels(40, 50)).save(folder / "in/a 'q\"\n日本.png")
    done = spark_submit(
        *("upscale", "--input", folder / "in", "--output", folder / "out", "--sheet", "9"),
        run_dir=folder / "run",
    )
    assert done.code == 0, done.out + done.err
    return folder


def test_a_film_keeps_frames_order_rate_and_sound(film_run: Path) -> None:
    source, target = film_run / "in" / FILM, film_run / "out" / FILM
    numbers, times, rate = frames_of(target)
    assert numbers == [number % 256 for number in range(250)]
    assert (times, rate) == frames_of(source)[1:]
    assert sound_of(target) == sound_of(source)


def test_the_default_model_did_it(film_run: Path) -> None:
    source, result = next((film_run / "in").glob("a*")), next((film_run / "out").glob("a*"))
    expected = upscale_with(decode_generator(read_model("default"), "").network)(
        np.asarray(Image.open(source))
    )
    assert np.abs(np.asarray(Image.open(result)).astype(int) - expected).max() <= 1


def test_the_same_command_does_what_is_new_and_nothing_else(film_run: Path) -> None:
    before = results(film_run / "out")
    Image.fromarray(sample_pixels(30, 30)).save(film_run / "in/new.png")
    options = ("--input", film_run / "in", "--output", film_run / "out")
    done = spark_submit("upscale", *options, "--sheet", "9", run_dir=film_run / "run")
    assert done.code == 0, done.out + done.err
    assert 'alt="before and after upscaling"' in render_page(film_run)
    # What was done this time: 120 x 120 pixels, each twice.
    assert Image.open(film_run / "run/contact-sheet.jpg").size == (516, 304)
    metrics = done.result["metrics"]
    assert (metrics["done_before"], metrics["done"]) == (2, 1)
    after = results(film_run / "out")
    assert after.keys() - before.keys() == {"new.png"}
    assert all(after[name] == before[name] for name in before)

    other = spark_submit("upscale", *options, "--model", "bicubic", run_dir=film_run / "other")
    assert other.code == 2
    assert "holds results of another model" in other.error


def test_strict_stops_at_the_first_failure(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bad.png").write_bytes(b"hello")
    Image.fromarray(sample_pixels(30, 30)).save(tmp_path / "in/good.png")
    options = ("--model", "bicubic", "--input", tmp_path / "in", "--output", tmp_path / "out")
    done = spark_submit("upscale", *options, "--strict", run_dir=tmp_path / "run")
    assert done.code == 1
    assert "bad.png" in done.error and "--strict" in done.error
    assert failed_names(tmp_path / "run") == ["bad.png"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--input", "absent", "--output", "out"), 66, "absent: no such file or folder"),
        (("--input", "in", "--output", "in/out"), 2, "inside"),
        (("--input", "in", "--output", "out", "--model", "nowhere"), 66, "nowhere: no such file"),
        (("--input", "in", "--output", "out", "--model", "in"), 66, "no srgan.safetensors or"),
        (("--input", "in", "--output", "out", "--model", "in/a.png"), 65, "no model file, damaged"),
        (("--input", "in", "--output", "out", "--memory-mb", "1"), 2, "needs at least"),
    ],
)
def test_mistakes_are_one_line(
    options: tuple[str, ...], code: int, message: str, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(sample_pixels(30, 30)).save(tmp_path / "in/a.png")
    done = spark_submit("upscale", *options, run_dir=tmp_path / "run")
    assert (done.code, len(done.err.strip().splitlines())) == (code, 1), done.err
    assert message in done.error


def check_default_model(folder: Path) -> None:
    """The default model is better than bicubic on the images of a folder."""
    images = read_images(str(folder)).usable
    network = decode_generator(read_model("default"), "").network
    ours, plain = evaluate(images, upscale_with(network)), evaluate(images, upscale_bicubic)
    assert ours["mean"].psnr_y > plain["mean"].psnr_y + 0.5
    assert ours["mean"].ssim_y > plain["mean"].ssim_y


def test_the_default_model_beats_bicubic(tmp_path: Path) -> None:
    fetch = [sys.executable, str(ROOT / "scripts/fetch_data.py"), "sample", "--to", str(tmp_path)]
    subprocess.run(fetch, check=True)
    check_default_model(tmp_path / "test")


@pytest.mark.parametrize("name", ["Set5", "Set14"])
def test_the_default_model_beats_bicubic_on(name: str) -> None:
    check_default_model(data_path("data") / name)
