"""Paths that may be local or remote (hdfs://HOST:PORT/..., or any scheme fsspec knows)."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec

from jobs.runtime.errors import MissingDataError

# fsspec's own hdfs client needs a JVM and libhdfs; hdfs-native speaks the protocol itself.
fsspec.register_implementation("hdfs", "hdfs_native.fsspec.HdfsFileSystem", clobber=True)


def is_remote(path: str) -> bool:
    """Whether `path` is a URL of a file system other than this machine's."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme not in ("file", "local")


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """The path of a file or folder on this machine: a local one itself, a copy of a remote one.

    Raises:
        MissingDataError: nothing is there.
    """
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="copy-") as folder:
        system, root = fsspec.core.url_to_fs(path)
        target = Path(folder) / root.rstrip("/").rpartition("/")[2]
        if system.isdir(root):
            download_folder(path, target, top_only=False)
        elif system.exists(root):
            system.get_file(root, str(target))
        else:
            raise MissingDataError(f"{path}: no such file or folder")
        yield str(target)


def download_folder(url: str, to: Path, *, top_only: bool) -> set[str]:
    """Copy the remote folder's files that are missing or differ in size into `to`.

    Args:
        url: the remote folder; it need not exist.
        to: the local folder.
        top_only: leave out what lies in subfolders.

    Returns:
        The names of the copied files, relative to the folder.
    """
    system, root = fsspec.core.url_to_fs(url)
    if not system.exists(root):
        return set()
    names = set()
    depth = 1 if top_only else None
    for source, entry in system.find(root, maxdepth=depth, detail=True).items():
        name = _relative(source, root)
        names.add(name)
        target = to / name
        if target.exists() and target.stat().st_size == entry["size"]:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        system.get_file(source, str(target))
    return names


def upload_folder(path: Path, url: str, *, skip: str, last: str, known: set[str]) -> set[str]:
    """Copy new and changed files to the remote folder, and delete there what went away here.

    A file is written under a temporary name and renamed, so that no half file ever bears its
    final name.

    Args:
        path: the local folder.
        url: the remote folder, made if need be.
        skip: a file name that is not copied.
        last: a file name that is copied after all the others.
        known: names that were in both folders before; only these are ever deleted.

    Returns:
        The names that are in both folders now.
    """
    system, root = fsspec.core.url_to_fs(url)
    system.makedirs(root, exist_ok=True)
    found = system.find(root, detail=True)
    present = {_relative(name, root): entry["size"] for name, entry in found.items()}
    local = {
        str(file.relative_to(path)): file
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != skip
    }
    for name, file in sorted(local.items(), key=lambda item: item[0] == last):
        unchanging = file.suffix not in (".json", ".csv", ".txt")
        if unchanging and present.get(name) == file.stat().st_size:
            continue
        target = f"{root.rstrip('/')}/{name}"
        temporary = f"{target}._copying"
        system.makedirs(target.rpartition("/")[0], exist_ok=True)
        system.put_file(str(file), temporary)
        with contextlib.suppress(FileNotFoundError):
            system.rm(target)
        system.mv(temporary, target)
    for name in (known - local.keys()) & present.keys():
        system.rm(f"{root.rstrip('/')}/{name}")
    return set(local)


def delete_folder(url: str) -> None:
    """Delete a remote folder with everything in it, if it is there."""
    system, root = fsspec.core.url_to_fs(url)
    if system.exists(root):
        system.rm(root, recursive=True)


def _relative(name: str, root: str) -> str:
    path = name.partition("://")[2].partition("/")[2] if "://" in name else name
    base = root.partition("://")[2].partition("/")[2] if "://" in root else root
    return path.lstrip("/")[len(base.strip("/")) :].lstrip("/")
