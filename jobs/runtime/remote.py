"""Paths that may be local or remote (hdfs://HOST:PORT/..., or any scheme fsspec knows)."""

from __future__ import annotations

import contextlib
from pathlib import Path

import fsspec

# fsspec's own hdfs client needs a JVM and libhdfs; hdfs-native speaks the protocol itself.
fsspec.register_implementation("hdfs", "hdfs_native.fsspec.HdfsFileSystem", clobber=True)


def is_remote(path: str) -> bool:
    """Whether `path` is a URL of a file system other than this machine's."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme not in ("file", "local")


def download_folder(url: str, to: Path) -> None:
    """Copy the remote folder's files that are missing or differ in size into `to`."""
    system, root = fsspec.core.url_to_fs(url)
    if not system.exists(root):
        return
    for source, entry in system.find(root, detail=True).items():
        target = to / _relative(source, root)
        if target.exists() and target.stat().st_size == entry["size"]:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        system.get_file(source, str(target))


def upload_folder(path: Path, url: str, *, skip: set[str], last: set[str]) -> None:
    """Make the remote folder equal to `path`: new and changed files first, then deletions.

    A file is written under a temporary name and renamed, so that no half file ever bears its
    final name. Files named in `last` follow after all the others.
    """
    system, root = fsspec.core.url_to_fs(url)
    system.makedirs(root, exist_ok=True)
    present = {
        _relative(name, root): entry["size"]
        for name, entry in system.find(root, detail=True).items()
    }
    local = {
        str(file.relative_to(path)): file
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name not in skip
    }
    for name, file in sorted(local.items(), key=lambda item: item[0] in last):
        size = file.stat().st_size
        if present.get(name) == size and file.suffix not in (".json", ".jsonl"):
            continue
        target = f"{root.rstrip('/')}/{name}"
        temporary = f"{target}._copying"
        system.makedirs(target.rpartition("/")[0], exist_ok=True)
        system.put_file(str(file), temporary)
        with contextlib.suppress(FileNotFoundError):
            system.rm(target)
        system.mv(temporary, target)
    for name in present.keys() - local.keys():
        system.rm(f"{root.rstrip('/')}/{name}")


def delete_folder(url: str) -> None:
    """Delete a remote folder with everything in it, if it is there."""
    system, root = fsspec.core.url_to_fs(url)
    if system.exists(root):
        system.rm(root, recursive=True)


def _relative(name: str, root: str) -> str:
    path = name.partition("://")[2].partition("/")[2] if "://" in name else name
    base = root.partition("://")[2].partition("/")[2] if "://" in root else root
    return path.lstrip("/")[len(base.strip("/")) :].lstrip("/")
