"""The LeNet jobs under plain spark-submit, on local[2] and the real MNIST."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Submission, spark_submit
from PIL import Image

from jobs.runtime.recorded.retention import is_output
from lenet.idx import read_digits

LOCAL = ("--master", "local[2]")


@pytest.fixture(scope="module")
def trained(mnist: str, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    """One epoch over the real MNIST with the tuned recipe."""
    run_dir = tmp_path_factory.mktemp("runs") / "train"
    return spark_submit("train_lenet", "--data", mnist, "--epochs", 1, run_dir=run_dir, spark=LOCAL)


@pytest.mark.slow
def test_one_epoch_reads_most_digits(trained: Submission) -> None:
    assert trained.code == 0, trained.err
    assert all(is_output(path.name) for path in trained.run_dir.iterdir())
    result = trained.result
    metrics = result["metrics"]
    assert result["status"] == "ok"
    assert result["error"] is None
    assert result["cluster"] == {
        "master": "local[2]",
        "executors": 1,
        "cores": 2,
        "memory": "3g",
        "gpus": 0,
    }
    assert metrics["top1_accuracy"] == metrics["correct"] / metrics["count"] > 0.95
    assert metrics["count"] == 10000
    assert metrics["loss"] < 0.18
    assert (metrics["epochs"], metrics["iterations"]) == (1, 118)
    # That of the fused network, and that of BigDL's layers.
    assert metrics["history"][0]["test_accuracy"] == pytest.approx(
        metrics["top1_accuracy"], abs=0.0005
    )
    assert 0 < metrics["wall_clock_seconds"] < result["seconds"]
    assert metrics["records_per_second"] > 0


@pytest.mark.slow
def test_the_run_folder_holds_everything(trained: Submission) -> None:
    for name in ("options.json", "log.txt", "result.json", "model.bigdl", "learning-curves.png"):
        assert (trained.run_dir / name).stat().st_size > 0, name
    assert (trained.run_dir / "snapshots" / "epoch-0001" / "model.bigdl").exists()
    assert list(trained.run_dir.glob("tensorboard/lenet/train/*tfevents*"))
    assert list(trained.run_dir.glob("tensorboard/lenet/validation/*tfevents*"))
    with Image.open(trained.run_dir / "learning-curves.png") as picture:
        assert picture.width > 800
    assert json.loads((trained.run_dir / "options.json").read_text())["epochs"] == 1


@pytest.mark.slow
def test_the_terminal_stays_quiet(trained: Submission) -> None:
    assert len(trained.out.splitlines()) < 15, trained.out
    assert "Top-1" in trained.out
    assert "creating:" not in trained.out + trained.err
    assert "WARN" not in trained.out


@pytest.mark.slow
def test_finished_work_is_not_done_twice(trained: Submission, mnist: str) -> None:
    before = (trained.run_dir / "result.json").read_bytes()
    again = spark_submit(
        "train_lenet", "--data", mnist, "--epochs", 1, run_dir=trained.run_dir, spark=LOCAL
    )
    assert again.code == 0
    assert "already done" in again.out
    assert (trained.run_dir / "result.json").read_bytes() == before
    changed = ("--epochs", 1, "--batch-size", 1024)
    other = spark_submit(
        "train_lenet", "--data", mnist, *changed, run_dir=trained.run_dir, spark=LOCAL
    )
    assert other.code == 2
    assert "batch_size (was 512, is 1024)" in other.error


@pytest.mark.slow
def test_finished_training_goes_on_for_more_epochs(
    trained: Submission, mnist: str, tmp_path: Path
) -> None:
    run_dir = shutil.copytree(trained.run_dir, tmp_path / "run")
    longer = ("--epochs", 2)
    done = spark_submit("train_lenet", "--data", mnist, *longer, run_dir=run_dir, spark=LOCAL)
    assert done.code == 0, done.out + done.err
    assert "resuming after epoch 1" in done.out
    first, second = done.result["metrics"]["history"]
    assert first == trained.result["metrics"]["history"][0]
    assert second["epoch"] == 2 and second["test_accuracy"] > first["test_accuracy"]


@pytest.mark.slow
def test_evaluation_agrees_with_training(trained: Submission, mnist: str, tmp_path: Path) -> None:
    done = spark_submit(
        "evaluate_lenet",
        *("--model", trained.run_dir, "--data", mnist),
        run_dir=tmp_path / "evaluate",
        spark=LOCAL,
    )
    assert done.code == 0, done.err
    metrics = done.result["metrics"]
    assert metrics["correct"] == trained.result["metrics"]["correct"]
    assert metrics["loss"] == pytest.approx(trained.result["metrics"]["loss"], abs=1e-5)
    confusion = np.array(metrics["confusion"])
    labels = read_digits(mnist, "test").labels
    assert confusion.sum(axis=1).tolist() == np.bincount(labels).tolist()
    assert np.trace(confusion) == metrics["correct"]
    with Image.open(done.run_dir / "confusion.png") as picture:
        assert picture.width > 800


@pytest.mark.slow
def test_pictures_of_digits_are_read(trained: Submission, mnist: str, tmp_path: Path) -> None:
    """MNIST's digits in several spellings (see test_digit_pictures.py), and two without any."""
    digits = read_digits(mnist, "test")
    folder = tmp_path / "my digits"
    folder.mkdir()
    right: dict[str, int | None] = {}
    for index in range(30):
        image = digits.images[index]
        large = Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC)
        dark = Image.new("RGBA", large.size)
        dark.putalpha(large)
        spellings = {
            "as-it-is": Image.fromarray(image),
            "scan": Image.fromarray(255 - image).resize((112, 112)),
            "transparent": dark,
            "wide": Image.fromarray(np.pad(255 - np.asarray(large), ((0, 0), (150, 40)), "edge")),
            "grey": Image.fromarray((190 - np.asarray(large) // 3).astype(np.uint8)),
            "16-bits": Image.fromarray(np.asarray(large).astype(np.uint16) * 257),
        }
        for spelling, picture in spellings.items():
            picture.save(folder / f"{index:02d}-{spelling}.png")
            right[f"{index:02d}-{spelling}.png"] = int(digits.labels[index])
    Image.new("L", (100, 100), 200).save(folder / "blank.png")
    Image.new("RGBA", (100, 100)).save(folder / "nothing.png")
    right |= {"blank.png": None, "nothing.png": None}
    snapshot = trained.run_dir / "snapshots" / "epoch-0001"
    done = spark_submit(
        "evaluate_lenet",
        *("--model", snapshot, "--predict", folder),
        run_dir=tmp_path / "predict",
        spark=LOCAL,
    )
    assert done.code == 0, done.err
    found = done.result["metrics"]["predictions"]
    assert found.keys() == right.keys()
    assert found["blank.png"] is None and found["nothing.png"] is None
    assert done.result["metrics"]["unreadable"] == 2
    # One epoch knows 98 of a hundred.
    assert sum(found[name] == right[name] for name in right) >= 0.93 * len(right)
    with open(done.run_dir / "predictions.csv", newline="") as file:
        rows = {row["file"]: row["digit"] for row in csv.DictReader(file)}
    assert rows["blank.png"] == "" and len(rows) == len(right)


@pytest.mark.slow
def test_a_broken_run_goes_on_after_the_last_whole_epoch(small_mnist: Path, tmp_path: Path) -> None:
    command = ("--data", small_mnist, "--epochs", 4, "--batch-size", 64)
    run_dir = tmp_path / "run"
    whole = spark_submit("train_lenet", *command, run_dir=run_dir, spark=LOCAL)
    assert whole.code == 0, whole.err
    assert whole.result["metrics"]["iterations"] == 4 * 32
    assert sorted(path.name for path in (run_dir / "snapshots").iterdir()) == [
        "epoch-0002",
        "epoch-0003",
        "epoch-0004",
    ]
    # As a kill in epoch 4 leaves it, with the newest snapshot cut off by a full disk.
    (run_dir / "result.json").unlink()
    shutil.rmtree(run_dir / "snapshots" / "epoch-0004")
    damaged = run_dir / "snapshots" / "epoch-0003" / "model.bigdl"
    damaged.write_bytes(damaged.read_bytes()[:-50])
    resumed = spark_submit("train_lenet", *command, run_dir=run_dir, spark=LOCAL)
    assert resumed.code == 0, resumed.err
    assert "epoch-0003 is damaged" in resumed.out
    assert "resuming after epoch 2" in resumed.out
    history = resumed.result["metrics"]["history"]
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4]
    assert history[:2] == whole.result["metrics"]["history"][:2]
    assert resumed.result["metrics"]["iterations"] == 4 * 32
    assert history[3]["loss"] < history[1]["loss"] < history[0]["loss"]


@pytest.mark.slow
def test_the_seed_recipe_runs(small_mnist: Path, tmp_path: Path) -> None:
    config = Path(__file__).resolve().parents[1] / "conf" / "lenet-seed.toml"
    done = spark_submit(
        "train_lenet",
        *("--config", config, "--data", small_mnist, "--max-iterations", 40),
        run_dir=tmp_path / "seed",
        spark=LOCAL,
    )
    assert done.code == 0, done.err
    options = done.result["options"]
    assert (options["batch_size"], options["epochs"], options["network"]) == (32, 15, "seed")
    assert done.result["metrics"]["iterations"] == 40
