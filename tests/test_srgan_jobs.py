"""The SRGAN jobs under plain spark-submit: ranks on local[2], on a cluster, and what is refused."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from conftest import ROOT, Submission, spark_submit
from PIL import Image
from srgan_samples import sample_pixels, write_lpips, write_samples

from jobs.runtime.recorded.retention import is_output
from srgan.evaluation import bicubic, evaluate_image
from srgan.image_folder import NamedImage
from srgan.lpips import find_lpips

LOCAL = ("--master", "local[2]")
TINY = (
    *("--residual-blocks", 1, "--channels", 8, "--crop-size", 32, "--batch-size", 4),
    *("--srresnet-steps", 6, "--srgan-steps", 4, "--content", "mse", "--learning-rate", 1e-3),
    *("--log-every", 2, "--checkpoint-every", 2, "--validate-every", 4, "--pictures", 1),
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders train and test with generated images."""
    folder = tmp_path_factory.mktemp("pictures")
    write_samples(folder / "train", 6)
    write_samples(folder / "test", 3, side=44)
    return folder


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    """Both phases on two ranks."""
    return spark_submit(
        "train_srgan",
        *("--data", pictures / "train", "--test-sets", pictures / "test", *TINY),
        run_dir=tmp_path_factory.mktemp("runs") / "train",
        spark=LOCAL,
    )


@pytest.mark.slow
def test_two_ranks_train_both_phases(trained: Submission) -> None:
    assert trained.code == 0, trained.out + trained.err
    metrics = trained.result["metrics"]
    assert (metrics["world_size"], metrics["backend"], metrics["device"]) == (2, "gloo", "cpu")
    assert (metrics["steps"], metrics["crops"]) == (10, 40)
    assert metrics["crops_per_second"] > 0
    assert metrics["allreduce_share"] >= 0
    assert metrics["losses"].keys() == {"srresnet", "srgan"}
    scores = metrics["test_sets"]["test"]
    assert 5 < scores["psnr_y"] < 60
    assert 5 < scores["bicubic_psnr_y"] < 60
    assert "bicubic" in trained.out
    assert "@progress" not in trained.out + trained.err


@pytest.mark.slow
def test_the_run_folder_holds_models_and_pictures(trained: Submission) -> None:
    names = {path.name for path in trained.run_dir.iterdir()}
    assert all(map(is_output, names))
    assert {"srresnet.safetensors", "srgan.safetensors", "options.json", "log.txt"} <= names
    assert list(trained.run_dir.glob("tensorboard/*tfevents*"))
    with Image.open(trained.run_dir / "pictures" / "srgan-000000004.png") as picture:
        assert picture.width > 4 * 40


