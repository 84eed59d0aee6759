"""Jobs by the profile for YARN, on a stand-in for its servers (yarn.py says what that leaves out).

Executors have the environment from what scripts/pack_environment.sh packs, and from nowhere else.
"""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, spark_submit
from srgan_samples import write_samples
from yarn import running_yarn

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def pack_links(archive: Path, folder: Path) -> None:
    """Make an archive of links to all that scripts/pack_environment.sh would pack.

    Packing, sending and unpacking a gigabyte for each job would take longer than all of them.
    """
    done = subprocess.run(
        ["bash", ROOT / "scripts" / "pack_environment.sh", "--list"],
        check=True,
        capture_output=True,
        text=True,
    )
    names = done.stdout.splitlines()
    for name in names:
        # The code of the checkout lies among the packages.
        code = ROOT / name.partition("site-packages/")[2] if "site-packages/" in name else ROOT
        origins = (ROOT / ".venv" / name, code, ROOT / name)
        origin = next(path for path in origins if os.path.lexists(path) and path != ROOT)
        link = folder / name
        if name.endswith("/"):
            link.mkdir(parents=True, exist_ok=True)
        else:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(origin)
    with tarfile.open(archive, "w") as packed:
        for path in folder.iterdir():
            link = archive.parent / path.name
            link.symlink_to(path)
            packed.add(link, path.name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What submits a job to two executors."""
    folder = tmp_path_factory.mktemp("yarn")
    archive = folder / "environment.tar"
    pack_links(archive, folder / "environment")
    with running_yarn(folder) as conf_dir:
        yield {
            "profile": "yarn",
            "spark": (
                *("--archives", f"{archive}#environment", "--num-executors", "2"),
                *("--executor-cores", "1", "--executor-memory", "900m"),
            ),
            "environment": {"HADOOP_CONF_DIR": str(conf_dir)},
        }


def test_lenet(place: dict[str, Any], small_mnist: Path, tmp_path: Path) -> None:
    options = ("--data", small_mnist, "--batch-size", 500, "--epochs", 1)
    done = spark_submit("train_lenet", *options, run_dir=tmp_path / "run", **place)
    assert done.code == 0, done.out + done.err
    assert done.result["cluster"]["executors"] == 2


def test_srgan(place: dict[str, Any], tmp_path: Path) -> None:
    write_samples(tmp_path / "train", 4)
    done = spark_submit(
        "train_srgan",
        *("--data", tmp_path / "train", "--phase", "srresnet", "--srresnet-steps", 2),
        *("--residual-blocks", 1, "--channels", 8, "--crop-size", 32, "--batch-size", 4),
        *("--log-every", 1, "--max-restarts", 0),
        run_dir=tmp_path / "run",
        **place,
    )
    assert done.code == 0, done.out + done.err
    assert done.result["metrics"]["world_size"] == 2


def test_upscale(place: dict[str, Any], tmp_path: Path) -> None:
    pictures = write_samples(tmp_path / "pictures", 2)
    options = ("--input", pictures, "--output", tmp_path / "large", "--sheet", 1)
    done = spark_submit("upscale", *options, run_dir=tmp_path / "run", **place)
    assert done.code == 0, done.out + done.err
    assert len(list((tmp_path / "large").glob("*.png"))) == 2
