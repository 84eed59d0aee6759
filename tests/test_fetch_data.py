"""fetch_data.py with MNIST: whole files or none, and a word on what is wrong."""

from __future__ import annotations

import gzip
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, without_privileges

from lenet.idx import FILES

FETCH = ROOT / "scripts" / "fetch_data.py"
NAMES = [*FILES["train"], *FILES["test"]]


def fetch(*options: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*without_privileges(), sys.executable, FETCH, *map(str, options)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_from_a_folder_then_nothing_to_do(mnist: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in NAMES[:2]:
        shutil.copy(Path(mnist) / name, source)
    for name in NAMES[2:]:
        (source / f"{name}.gz").write_bytes(gzip.compress((Path(mnist) / name).read_bytes(), 1))
    assert fetch("mnist", "--to", target, "--source", source).returncode == 0
    for name in NAMES:
        assert (target / name).read_bytes() == (Path(mnist) / name).read_bytes()
    times = [(target / name).stat().st_mtime_ns for name in NAMES]
    shutil.rmtree(source)
    again = fetch("mnist", "--to", target, "--source", source)
    assert again.returncode == 0
    assert "whole" in again.stderr
    assert [(target / name).stat().st_mtime_ns for name in NAMES] == times


def test_a_damaged_file_is_fetched_again(mnist: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    shutil.copytree(mnist, target)
    (target / NAMES[3]).write_bytes(b"damaged")
    assert fetch("mnist", "--to", target, "--source", mnist).returncode == 0
    assert (target / NAMES[3]).read_bytes() == (Path(mnist) / NAMES[3]).read_bytes()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "gzip"])
def test_damaged_sources_are_refused(mnist: str, tmp_path: Path, damage: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(mnist, source)
    content = bytearray((source / NAMES[0]).read_bytes())
    if damage == "truncated":
        (source / NAMES[0]).write_bytes(content[:-1])
    elif damage == "flipped":
        content[1000] ^= 1
        (source / NAMES[0]).write_bytes(content)
    else:
        (source / NAMES[0]).unlink()
        (source / f"{NAMES[0]}.gz").write_bytes(gzip.compress(bytes(content), 1)[:-10])
    done = fetch("mnist", "--to", target, "--source", source)
    assert done.returncode == 65
    assert NAMES[0] in done.stderr
    assert not (target / NAMES[0]).exists()


def test_mirrors_that_do_not_answer_are_named(tmp_path: Path) -> None:
    nowhere = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = fetch("mnist", "--to", tmp_path / "target", "--source", "mirror", **nowhere)
    assert done.returncode == 69
    assert "train-images-idx3-ubyte.gz" in done.stderr.splitlines()[-1]
    assert "--source DIR" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "target").exists()


def test_the_checksums_are_in_the_format_of_md5sum(mnist: str) -> None:
    done = subprocess.run(
        ["md5sum", "--check", "--strict", ROOT / "data" / "checksums" / "mnist.md5"],
        cwd=mnist,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    done = fetch("mnist", "--to", tmp_path / "target", "--source", tmp_path / "nowhere")
    assert done.returncode == 66
    assert str(tmp_path / "nowhere") in done.stderr
    assert "Traceback" not in done.stderr


def test_the_unpickler_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import io

    from fetching import sources
    from lenet.errors import BadDataError

    class Malicious:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (open, (str(tmp_path / "written"), "w"))  # type: ignore[return-value]

    with pytest.raises(BadDataError, match="io.open"):
        sources.ArrayUnpickler(io.BytesIO(pickle.dumps(Malicious()))).load()
    assert not (tmp_path / "written").exists()
