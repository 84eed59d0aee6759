"""Each kind of bad input under spark-submit: its exit code, and one line that says why."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Submission, free_port, spark_submit, write_digits

from lenet.idx import FILES, Digits, write_labels

IMAGES = np.zeros((64, 28, 28), dtype=np.uint8)
LABELS = np.arange(64, dtype=np.uint8) % 10


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that is whole, but blank."""
    folder = tmp_path_factory.mktemp("blank")
    for part in FILES:
        write_digits(folder, part, Digits(IMAGES, LABELS))
    return folder


def refuse(done: Submission, code: int, *words: str) -> None:
    assert done.code == code, done.out + done.err
    for word in words:
        assert word in done.error
    assert "Traceback" not in done.out + done.err


def test_no_data(tmp_path: Path) -> None:
    done = spark_submit("train_lenet", "--data", tmp_path / "none", run_dir=tmp_path / "run")
    refuse(done, 66, "none/train-images-idx3-ubyte", "fetch_data.py")
    assert done.result["status"] == "failed"
    assert done.result["error"] in done.error
    assert "Traceback" in (done.run_dir / "log.txt").read_text()


def test_damaged_data(blank: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(blank, data)
    write_labels(str(data / FILES["test"][1]), np.full(64, 77, dtype=np.uint8))
    done = spark_submit("train_lenet", "--data", data, run_dir=tmp_path / "run")
    refuse(done, 65, FILES["test"][1], "label 77")


def test_a_batch_that_does_not_divide(blank: Path, tmp_path: Path) -> None:
    done = spark_submit(
        "train_lenet",
        *("--data", blank, "--batch-size", 33),
        run_dir=tmp_path / "run",
        spark=("--master", "local[4]"),
    )
    refuse(done, 2, "--batch-size 33", "32 or 36")


def test_an_unknown_option(tmp_path: Path) -> None:
    done = spark_submit("train_lenet", "--epoch", 3, run_dir=tmp_path / "run")
    refuse(done, 2, "--epoch")
    assert not done.run_dir.exists()


def test_no_master(blank: Path, tmp_path: Path) -> None:
    master = f"spark://127.0.0.1:{free_port()}"
    done = spark_submit(
        "train_lenet",
        *("--data", blank),
        run_dir=tmp_path / "run",
        profile="lab-2pc",
        spark=("--master", master),
    )
    refuse(done, 69, master, "--master spark://HOST:7077")


def test_a_profile_that_contradicts_itself(blank: Path, tmp_path: Path) -> None:
    done = spark_submit(
        "train_lenet",
        *("--data", blank),
        run_dir=tmp_path / "run",
        profile="lab-2pc",
        spark=("--total-executor-cores", "5"),
    )
    refuse(done, 2, "spark.cores.max = 5", "spark.executor.cores = 2")


def test_models_that_are_none(blank: Path, tmp_path: Path) -> None:
    done = spark_submit(
        "evaluate_lenet", "--data", blank, "--model", tmp_path / "none", run_dir=tmp_path / "a"
    )
    refuse(done, 66, str(tmp_path / "none"))
    text = tmp_path / "model.bigdl"
    text.write_text("no model")
    done = spark_submit("evaluate_lenet", "--data", blank, "--model", text, run_dir=tmp_path / "b")
    refuse(done, 65, str(text))
    # A Java-serialised object is refused before anything in it is read.
    text.write_bytes(b"\xac\xed\x00\x05" + b"anything")
    done = spark_submit("evaluate_lenet", "--data", blank, "--model", text, run_dir=tmp_path / "c")
    refuse(done, 65, str(text), "Java-serialised")
