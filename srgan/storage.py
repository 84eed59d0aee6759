"""Files at local paths or fsspec URLs such as hdfs://host:port/folder."""

import contextlib
import os
import uuid
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from srgan.errors import MissingDataError, WriteError


def join(folder: str, name: str) -> str:
    """Path of a name inside a folder, local or remote."""
    return f"{folder.rstrip('/')}/{name}"


def list_files(folder: str) -> dict[str, int]:
    """Names of the files directly inside a folder, with their sizes in bytes.

    Raises:
        MissingDataError: the folder is not there, is no folder, or may not be read.
    """
    filesystem, path = url_to_fs(folder)
    try:
        if not filesystem.isdir(path):
            raise MissingDataError(f"{folder}: no such folder")
        entries: list[dict[str, Any]] = filesystem.ls(path, detail=True)
    except PermissionError as error:
        raise MissingDataError(f"{folder}: no right to read this folder") from error
    return {
        entry["name"].rsplit("/", 1)[-1]: entry["size"]
        for entry in entries
        # A link that leads nowhere is named by whoever reads it.
        if entry["type"] == "file" or (entry["type"] == "other" and entry.get("islink"))
    }


def read_bytes(path: str) -> bytes:
    """The content of a file.

    Raises:
        MissingDataError: the file is not there or may not be read.
    """
    filesystem, inner_path = url_to_fs(path)
    try:
        return filesystem.cat_file(inner_path)
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise MissingDataError(f"{path}: cannot be read ({reason})") from error


def write_atomically(path: str, data: bytes) -> None:
    """Write a file such that a reader, or a crash, never meets half of it.

    Missing folders are made.

    Raises:
        WriteError: it cannot be written; what was there before is still there.
    """
    filesystem, target = url_to_fs(path)
    temporary = f"{target}.{uuid.uuid4().hex}.tmp"
    try:
        filesystem.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        if not isinstance(filesystem, LocalFileSystem):
            filesystem.pipe_file(temporary, data)
            filesystem.mv(temporary, target, overwrite=True)
            return
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            # Without this the rename may reach the disk before the data does.
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            filesystem.rm_file(temporary)
        raise WriteError(
            f"{path}: cannot be written ({error.strerror or error}); make room, then run the same "
            "command again to continue"
        ) from error


def exists(path: str) -> bool:
    """Whether a file or folder is there."""
    filesystem, inner_path = url_to_fs(path)
    return filesystem.exists(inner_path)


def is_folder(path: str) -> bool:
    """Whether a folder is there."""
    filesystem, inner_path = url_to_fs(path)
    return filesystem.isdir(inner_path)


def remove(path: str) -> None:
    """Remove a file if it is there."""
    filesystem, inner_path = url_to_fs(path)
    if filesystem.exists(inner_path):
        filesystem.rm_file(inner_path)
