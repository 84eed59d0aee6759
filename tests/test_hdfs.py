"""Data and run folders on a real HDFS, for both trainings and both evaluations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest
from conftest import ROOT, Submission, spark_submit
from films import frames_of, write_film
from hdfs import RunningHdfs
from PIL import Image
from srgan_samples import sample_pixels, write_samples

from jobs.runtime.errors import BusyError
from jobs.runtime.run_folder import RunFolder
from lenet.idx import read_digits
from srgan.upscaling import worker
from srgan.upscaling.inputs import find_entries
from srgan.upscaling.manifest import Manifest
from srgan.upscaling.model_choice import read_model

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


def test_a_process_may_end_with_a_file_still_open(hdfs: str) -> None:
    """Which is closed so late that no thread starts any more: that was waited for without end."""
    program = (
        "import sys; from jobs.runtime import remote; "
        "file = remote.file_system(sys.argv[1])[0].client.create('/left-open'); file.write(b'x')"
    )
    subprocess.run([sys.executable, "-c", program, hdfs], cwd=ROOT, check=True, timeout=60)
    with fsspec.open(f"{hdfs}/left-open") as file:
        assert file.read() == b"x"


def test_a_process_with_a_client_may_fork(hdfs: str) -> None:
    """Its children once waited for threads of the client that only their parent has."""
    program = (
        "import subprocess, sys; from jobs.runtime import remote; "
        "remote.file_system(sys.argv[1])[0].ls('/'); "
        "subprocess.run(['true'], preexec_fn=lambda: None)"
    )
    subprocess.run([sys.executable, "-c", program, hdfs], cwd=ROOT, check=True, timeout=120)


SILENCED = """
import os, signal, sys, psutil
from jobs.runtime import answering, remote
from jobs.runtime.errors import UnavailableError
url = sys.argv[1]
system, port = remote.file_system(url)[0], int(url.rpartition(":")[2])
system.ls("/")
node = next(one.pid for one in psutil.net_connections("tcp")
            if one.status == "LISTEN" and one.laddr.port == port)
answering.ANSWER_SECONDS = 1
os.kill(node, signal.SIGSTOP)
try:
    answering.hurry()
    # The last thread of a process stops a moment after kill() returned.
    while True:
        system.ls("/")
except UnavailableError as error:
    print(error)
finally:
    os.kill(node, signal.SIGCONT)