@pytest.mark.slow
def test_models_are_judged_beside_bicubic(
    trained: Submission, pictures: Path, tmp_path: Path
) -> None:
    models = [trained.run_dir / f"{name}.safetensors" for name in ("srresnet", "srgan")]
    weights = write_lpips(tmp_path / "lpips.safetensors")
    done = spark_submit(
        "evaluate_srgan",
        *("--models", ",".join(map(str, models)), "--test-sets", pictures / "test"),
        *("--lpips-weights", weights),
        run_dir=tmp_path / "evaluate",
        spark=LOCAL,
    )
    assert done.code == 0, done.out + done.err
    found = done.result["metrics"]["test_sets"]["test"]
    assert found.keys() == {"bicubic", "srresnet", "srgan"}
    expected = trained.result["metrics"]["test_sets"]["test"]
    assert found["srgan"]["psnr_y"] == pytest.approx(expected["psnr_y"], abs=0.01)
    assert found["bicubic"]["ssim_y"] == pytest.approx(expected["bicubic_ssim_y"], abs=1e-6)
    assert all(is_output(path.name) for path in done.run_dir.iterdir())
    with open(done.run_dir / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3
    mean = sum(float(row["psnr_y"]) for row in rows if row["method"] == "bicubic") / 3
    assert mean == pytest.approx(found["bicubic"]["psnr_y"], abs=1e-3)
    mean = sum(float(row["lpips"]) for row in rows if row["method"] == "srgan") / 3
    assert mean == pytest.approx(found["srgan"]["lpips"], abs=1e-3)
    assert mean > 0
    assert f"LPIPS {found['srgan']['lpips']:.4f}" in done.out
    with Image.open(pictures / "test" / "im_1.png") as picture:
        image = NamedImage("im_1.png", np.asarray(picture))
    by_hand = evaluate_image(image, bicubic, find_lpips(str(weights))).scores
    (shown,) = (one for one in done.result["metrics"]["pictures"] if "im_1" in one["image"])
    assert shown["bicubic_lpips"] == pytest.approx(by_hand.lpips, rel=1e-4)
    assert shown["lpips"] is not None
    with Image.open(done.run_dir / "contact-sheet.png") as sheet:
        assert sheet.height > 3 * 44


def finite_json(path: Path) -> dict[str, Any]:
    """A JSON file without the constants that JSON does not have."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} in {path}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_models_by_name_and_images_that_are_hit_exactly(tmp_path: Path) -> None:
    folder, run = tmp_path / "test", tmp_path / "tonight"
    write_samples(folder, 1, side=44)
    Image.new("RGB", (48, 48), (90, 90, 90)).save(folder / "flat.png")
    # PSNR and SSIM can be measured of it, LPIPS cannot.
    Image.fromarray(sample_pixels(24, 24)).save(folder / "small.png")
    run.mkdir()
    shutil.copy(ROOT / "srgan" / "weights" / "default.safetensors", run / "srgan.safetensors")
    done = spark_submit(
        "evaluate_srgan",
        *("--models", f"default,{run}", "--test-sets", folder, "--pictures", 0),
        *("--lpips-weights", write_lpips(tmp_path / "lpips.safetensors")),
        run_dir=tmp_path / "evaluate",
        spark=LOCAL,
    )
    assert done.code == 0, done.out + done.err
    found = finite_json(done.run_dir / "result.json")["metrics"]["test_sets"]["test"]
    assert found.keys() == {"bicubic", "default", "tonight"}
    assert found["default"] == found["tonight"]
    with open(done.run_dir / "scores.csv", newline="") as file:
        rows = {(row["image"], row["method"]): row for row in csv.DictReader(file)}
    flat = rows["flat.png", "bicubic"]
    assert (flat["psnr_y"], flat["psnr_rgb"], float(flat["lpips"])) == ("100.0000", "100.0000", 0)
    assert rows["small.png", "bicubic"]["lpips"] == ""
    measured = [float(rows[name, "default"]["lpips"]) for name in ("flat.png", "im_1.png")]
    assert found["default"]["lpips"] == pytest.approx(sum(measured) / 2, abs=1e-3)


def test_without_weights_of_lpips_it_says_so(tmp_path: Path) -> None:
    """In a checkout of its own, where they have not been fetched; small images are JPEG here."""
    for room in ("jobs", "srgan"):
        shutil.copytree(ROOT / room, tmp_path / room)
    samples = sorted(write_samples(tmp_path / "test", 2, side=44).iterdir())
    run = tmp_path / "run"
    done = subprocess.run(
        [
            *("spark-submit", "--properties-file", ROOT / "conf" / "local.conf", *LOCAL),
            *(tmp_path / "jobs" / "evaluate_srgan.py", "--test-sets", tmp_path / "test"),
            *("--run-dir", run, "--jpeg-quality", "40"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("not measured: python scripts/fetch_data.py lpips") == 1
    found = finite_json(run / "result.json")["metrics"]
    assert found["test_sets"]["test"]["bicubic"]["lpips"] is None
    assert {picture["lpips"] for picture in found["pictures"]} == {None}
    images = [NamedImage(path.name, np.asarray(Image.open(path))) for path in samples]
    by_hand = [evaluate_image(image, bicubic, jpeg_quality=40).scores.psnr_y for image in images]
    psnr = found["test_sets"]["test"]["bicubic"]["psnr_y"]
    assert psnr == pytest.approx(np.mean(by_hand), abs=1e-6)
    with open(run / "scores.csv", newline="") as file:
        assert {row["lpips"] for row in csv.DictReader(file)} == {""}


@pytest.mark.skipif(
    (ROOT / "data" / "weights" / "vgg19-dcbb9e9d.pth").exists(), reason="VGG19 has been fetched"
)
def test_no_vgg_weights(pictures: Path, tmp_path: Path) -> None:
    done = spark_submit(
        "train_srgan",
        *("--data", pictures / "train", *TINY, "--content", "vgg54"),
        run_dir=tmp_path / "run",
        spark=LOCAL,
    )
    assert done.code == 69, done.out + done.err
    assert "--vgg-weights FILE" in done.error
    assert "--content mse" in done.error


def test_bad_pictures_are_named_or_left_out(pictures: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_samples(data, 4)
    (data / "text.png").write_text("no picture")
    command = ("--data", data, *TINY, "--phase", "srresnet")
    done = spark_submit("train_srgan", *command, run_dir=tmp_path / "a", spark=LOCAL)
    assert done.code == 65, done.out + done.err
    assert "text.png" in done.error
    assert "--skip-bad" in done.error
    done = spark_submit("train_srgan", *command, "--skip-bad", run_dir=tmp_path / "b", spark=LOCAL)
    assert done.code == 0, done.out + done.err
    assert "left out text.png" in done.out
    assert done.result["metrics"]["images"] == 4


def test_ranks_must_fit(pictures: Path, tmp_path: Path) -> None:
    for words, message in (
        (("--ranks", 3), "--ranks 3: the profile has 2 cores"),
        (("--batch-size", 5), "--batch-size 5 does not divide among 2 ranks"),
    ):
        done = spark_submit(
            "train_srgan",
            *("--data", pictures / "train", *TINY, *words),
            run_dir=tmp_path / str(words[1]),
            spark=LOCAL,
        )
        assert done.code == 2, done.out + done.err
        assert message in done.error
