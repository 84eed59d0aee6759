"""Paths that may be local or remote (hdfs://HOST:PORT/..., or any scheme fsspec knows)."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem, make_path_posix

from jobs.runtime.errors import MissingDataError, UsageError
from jobs.runtime.places import is_remote, plain_path

# fsspec's own hdfs client needs a JVM and libhdfs; hdfs-native speaks the protocol itself.
fsspec.register_implementation("hdfs", "jobs.runtime.answering.AnsweringHdfs", clobber=True)

Mark = tuple[int, int]
"""A local file's size and time of change, which tell whether it is still what was copied."""

WRITERS = 8
"""Files written at a time: HDFS lets most wait for half a second when they are closed."""


def file_system(path: str) -> tuple[Any, str]:
    """The file system (fsspec's) of a path or URL, and the path in it.

    fsspec's own url_to_fs would cut a name at "::", which it takes for a chain of URLs.

    Raises:
        UsageError: nothing here knows the scheme of the URL.
    """
    if not is_remote(path):
        inner = make_path_posix(plain_path(path))
        return LocalFileSystem(), inner.rstrip("/") or "/"
    system = _class_for(path)
    return system(**system._get_kwargs_from_urls(path)), system._strip_protocol(path)


def check_url(path: str) -> None:
    """Refuse a URL that leads nowhere: its scheme is mistyped, or it names no host.

    Raises:
        UsageError: see above.
    """
    if is_remote(path):
        try:
            file_system(path)
        except (RuntimeError, ValueError, ImportError) as error:
            raise UsageError(f"{path}: expected hdfs://HOST:PORT/PATH ({error})") from error


def absolute(path: str) -> str:
    """A path that means the same on executors, which have working directories of their own."""
    return path if is_remote(path) else os.path.abspath(plain_path(path))


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
        system, root = file_system(path)
        target = Path(folder) / root.rstrip("/").rpartition("/")[2]
        if system.isdir(root):
            download_folder(path, target)
        elif system.exists(root):
            system.get_file(root, str(target))
        else:
            raise MissingDataError(f"{path}: no such file or folder")
        yield str(target)


def download_folder(
    url: str, to: Path, *, top_only: bool = False, skip: str | None = None
) -> dict[str, Mark]:
    """Copy a remote folder's files into `to`.

    Args:
        url: the remote folder; it need not exist.
        to: the local folder.
        top_only: leave out what lies in subfolders.
        skip: the name of a file to leave out.

    Returns:
        The copied files by their names relative to the folder.
    """
    system, root = file_system(url)
    if not system.exists(root):
        return {}
    copied = {}
    for source in system.find(root, maxdepth=1 if top_only else None):
        name = _relative(source, root)
        if name == skip:
            continue
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        system.get_file(source, str(target))
        copied[name] = _mark(target)
    return copied


def upload_folder(
    path: Path, url: str, *, skip: str, last: str, known: Mapping[str, Mark]
) -> dict[str, Mark]:
    """Copy new and changed files to the remote folder, and delete there what went away here.

    A file is written under a temporary name and renamed, so that no half file ever bears its
    final name.

    Args:
        path: the local folder.
        url: the remote folder, made if need be.
        skip: a file name that is not copied.
        last: a file name that is copied after all the others.
        known: what was the same in both folders before; only such files are ever deleted.

    Returns:
        What is the same in both folders now.
    """
    system, root = file_system(url)
    system.makedirs(root, exist_ok=True)
    local = {
        str(file.relative_to(path)): file
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != skip
    }
    # Taken before they are copied: what is written meanwhile goes with the next call.
    marks = {name: _mark(file) for name, file in local.items()}
    changed = [name for name in local if known.get(name) != marks[name]]
    for names in ([name for name in changed if name != last], {last}.intersection(changed)):
        _upload({f"{root.rstrip('/')}/{name}": local[name] for name in names}, system)
    for name in known.keys() - local.keys():
        with contextlib.suppress(FileNotFoundError):
            system.rm(f"{root.rstrip('/')}/{name}")
    return marks


def _upload(files: Mapping[str, Path], system: Any) -> None:
    """Copy files to paths of another file system, several at a time."""

    def copy(target: str) -> None:
        temporary = f"{target}._copying"
        system.put_file(str(files[target]), temporary)
        system.mv(temporary, target, overwrite=True)

    for folder in {target.rpartition("/")[0] for target in files}:
        system.makedirs(folder, exist_ok=True)
    pool = ThreadPoolExecutor(WRITERS)
    try:
        for _ in pool.map(copy, files):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def touch(path: str) -> None:
    """Make an empty file."""
    system, inner = file_system(path)
    with system.open(inner, "wb"):
        pass


def delete_file(path: str) -> None:
    """Delete a file, if it is there."""
    system, inner = file_system(path)
    if system.exists(inner):
        system.rm_file(inner)


def delete_content(url: str, but: str) -> None:
    """Delete everything in a remote folder except the file of that name."""
    system, root = file_system(url)
    for name in system.ls(root, detail=False):
        if _relative(name, root) != but:
            system.rm(name, recursive=True)


def _mark(file: Path) -> Mark:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _relative(name: str, root: str) -> str:
    path = name.partition("://")[2].partition("/")[2] if "://" in name else name
    base = root.partition("://")[2].partition("/")[2] if "://" in root else root
    return path.lstrip("/")[len(base.strip("/")) :].lstrip("/")


def _class_for(url: str) -> Any:
    scheme = url.partition("://")[0]
    try:
        return fsspec.get_filesystem_class(scheme)
    except (ValueError, ImportError) as error:
        raise UsageError(f"{url}: no file system {scheme}:// is known here; try hdfs://") from error
