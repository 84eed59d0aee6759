"""The classes of lenet/jvm compute what BigDL's own do, and are those of their sources."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, StandaloneCluster, Submission, spark_submit, write_digits
from faults import on
from numpy.typing import NDArray

from build_jar import compile_classes
from lenet.bigdl import JAR
from lenet.idx import Digits, read_digits

LOCAL = ("--master", "local[2]")
# All records in every batch, none of them moved: the order does not matter.
WHOLE = ("--batch-size", 2000, "--shift", 0, "--learning-rate", 0.2, "--epochs", 3)
MOMENTUM = 0.9


@pytest.fixture(scope="module")
def trained(small_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    """Three epochs of one iteration."""
    run_dir = tmp_path_factory.mktemp("fused") / "run"
    done = spark_submit("train_lenet", "--data", small_mnist, *WHOLE, run_dir=run_dir, spark=LOCAL)
    assert done.code == 0, done.out + done.err
    return done


@pytest.fixture(scope="module")
def found(
    trained: Submission, small_mnist: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, NDArray[np.float32]]:
    """What fused_probe.py has written."""
    data = tmp_path_factory.mktemp("same")
    for part in ("train", "test"):
        digits = read_digits(str(small_mnist), part)
        # All batches alike, so that their order does not matter.
        images, labels = (np.repeat(of[:1], 96, axis=0) for of in (digits.images, digits.labels))
        write_digits(data, part, Digits(images, labels))
    options = ("--batch-size", 16, "--shift", 0, "--epochs", 2, "--learning-rate", 0.02)
    same = spark_submit("train_lenet", "--data", data, *options, run_dir=data / "run", spark=LOCAL)
    assert same.code == 0, same.out + same.err
    output = tmp_path_factory.mktemp("probe") / "found.npz"
    profile, probe = ROOT / "conf" / "local.conf", ROOT / "tests" / "fused_probe.py"
    command = ["spark-submit", "--properties-file", profile, *LOCAL, probe]
    command += [trained.run_dir, data, same.run_dir, output]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(output) as arrays:
        return dict(arrays)


def test_scores_and_gradients_are_those_of_the_standard_network(
    found: dict[str, NDArray[np.float32]],
) -> None:
    compared = [key.removeprefix("ours/") for key in found if key.startswith("ours/")]
    assert len(compared) == 10 * 12 + 1
    for key in compared:
        assert found[f"theirs/{key}"].any(), key
        ours, theirs = found[f"ours/{key}"], found[f"theirs/{key}"]
        # Which of two nearly equal pixels is the largest may be seen differently.
        np.testing.assert_allclose(
            ours, theirs, rtol=0, atol=2e-5 * max(1.0, np.abs(theirs).max()), err_msg=key
        )
    np.testing.assert_array_equal(found["standard output"], found["ours/a replica/scores"])


def test_momentum_goes_on_from_epoch_to_epoch(
    trained: Submission, found: dict[str, NDArray[np.float32]]
) -> None:
    """Nesterov's formula, whose gradient is what the velocity has gained."""
    history = trained.result["metrics"]["history"]
    for epoch in (2, 3):
        before, after = (
            {kind: found[f"epoch-{number:04d}/{kind}"] for kind in ("weights", "velocity")}
            for number in (epoch - 1, epoch)
        )
        gradient = after["velocity"] - MOMENTUM * before["velocity"]
        rate = 0.2 * (3 - (epoch - 1)) / 3
        assert history[epoch - 1]["learning_rate"] == pytest.approx(rate)
        step = rate * (gradient + MOMENTUM * after["velocity"])
        np.testing.assert_allclose(after["weights"], before["weights"] - step, rtol=0, atol=1e-6)
        assert np.abs(before["velocity"]).max() > 0.01


def test_an_update_in_the_next_iteration_s_job_is_the_same(
    found: dict[str, NDArray[np.float32]],
) -> None:
    """Six iterations in each of two epochs, of which one executor needs seven jobs."""
    np.testing.assert_allclose(found["same/trained"], found["same/by hand"], rtol=0, atol=1e-5)


def test_both_arithmetics_train_alike(
    trained: Submission, small_mnist: Path, tmp_path: Path
) -> None:
    done = spark_submit(
        "train_lenet",
        *("--data", small_mnist, *WHOLE, "--arithmetic", "bigdl"),
        run_dir=tmp_path / "run",
        spark=LOCAL,
    )
    assert done.code == 0, done.out + done.err
    is_the_same_training(done, trained, 5e-3)


@pytest.mark.cluster
def test_executors_train_as_one_does(
    trained: Submission, cluster: StandaloneCluster, small_mnist: Path, tmp_path: Path
) -> None:
    """Each updates its part of weights and velocity; the second half is a run that resumes."""
    run_dir = shutil.copytree(trained.run_dir, tmp_path / "run")
    (run_dir / "result.json").unlink()
    shutil.rmtree(run_dir / "snapshots" / "epoch-0003")
    done = spark_submit(
        "train_lenet", "--data", small_mnist, *WHOLE, run_dir=run_dir, **on(cluster)
    )
    assert done.code == 0, done.out + done.err
    assert "resuming after epoch 2" in done.out
    is_the_same_training(done, trained, 1e-5)


def is_the_same_training(done: Submission, other: Submission, tolerance: float) -> None:
    ours, theirs = done.result["metrics"], other.result["metrics"]
    for key in ("loss", "test_loss"):
        assert [entry[key] for entry in ours["history"]] == pytest.approx(
            [entry[key] for entry in theirs["history"]], abs=tolerance
        )
    assert ours["loss"] == pytest.approx(theirs["loss"], abs=tolerance)


def test_the_jar_is_that_of_the_sources(tmp_path: Path) -> None:
    if not shutil.which("javac"):
        pytest.skip("no javac here")
    compile_classes(tmp_path)
    with zipfile.ZipFile(JAR) as jar:
        packed = {name: jar.read(name) for name in jar.namelist()}
    built = {str(file.relative_to(tmp_path)): file for file in tmp_path.rglob("*.class")}
    assert packed.keys() == built.keys(), "run scripts/build_jar.py"
    for name, file in built.items():
        assert packed[name] == file.read_bytes(), f"{name}: run scripts/build_jar.py"
        # The major version of Java 8.
        assert packed[name][6:8] == (52).to_bytes(2, "big")
