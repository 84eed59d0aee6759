"""The SRGAN jobs under plain spark-submit: ranks on local[2], on a cluster, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from conftest import ROOT, Submission, spark_submit
from PIL import Image
from srgan_samples import write_samples

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
    assert {"srresnet.safetensors", "srgan.safetensors", "options.json", "log.txt"} <= names
    assert list(trained.run_dir.glob("tensorboard/*tfevents*"))
    with Image.open(trained.run_dir / "pictures" / "srgan-000000004.png") as picture:
        assert picture.width > 4 * 40


@pytest.mark.slow
def test_models_are_judged_beside_bicubic(
    trained: Submission, pictures: Path, tmp_path: Path
) -> None:
    models = [trained.run_dir / f"{name}.safetensors" for name in ("srresnet", "srgan")]
    done = spark_submit(
        "evaluate_srgan",
        *("--models", ",".join(map(str, models)), "--test-sets", pictures / "test"),
        run_dir=tmp_path / "evaluate",
        spark=LOCAL,
    )
    assert done.code == 0, done.out + done.err
    found = done.result["metrics"]["test_sets"]["test"]
    assert found.keys() == {"bicubic", "srresnet", "srgan"}
    expected = trained.result["metrics"]["test_sets"]["test"]
    assert found["srgan"]["psnr_y"] == pytest.approx(expected["psnr_y"], abs=0.01)
    assert found["bicubic"]["ssim_y"] == pytest.approx(expected["bicubic_ssim_y"], abs=1e-6)
    with open(done.run_dir / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3
    mean = sum(float(row["psnr_y"]) for row in rows if row["method"] == "bicubic") / 3
    assert mean == pytest.approx(found["bicubic"]["psnr_y"], abs=1e-3)
    with Image.open(done.run_dir / "contact-sheet.png") as sheet:
        assert sheet.height > 3 * 44


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
