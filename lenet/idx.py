"""MNIST's IDX files (format: yann.lecun.com/exdb/mnist), raw or gzipped, local or remote."""

from __future__ import annotations

import gzip
import logging
import os
import re
import stat
import struct
import zlib
from dataclasses import dataclass
from typing import IO, Any

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem, make_path_posix
from numpy.typing import NDArray

from lenet.errors import BadDataError, MissingDataError

logger = logging.getLogger(__name__)

IMAGES_MAGIC = 2051
LABELS_MAGIC = 2049
IMAGE_SIZE = 28
CLASSES = 10
MAX_BYTES = 1 << 30
"""MNIST has 47 MB of images; a header that promises more than this is taken for damage."""

ENDLESS = (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
"""What would be waited for, or read, without end."""
URL = re.compile("([A-Za-z][A-Za-z0-9+.-]*)://")

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass(frozen=True)
class Digits:
    """Images of digits with their labels."""

    images: NDArray[np.uint8]
    """uint8, shape (count, 28, 28), 0 is the background."""
    labels: NDArray[np.uint8]
    """uint8, shape (count,), values 0 to 9."""

    def __len__(self) -> int:
        return len(self.labels)


def read_digits(folder: str, part: str) -> Digits:
    """Read one part of MNIST from a folder that holds the four files, raw or as .gz.

    Args:
        folder: local path or URL (hdfs://...).
        part: "train" or "test".

    Raises:
        MissingDataError: a file is not there or may not be read.
        BadDataError: a file is damaged, or images and labels do not belong together.
    """
    images_name, labels_name = FILES[part]
    images_path = _find(folder, images_name)
    labels_path = _find(folder, labels_name)
    images = read_images(images_path)
    labels = read_labels(labels_path)
    if len(images) != len(labels):
        raise BadDataError(
            f"{images_path} holds {len(images)} images, but {labels_path} {len(labels)} labels; "
            "take both from one source"
        )
    return Digits(images, labels)


def read_images(path: str) -> NDArray[np.uint8]:
    """The images of an IDX file, uint8 of shape (count, 28, 28).

    Raises:
        MissingDataError, BadDataError: see `read_digits`.
    """
    shape, data = _read(path, IMAGES_MAGIC, dimensions=3)
    if shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise BadDataError(f"{path}: images of {shape[1]}x{shape[2]}, expected 28x28")
    return data.reshape(shape)


def read_labels(path: str) -> NDArray[np.uint8]:
    """The labels of an IDX file, uint8 of shape (count,), values 0 to 9.

    Raises:
        MissingDataError, BadDataError: see `read_digits`.
    """
    _, labels = _read(path, LABELS_MAGIC, dimensions=1)
    wrong = np.flatnonzero(labels >= CLASSES)
    if len(wrong):
        raise BadDataError(
            f"{path}: record {wrong[0]} has label {labels[wrong[0]]}, expected 0 to 9"
        )
    return labels


def write_images(path: str, images: NDArray[np.uint8]) -> None:
    """Write images, uint8 of shape (count, rows, columns), as a raw IDX file."""
    with open(path, "wb") as file:
        file.write(struct.pack(">4i", IMAGES_MAGIC, *images.shape))
        file.write(np.ascontiguousarray(images).data)


def write_labels(path: str, labels: NDArray[np.uint8]) -> None:
    """Write labels, uint8 of shape (count,), as a raw IDX file."""
    with open(path, "wb") as file:
        file.write(struct.pack(">2i", LABELS_MAGIC, len(labels)))
        file.write(np.ascontiguousarray(labels).data)


def _file_system(path: str) -> tuple[Any, str]:
    """As fsspec's url_to_fs, which would cut a name at "::", taking that for a chain of URLs."""
    found = URL.match(path)
    if found is None or found[1] in ("file", "local"):
        inner = make_path_posix(path[found.end() :] if found else path)
        return LocalFileSystem(), inner.rstrip("/") or "/"
    try:
        system = fsspec.get_filesystem_class(found[1])
    except (ValueError, ImportError) as error:
        raise MissingDataError(f"{path}: no file system {found[1]}:// is known here") from error
    return system(**system._get_kwargs_from_urls(path)), system._strip_protocol(path)


def _find(folder: str, name: str) -> str:
    system, root = _file_system(folder)
    # Some archives of MNIST have a dot before idx.
    names = [f"{stem}{end}" for stem in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    try:
        found = [one for one in names if system.exists(f"{root.rstrip('/')}/{one}")]
        marks = {_content_mark(f"{folder.rstrip('/')}/{one}") for one in found if len(found) > 1}
        if len(marks) > 1:
            logger.warning("%s: %s is read, not %s, which differ", folder, found[0], found[1:])
    except OSError as error:
        raise MissingDataError(f"{folder}: {error}") from error
    if not found:
        raise MissingDataError(
            f"{folder}/{name}: no such file, nor {name}.gz; fetch it with: "
            "python scripts/fetch_data.py mnist --to FOLDER"
        )
    return f"{folder.rstrip('/')}/{found[0]}"


def _content_mark(path: str) -> tuple[int, int]:
    """CRC-32 and size of what a file holds; gzip keeps them at the end of a packed one."""
    system, inner = _file_system(path)
    if isinstance(system, LocalFileSystem) and not os.path.isfile(inner):
        return -1, -1
    with system.open(inner, "rb") as file:
        if file.read(2) == b"\x1f\x8b":
            end = file.seek(0, os.SEEK_END) or file.tell()
            file.seek(max(2, end - 8))
            crc, size = struct.unpack("<2I", file.read(8).rjust(8))
            return crc, size
        file.seek(0)
        crc = size = 0
        while block := file.read(1 << 20):
            crc, size = zlib.crc32(block, crc), size + len(block)
    return crc, size


def _read(path: str, magic: int, dimensions: int) -> tuple[tuple[int, ...], NDArray[np.uint8]]:
    try:
        system, inner = _file_system(path)
        kind = stat.S_IFMT(os.stat(inner).st_mode) if isinstance(system, LocalFileSystem) else 0
        if kind in ENDLESS:
            raise BadDataError(f"{path}: is no regular file")
        with system.open(inner, "rb") as file:
            begin = file.read(16)
            file.seek(0)
            if begin.lstrip().lower().startswith((b"<!doctype", b"<html")):
                raise BadDataError(
                    f"{path}: is a web page, such as a network sends before one has logged in; "
                    "fetch the file again"
                )
            if not begin.startswith(b"\x1f\x8b"):
                return _parse(path, file, magic, dimensions)
            with gzip.GzipFile(fileobj=file) as plain:
                return _parse(path, plain, magic, dimensions)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadDataError(f"{path}: damaged gzip ({error}); fetch it again") from error
    except OSError as error:
        raise MissingDataError(f"{path}: {error.strerror or error}") from error


def _parse(
    path: str, file: IO[bytes] | gzip.GzipFile, magic: int, dimensions: int
) -> tuple[tuple[int, ...], NDArray[np.uint8]]:
    header = file.read(4 * (1 + dimensions))
    if len(header) < 4 * (1 + dimensions):
        raise BadDataError(f"{path}: {len(header)} bytes are too short for an IDX header")
    found, *shape = struct.unpack(f">{1 + dimensions}i", header)
    if found != magic:
        raise BadDataError(f"{path}: magic number {found}, expected {magic}")
    size = int(np.prod([max(extent, 0) for extent in shape], dtype=object))
    if min(shape) < 1 or size > MAX_BYTES:
        raise BadDataError(f"{path}: the header promises {shape}, which is no MNIST")
    # One byte more than promised tells a long file, and a gzip bomb goes no further than that.
    content = file.read(size + 1)
    if len(content) != size:
        adjective = "short" if len(content) < size else "long"
        raise BadDataError(
            f"{path}: too {adjective}, the header promises {size} bytes of data; fetch it again"
        )
    return tuple(shape), np.frombuffer(content, dtype=np.uint8)
