"""Trainings and evaluations on folders as people have them: odd names, and odd files inside."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import pytest
from conftest import Submission, spark_submit
from PIL import Image
from srgan_samples import sample_pixels, write_samples
from test_strict_json import strict

LOCAL = ("--master", "local[2]")
TINY = (
    *("--phase", "srresnet", "--srresnet-steps", 2, "--residual-blocks", 1, "--channels", 8),
    *("--crop-size", 32, "--batch-size", 4, "--log-every", 1, "--checkpoint-every", 2),
    *("--validate-every", 2, "--pictures", 1),
)
NO_TEXT = os.fsdecode(b"latin1-\xe9.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with two images each, with files of macOS, and in one of them what cannot be read."""
    folder = tmp_path_factory.mktemp("odd")
    for name in ("data::1", "test::1", "bad"):
        write_samples(folder / name, 2, side=44)
        (folder / name / "._im_1.png").write_bytes(b"\x00\x05\x16\x07")
        (folder / name / ".DS_Store").write_bytes(b"x")
    shutil.move(folder / "test::1/im_2.png", folder / "test::1" / NO_TEXT)
    Image.new("RGB", (48, 48), (90, 90, 90)).save(folder / "test::1/flat.png")
    os.mkfifo(folder / "bad/pipe.png")
    (folder / "bad/text.png").write_text("no picture")
    Image.fromarray(sample_pixels(8, 90)).save(folder / "bad/low.png")
    return folder


@pytest.fixture(scope="module")
def trained(place: Path) -> Submission:
    """A training on them, its tests with unusable images, which are left out."""
    return spark_submit(
        "train_srgan",
        *("--data", place / "data::1", "--test-sets", f"{place}/test::1,{place}/bad", *TINY),
        "--skip-bad",
        run_dir=place / "run::1",
        spark=LOCAL,
    )


def test_a_training_leaves_out_test_images(trained: Submission) -> None:
    assert trained.code == 0, trained.out + trained.err
    metrics = strict((trained.run_dir / "result.json").read_text(encoding="utf-8"))["metrics"]
    assert metrics["images"] == 2
    assert [line.partition(":")[0] for line in metrics["skipped_images"]] == [
        *("bad/pipe.png", "bad/low.png", "bad/text.png"),
    ]
    assert (trained.run_dir / "checkpoints").is_dir()
    assert (trained.run_dir / "srresnet.safetensors").is_file()


def test_an_evaluation_refuses_them_and_leaves_them_out(trained: Submission, place: Path) -> None:
    options = ("--models", trained.run_dir, "--test-sets", f"{place}/test::1,{place}/bad")
    done = spark_submit("evaluate_srgan", *options, run_dir=place / "judged::1", spark=LOCAL)
    assert done.code == 65, done.out + done.err
    assert "3 unusable of 5 images" in done.error
    assert "pipe.png: is a named pipe, no regular file" in done.error
    assert done.error.endswith("remove them or give --skip-bad")

    options = (*options, "--skip-bad")
    done = spark_submit("evaluate_srgan", *options, run_dir=place / "judged::2", spark=LOCAL)
    assert done.code == 0, done.out + done.err
    metrics = strict((done.run_dir / "result.json").read_text(encoding="utf-8"))["metrics"]
    assert metrics["test_sets"].keys() == {"test::1", "bad"}
    assert len(metrics["skipped_images"]) == 3
    assert "left out bad/pipe.png: is a named pipe, no regular file" in done.out
    with open(done.run_dir / "scores.csv", newline="", encoding="utf-8") as file:
        rows = {(row["image"], row["method"]): row for row in csv.DictReader(file)}
    assert {image for image, _ in rows} == {
        *("flat.png", "im_1.png", "im_2.png", "latin1-\\xe9.png"),
    }
    # An image that is hit exactly is counted, and said so.
    assert metrics["equal_images"] == {"test::1": {"bicubic": 1}}
    assert "1 of the images equal to the original, PSNR 100 dB" in done.out
