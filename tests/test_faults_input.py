"""Bad input under spark-submit: refused before any work, naming the file or the option."""

from __future__ import annotations

import gzip
import pickle
import shutil
import struct
import subprocess
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from conftest import StandaloneCluster, spark_submit, submit_command
from srgan_samples import write_samples

from lenet.idx import FILES

LOCAL = ("--master", "local[2]")
SOON = 15


def huge_png() -> bytes:
    """A PNG file of 50000 x 50000 pixels in a few bytes: pixels that would be 7 GB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))


def test_training_images_of_all_bad_kinds(tmp_path: Path) -> None:
    data = write_samples(tmp_path / "my pictures", 2)
    whole = (data / "im_1.png").read_bytes()
    bad = {
        "torn.png": whole[: len(whole) // 2],
        "nothing.png": b"",
        "bomb.png": huge_png(),
        "text.png": b"hello",
        "with space.png": b"bad",
        "quotes'\".png": b"bad",
        "new\nline.png": b"bad",
        "画像.png": b"bad",
    }
    for name, content in bad.items():
        (data / name).write_bytes(content)
    (data / "gone.png").symlink_to(data / "nowhere.png")
    command = ("--data", data, "--phase", "srresnet")
    done = spark_submit("train_srgan", *command, run_dir=tmp_path / "run", spark=LOCAL)
    assert done.code == 65, done.out + done.err
    for name in (*bad, "gone.png"):
        assert name.replace("\n", " ") in done.error
    assert "--skip-bad" in done.error
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("what", ["empty", "folder", "bomb", "link"])
def test_mnist_of_bad_kinds(what: str, small_mnist: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(small_mnist, data)
    path = data / FILES["train"][0]
    path.unlink()
    if what == "empty":
        path.touch()
    elif what == "folder":
        path.mkdir()
    elif what == "link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        with gzip.open(f"{path}.gz", "wb", compresslevel=1) as file:
            file.write(struct.pack(">4i", 2051, 60000, 28, 28))
            for _ in range(64):
                file.write(bytes(1 << 24))
    done = spark_submit("train_lenet", "--data", data, run_dir=tmp_path / "run", spark=LOCAL)
    assert done.code == (65 if what in ("empty", "bomb") else 66), done.out + done.err
    assert str(path) in done.error


class Malicious:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("kind", ["pickle", "zip"])
@pytest.mark.parametrize("job", ["evaluate_srgan", "upscale", "evaluate_lenet"])
def test_a_malicious_model(kind: str, job: str, tmp_path: Path) -> None:
    model, trace = tmp_path / "model.pt", tmp_path / "executed"
    evil = pickle.dumps(Malicious(trace))
    if kind == "pickle":
        model.write_bytes(evil)
    else:
        with zipfile.ZipFile(model, "w") as file:
            file.writestr("archive/data.pkl", evil)
            file.writestr("archive/version", "3\n")
            file.writestr("../../escaped", "x")
    data = write_samples(tmp_path / "images", 1)
    words = {
        "evaluate_srgan": ("--models", model, "--test-sets", data),
        "upscale": ("--model", model, "--input", data, "--output", tmp_path / "large"),
        "evaluate_lenet": ("--model", model, "--predict", data),
    }[job]
    done = spark_submit(job, *words, run_dir=tmp_path / "run", spark=LOCAL)
    assert done.code == 65, done.out + done.err
    assert str(model) in done.error
    assert not trace.exists()
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize(
    ("job", "config", "words", "code"),
    [
        ("train_lenet", "batch_sise = 64", (), 2),
        ("train_lenet", 'epochs = "3"', (), 2),
        ("train_srgan", "learning_rate = nan", (), 2),
        ("train_srgan", "channels = -1", (), 2),
        ("train_srgan", "batch_size = 0", (), 2),
        ("upscale", "", ("--input", "x", "--output", "y", "--max-megapixels", "nan"), 2),
        ("train_srgan", "", ("--batch-size", 5), 2),
    ],
)
def test_options_are_refused_soon(
    job: str, config: str, words: tuple, code: int, tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text(config)
    options = ("--config", tmp_path / "recipe.toml", *words, "--run-dir", tmp_path / "run")
    done = subprocess.run(
        submit_command(job, *options, spark=LOCAL),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    named = config.partition(" ")[0] or str(words[-2])
    assert named in done.stderr.strip().splitlines()[-1]


@pytest.mark.cluster
def test_a_profile_too_large_for_the_cluster(
    cluster: StandaloneCluster, small_mnist: Path, tmp_path: Path
) -> None:
    begin = time.monotonic()
    done = spark_submit(
        "train_lenet",
        *("--data", small_mnist, "--batch-size", 64),
        run_dir=tmp_path / "run",
        profile="lab-4pc",
        spark=("--master", cluster.master),
        environment=cluster.environment,
    )
    assert done.code == 69, done.out + done.err
    assert "has room for 0 of the 4 executors with 2 cores and 2g" in done.error
    assert time.monotonic() - begin < SOON
