"""Files at local paths or fsspec URLs such as hdfs://host:port/folder."""

import contextlib
import os
import re
import stat
import uuid
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem, make_path_posix

from srgan.errors import BadDataError, MissingDataError, OptionsError, WriteError

URL = re.compile("([A-Za-z][A-Za-z0-9+.-]*)://")
KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""What is neither file nor folder, by its type."""


def is_remote(path: str) -> bool:
    """Whether a path is a URL of another file system than this machine's."""
    found = URL.match(path)
    return found is not None and found[1] not in ("file", "local")


def file_system(path: str) -> tuple[Any, str]:
    """The file system (fsspec's) of a path or URL, and the path in it.

    fsspec's own url_to_fs would cut a name at "::", which it takes for a chain of URLs.

    Raises:
        OptionsError: nothing here knows the scheme of the URL.
    """
    found = URL.match(path)
    if found is None or not is_remote(path):
        inner = make_path_posix(path[found.end() :] if found else path)
        return LocalFileSystem(), inner.rstrip("/") or "/"
    try:
        system = fsspec.get_filesystem_class(found[1])
    except (ValueError, ImportError) as error:
        raise OptionsError(f"{path}: no file system {found[1]}:// is known here") from error
    return system(**system._get_kwargs_from_urls(path)), system._strip_protocol(path)


def join(folder: str, name: str) -> str:
    """Path of a name inside a folder, local or remote."""
    return f"{folder.rstrip('/')}/{name}"


def read_bytes(path: str) -> bytes:
    """The content of a file.

    Raises:
        MissingDataError: the file is not there or may not be read.
        BadDataError: it is no regular file: a named pipe would be waited for without end.
    """
    filesystem, inner_path = file_system(path)
    try:
        if isinstance(filesystem, LocalFileSystem):
            kind = KINDS.get(stat.S_IFMT(os.stat(inner_path).st_mode))
            if kind is not None:
                raise BadDataError(f"{path}: is {kind}, no regular file")
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
    filesystem, target = file_system(path)
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
    filesystem, inner_path = file_system(path)
    return filesystem.exists(inner_path)


def is_folder(path: str) -> bool:
    """Whether a folder is there."""
    filesystem, inner_path = file_system(path)
    return filesystem.isdir(inner_path)


def remove(path: str) -> None:
    """Remove a file if it is there."""
    filesystem, inner_path = file_system(path)
    if filesystem.exists(inner_path):
        filesystem.rm_file(inner_path)
