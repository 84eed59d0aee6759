"""Data and run folders on a real HDFS, for both trainings and both evaluations."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import fsspec
import pytest
from conftest import Submission, spark_submit
from PIL import Image
from srgan_samples import write_samples

from jobs.runtime import remote  # noqa: F401  registers hdfs://

LOCAL = ("--master", "local[2]")
TINY = (
    *("--phase", "srresnet", "--srresnet-steps", 4, "--residual-blocks", 1, "--channels", 8),
    *("--crop-size", 32, "--batch-size", 4, "--log-every", 2, "--checkpoint-every", 2),
    *("--validate-every", 4, "--pictures", 1),
)


@pytest.fixture(scope="module")
def files(hdfs: str) -> Any:
    """The file system behind hdfs://."""
    system, _ = fsspec.core.url_to_fs(hdfs)
    return system


def submit(job: str, *options: object, run_dir: str, here: Path) -> Submission:
    """spark-submit with a run folder on HDFS; `here` is an empty working and temporary folder."""
    here.mkdir(exist_ok=True)
    done = spark_submit(
        job,
        *options,
        run_dir=here / "unused",
        spark=LOCAL,
        environment={"TMPDIR": str(here)},
        run_url=run_dir,
    )
    assert done.code == 0, done.out + done.err
    return done


def read_json(url: str) -> dict[str, Any]:
    with fsspec.open(url) as file:
        return json.load(file)


@pytest.mark.slow
def test_lenet_from_and_to_hdfs(hdfs: str, files: Any, small_mnist: Path, tmp_path: Path) -> None:
    data, run = f"{hdfs}/mnist small", f"{hdfs}/runs/lenet"
    files.put(f"{small_mnist}/", "/mnist small/", recursive=True)
    options = ("--data", data, "--epochs", 3, "--batch-size", 64)
    submit("train_lenet", *options, run_dir=run, here=tmp_path / "pc1")
    result = read_json(f"{run}/result.json")
    assert result["status"] == "ok"
    names = {name.partition("/runs/lenet/")[2] for name in files.find("/runs/lenet")}
    snapshots = {f"snapshots/epoch-000{epoch}/model.bigdl" for epoch in (1, 2, 3)}
    assert {"model.bigdl", "learning-curves.png", "log.txt", "options.json", *snapshots} <= names
    assert not [name for name in names if "_copying" in name or name.endswith(".lock")]
    # BigDL's own way would have made this folder.
    assert not [name for name in os.listdir(tmp_path / "pc1") if name.startswith("hdfs")]

    # Another machine, which has nothing of it: the finished run is known, a broken one goes on.
    again = submit("train_lenet", *options, run_dir=run, here=tmp_path / "pc2")
    assert "already done" in again.out
    files.rm("/runs/lenet/result.json")
    files.rm("/runs/lenet/snapshots/epoch-0003", recursive=True)
    resumed = submit("train_lenet", *options, run_dir=run, here=tmp_path / "pc3")
    assert "resuming after epoch 2" in resumed.out
    history = read_json(f"{run}/result.json")["metrics"]["history"]
    assert history[:2] == result["metrics"]["history"][:2]
    assert len(history) == 3

    evaluated = f"{hdfs}/runs/evaluated"
    submit(
        "evaluate_lenet",
        *("--model", run, "--data", data),
        run_dir=evaluated,
        here=tmp_path / "pc4",
    )
    correct = read_json(f"{run}/result.json")["metrics"]["correct"]
    assert read_json(f"{evaluated}/result.json")["metrics"]["correct"] == correct
    assert files.exists("/runs/evaluated/confusion.png")


@pytest.mark.slow
def test_digits_to_read_from_hdfs(hdfs: str, files: Any, small_mnist: Path, tmp_path: Path) -> None:
    from lenet.idx import read_digits

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, image in enumerate(read_digits(str(small_mnist), "test").images[:3]):
        Image.fromarray(image).save(pictures / f"{number}.png")
    files.put(f"{pictures}/", "/pictures/", recursive=True)
    model = f"{hdfs}/runs/lenet/model.bigdl"
    if not files.exists("/runs/lenet/model.bigdl"):
        pytest.skip("needs the model of the test before")
    run = f"{hdfs}/runs/read"
    submit(
        "evaluate_lenet",
        *("--model", model, "--predict", f"{hdfs}/pictures"),
        run_dir=run,
        here=tmp_path / "pc",
    )
    assert read_json(f"{run}/result.json")["metrics"]["predictions"].keys() == {
        "0.png",
        "1.png",
        "2.png",
    }


@pytest.mark.slow
def test_srgan_from_and_to_hdfs(hdfs: str, files: Any, tmp_path: Path) -> None:
    write_samples(tmp_path / "train", 4)
    write_samples(tmp_path / "test", 2, side=44)
    for name in ("train", "test"):
        files.put(f"{tmp_path / name}/", f"/images/{name}/", recursive=True)
    run = f"{hdfs}/runs/srgan"
    options = ("--data", f"{hdfs}/images/train", "--test-sets", f"{hdfs}/images/test", *TINY)
    submit("train_srgan", *options, run_dir=run, here=tmp_path / "pc1")
    result = read_json(f"{run}/result.json")
    assert (result["metrics"]["steps"], result["metrics"]["world_size"]) == (4, 2)
    assert files.exists("/runs/srgan/pictures/srresnet-000000004.png")
    assert files.find("/runs/srgan/tensorboard")

    # The last checkpoint is cut off, the result gone: on from the one before, elsewhere.
    files.rm("/runs/srgan/result.json")
    (last,) = [name for name in files.find("/runs/srgan/checkpoints") if name.endswith("4.pt")]
    half = files.cat_file(last)[:1000]
    files.rm(last)
    files.pipe_file(last, half)
    submit("train_srgan", *options, run_dir=run, here=tmp_path / "pc2")
    resumed = read_json(f"{run}/result.json")["metrics"]
    assert resumed["steps"] == 4
    assert resumed["test_sets"] == result["metrics"]["test_sets"]

    judged = f"{hdfs}/runs/judged"
    submit(
        "evaluate_srgan",
        *("--models", f"{run}/srresnet.safetensors", "--test-sets", f"{hdfs}/images/test"),
        run_dir=judged,
        here=tmp_path / "pc3",
    )
    scores = read_json(f"{judged}/result.json")["metrics"]["test_sets"]["test"]["srresnet"]
    expected = result["metrics"]["test_sets"]["test"]["psnr_y"]
    assert scores["psnr_y"] == pytest.approx(expected, abs=0.01)
    assert files.exists("/runs/judged/contact-sheet.png")
