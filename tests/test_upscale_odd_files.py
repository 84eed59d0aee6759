"""jobs/upscale.py on a folder of odd files: each is done or named, nothing hangs, nothing twice."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest
from conftest import Submission, spark_submit
from PIL import Image
from srgan_samples import sample_pixels

from srgan.upscaling.manifest import MANIFEST

NO_TEXT = os.fsdecode(b"latin1-\xe9.bmp")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of odd files, and an output folder with something in the way."""
    folder = tmp_path_factory.mktemp("odd")
    source = folder / "in::dir"
    source.mkdir()
    names = ("a::b.png", "future.png", "zip::c.png", "way.png", NO_TEXT, "old.png")
    for number, name in enumerate(names):
        draw(source / name, number)
    os.utime(source / "future.png", (time.time() + 1e8,) * 2)
    (source / "._a::b.png").write_bytes(b"\x00\x05\x16\x07")
    os.mkfifo(source / "pipe.png")
    (source / "to-pipe.mp4").symlink_to(source / "pipe.png")
    (source / "gone.png").symlink_to(source / "nowhere.png")
    (folder / "disk").mkdir()
    draw(folder / "disk/linked.png", 9)
    (source / "album").symlink_to(folder / "disk")
    (folder / "disk/back").symlink_to(source)
    (folder / "out::dir/way.png").mkdir(parents=True)
    return folder


def draw(path: Path, seed: int) -> None:
    """Through a name that is text: Pillow goes by the suffix, which need not be any."""
    plain = path.with_name(f"plain{path.suffix}")
    Image.fromarray(sample_pixels(24, 30, seed)).save(plain)
    plain.rename(path)


def upscale(place: Path, run: str) -> Submission:
    options = ("--input", place / "in::dir", "--output", place / "out::dir", "--model", "bicubic")
    return spark_submit("upscale", *options, run_dir=place / run, spark=("--master", "local[2]"))


def strict(path: Path) -> Any:
    """A JSON file without the constants that JSON does not have."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} in {path}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


FAILURES = {
    "gone.png": "is a link that leads nowhere",
    "pipe.png": "is a named pipe, no regular file",
    "to-pipe.mp4": "is a named pipe, no regular file",
    "way.png": "a folder of that name is in the way in the output folder",
}


def test_odd_files_are_done_or_named(place: Path) -> None:
    done = upscale(place, "run::1")
    assert done.code == 1, done.out + done.err
    assert "4 of 10 files failed" in done.error
    lines = (place / "run::1/failed.jsonl").read_text(encoding="utf-8").splitlines()
    assert {line["name"]: line["reason"] for line in map(json.loads, lines)} == FAILURES
    metrics = strict(place / "run::1/result.json")["metrics"]
    assert (metrics["done"], metrics["done_before"], metrics["failed"]) == (6, 0, 4)
    assert metrics["failures"] == FAILURES
    assert "left out album/back: leads to the folder itself" in done.out
    out = place / "out::dir"
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert {name for name in found if not name.startswith(".")} == {
        *("a::b.png", "album/linked.png", "future.png", "old.png", "zip::c.png", NO_TEXT),
    }
    for name in ("a::b.png", "zip::c.png", NO_TEXT):
        with open(out / name, "rb") as file, Image.open(file) as result:
            result.load()
            assert result.size == (120, 96)


def test_again_only_what_has_changed(place: Path) -> None:
    draw(place / "in::dir/old.png", 20)
    os.utime(place / "in::dir/old.png", (1e9, 1e9))
    os.truncate(place / "out::dir/zip::c.png", 100)
    os.utime(place / "in::dir/future.png", (time.time() + 2e8,) * 2)
    (place / "out::dir/way.png").rmdir()
    for name in ("gone.png", "pipe.png", "to-pipe.mp4"):
        (place / "in::dir" / name).unlink()
    done = upscale(place, "run::1")
    assert done.code == 0, done.out + done.err
    metrics = strict(place / "run::1/result.json")["metrics"]
    assert (metrics["done"], metrics["done_before"]) == (3, 4)
    assert "zip::c.png: its result is not as it was written" in done.out
    lines = (place / "out::dir" / MANIFEST).read_text(encoding="ascii").splitlines()
    assert len(lines) == 1 + 7
    assert all(json.loads(line)["result"] > 0 for line in lines[1:])

    again = upscale(place, "run 2")
    assert again.code == 0, again.out + again.err
    assert again.result["metrics"]["done_before"] == 7