"""


def test_a_job_that_is_to_end_does_not_wait_for_a_name_node(hdfs: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SILENCED, hdfs], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert f"{hdfs} does not answer (nothing within 1 s)" in done.stdout, done.stderr


def test_a_file_that_changed_without_changing_its_size(hdfs: str, tmp_path: Path) -> None:
    def publish(text: str) -> None:
        folder = RunFolder.open("job", f"{hdfs}/runs/mirror")
        (folder.path / "model.bigdl").write_text(text)
        folder.publish()
        folder.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "pc1"))
        publish("first")
        patch.setattr(tempfile, "tempdir", str(tmp_path / "pc2"))
        publish("other")
        patch.setattr(tempfile, "tempdir", str(tmp_path / "pc1"))
        folder = RunFolder.open("job", f"{hdfs}/runs/mirror")
        assert (folder.path / "model.bigdl").read_text() == "other"
        folder.close()


HOLDER = """
import sys, time
from jobs.runtime.run_folder import RunFolder
from srgan.upscaling import worker
from srgan.upscaling.inputs import find_entries
from srgan.upscaling.manifest import Manifest
from srgan.upscaling.model_choice import read_model
folder = RunFolder.open("job", sys.argv[1])
print("held", flush=True)
time.sleep(300)
"""


def test_a_run_folder_that_another_pc_uses(
    hdfs_nodes: RunningHdfs, files: Any, tmp_path: Path
) -> None:
    url = f"{hdfs_nodes.url}/runs/held"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, url],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match="another run holds"):
            RunFolder.open("job", url)
        assert [Path(name).name for name in files.find("/runs/held")] == [".lock"]
        process.kill()
    with hdfs_nodes.leases_of(seconds=1):
        deadline = time.monotonic() + 30
        while True:
            try:
                RunFolder.open("job", url).close()
                break
            except BusyError:
                assert time.monotonic() < deadline
                time.sleep(0.2)


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
    assert not [name for name in names if "_copying" in name]
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


def test_upscale_records_what_is_done_on_hdfs(hdfs: str, files: Any, tmp_path: Path) -> None:
    """In this process; with names that mean something in URLs of other kinds."""
    names = ["a#1.png", "b?2.png", "c;3.bmp", "d 4%41.png"]

    def put(name: str, seed: int) -> None:
        path = (tmp_path / "x").with_suffix(Path(name).suffix)
        Image.fromarray(sample_pixels(20, 24, seed)).save(path)
        files.put_file(str(path), f"/odd/album #1/{name}")

    for number, name in enumerate(names):
        put(name, number)
    tools = worker.Tools(read_model("bicubic"), 512, 200, 1)
    source, output = f"{hdfs}/odd", f"{hdfs}/odd-large"

    def upscale(killed_after: int | None = None) -> list[str]:
        manifest = Manifest(output, tools.model)
        works = []
        for entry in manifest.status(find_entries(source, output).entries).waiting:
            work = worker.cut(entry, f"{output}/.upscaling", tools)
            if work is None:
                manifest.unchanged(entry)
            else:
                works.append(work)
        manifest.begin([work.entry for work in works])
        for number, work in enumerate(works):
            if number == killed_after:
                return [work.entry.name for work in works[:number]]
            manifest.finished(work.entry, worker.do(work.pieces[0], tools, "cpu").size or 0)
        manifest.close()
        return [work.entry.name for work in works]

    expected = [f"album #1/{name}" for name in names]
    assert upscale(killed_after=2) == expected[:2]
    assert upscale() == expected[2:]
    assert upscale() == []
    files.get_file("/odd-large/album #1/b?2.png", str(tmp_path / "large.png"))
    assert Image.open(tmp_path / "large.png").size == (96, 80)

    # Another time, and in the second case another content of the same length.
    files.touch("/odd/album #1/a#1.png", truncate=False)
    assert upscale() == []
    put("c;3.bmp", 9)
    assert upscale() == ["album #1/c;3.bmp"]
    files.pipe_file("/odd-large/album #1/b?2.png", b"cut off")
    assert upscale() == ["album #1/b?2.png"]


WITHOUT_RIGHTS = """
import sys
from jobs.runtime import remote
from srgan.upscaling.inputs import find_entries
found = find_entries(sys.argv[1], "/large")
print([one.name for one in found.entries], [(one.name, one.reason) for one in found.unusable])
"""


def test_a_folder_on_hdfs_that_may_not_be_read(hdfs: str, files: Any) -> None:
    files.pipe_file("/shared/x.png", b"x")
    files.pipe_file("/shared/private/y.png", b"y")
    files.client.set_permission("/shared/private", 0o700)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RIGHTS, f"{hdfs}/shared"],
        env={**os.environ, "HADOOP_USER_NAME": "guest"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    unusable = [("private", "is a folder that may not be read")]
    assert done.stdout.strip() == f"{['x.png']} {unusable}"


@pytest.mark.slow
def test_upscale_from_and_to_hdfs(hdfs: str, files: Any, tmp_path: Path) -> None:
    # Wider than a block, so that it is put together from two.
    Image.fromarray(sample_pixels(20, 1100)).save(tmp_path / "wide.png")
    write_film(tmp_path / "film.mp4", 1, "libx264", "aac")
    (tmp_path / "bad.png").write_bytes(b"hello")
    for name in ("wide.png", "film.mp4", "bad.png"):
        files.put(str(tmp_path / name), f"/photos/album/{name}")
    run = f"{hdfs}/runs/upscale"
    options = ("--model", "bicubic", "--input", f"{hdfs}/photos", "--output", f"{hdfs}/large")
    done = spark_submit("upscale", *options, run_dir=tmp_path / "pc1", run_url=run)
    assert done.code == 1, done.out + done.err
    assert f"{run}/failed.jsonl" in done.error
    assert "album/bad.png" in files.cat_file("/runs/upscale/failed.jsonl").decode()
    metrics = read_json(f"{run}/result.json")["metrics"]
    assert (metrics["files"], metrics["done"], metrics["failed"]) == (3, 2, 1)

    for name in ("wide.png", "film.mp4"):
        files.get_file(f"/large/album/{name}", str(tmp_path / f"large-{name}"))
    assert Image.open(tmp_path / "large-wide.png").size == (4400, 80)
    assert frames_of(tmp_path / "large-film.mp4")[0] == list(range(25))
    assert not [name for name in files.find("/large") if ".upscaling" in name]

    files.rm("/photos/album/bad.png")
    again = spark_submit("upscale", *options, run_dir=tmp_path / "pc2", run_url=run)
    assert again.code == 0, again.out + again.err
    assert read_json(f"{run}/result.json")["metrics"]["done_before"] == 2
