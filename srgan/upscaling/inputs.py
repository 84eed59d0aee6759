"""Which files there are to upscale, and where their results go."""

from __future__ import annotations

import glob
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from srgan.errors import BadDataError, MissingDataError, OptionsError
from srgan.listing import natural_order
from srgan.storage import join
from srgan.upscaling import images, videos
from srgan.upscaling.pieces import Entry

WORK_FOLDER = ".upscaling"
"""Inside the output folder: results of pieces, until they are put together."""


class Found(NamedTuple):
    """The files below an input."""

    entries: Sequence[Entry]
    others: Sequence[str]
    """Names of files that are neither images nor videos, by their suffix."""


def find_entries(source: str, output: str) -> Found:
    """Find all images and videos.

    Args:
        source: a file, a folder, of which everything below counts, or a glob pattern with `*`,
            `?` or `[`; local or a URL. Names that begin with a dot are left out, and links to
            folders are not followed.
        output: folder for the results, local or a URL.

    Raises:
        MissingDataError: nothing is there, or no image or video.
        BadDataError: a single file that is neither.
        OptionsError: results would overwrite each other or inputs, or become inputs.
    """
    listing = _list(source)
    files = listing.files
    named = [one for one in files if not _is_hidden(one[0])]
    entries, others = [], []
    for name, path, size, modified in sorted(named, key=lambda one: natural_order(one[0])):
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in images.SUFFIXES:
            entries.append(Entry(name, "image", path, join(output, name), size, modified))
        elif suffix in videos.SUFFIXES:
            entries.append(Entry(name, "video", path, join(output, name), size, modified))
        else:
            others.append(name)
    known = ", ".join(sorted(images.SUFFIXES | videos.SUFFIXES))
    if not entries and len(others) == 1 and not files[1:]:
        raise BadDataError(f"--input {source}: neither image nor video (known: {known})")
    if not entries:
        raise MissingDataError(f"--input {source}: no image or video there (known: {known})")
    _check_places(source, listing, output, entries)
    return Found(entries, others)


def finished(entry: Entry) -> bool:
    """Whether the result is there and no older than its source."""
    system, path = url_to_fs(entry.target)
    try:
        info = system.info(path)
    except OSError:
        return False
    return info["size"] > 0 and _modified(info) >= entry.modified


class _Listing(NamedTuple):
    files: Sequence[tuple[str, str, int, float]]
    """Name, path, bytes and time of change of each file."""
    finds: Callable[[str], bool]
    """Whether the same input would also list a file of that path if there were one."""


def _list(source: str) -> _Listing:
    system, root = url_to_fs(source)
    root = root.rstrip("/") or "/"
    is_local = isinstance(system, LocalFileSystem)
    try:
        if system.isdir(root):
            paths = _walk(root) if is_local else system.find(root)
            files = [(_below(root, path), *_facts(system, path, is_local)) for path in paths]
            real = _real(root, is_local)
            return _Listing(files, lambda path: _real(path, is_local).startswith(f"{real}/"))
        if system.isfile(root) or (is_local and os.path.islink(root)):
            base = root.rpartition("/")[0] or "/"
            files = [(_below(base, root), *_facts(system, root, is_local))]
            return _Listing(files, lambda path: False)
        if not glob.has_magic(root):
            raise MissingDataError(f"--input {source}: no such file or folder")
        parts = root.split("/")
        first = next(number for number, part in enumerate(parts) if glob.has_magic(part))
        base = "/".join(parts[:first]) or "/"
        matches = [path for path in system.glob(root) if not system.isdir(path)]
        files = [(_below(base, path), *_facts(system, path, is_local)) for path in matches]
        pattern = re.compile(glob_translate(root))
        return _Listing(files, lambda path: pattern.fullmatch(path) is not None)
    except PermissionError as error:
        raise MissingDataError(f"--input {source}: no right to read it") from error


def _walk(root: str) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise MissingDataError(f"{error.filename}: {error.strerror}")

    for folder, folders, names in os.walk(root, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            yield os.path.join(folder, name)


def _facts(system: Any, path: str, is_local: bool) -> tuple[str, int, float]:
    if is_local:
        try:
            status = os.stat(path)
        except OSError:
            # A dangling link: it is named among the failures, not passed over.
            return path, 0, 0.0
        return path, status.st_size, status.st_mtime
    info = system.info(path)
    return system.unstrip_protocol(path), info["size"], _modified(info)


def _modified(info: dict[str, Any]) -> float:
    for key in ("mtime", "modification_time", "last_modified", "LastModified"):
        value = info.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if value is not None:
            return float(value) / (1000 if key == "modification_time" else 1)
    return 0.0


def _below(base: str, path: str) -> str:
    return path[len(base.rstrip("/")) + 1 :]


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def _check_places(source: str, listing: _Listing, output: str, entries: Sequence[Entry]) -> None:
    system, target = url_to_fs(output)
    if system.exists(target) and not system.isdir(target):
        raise OptionsError(f"--output {output}: is a file, not a folder")
    folded: dict[str, str] = {}
    for entry in entries:
        key = unicodedata.normalize("NFC", entry.name).casefold()
        if key in folded:
            raise OptionsError(
                f"--input {source}: {folded[key]!r} and {entry.name!r} would collide where case "
                "or accents do not count; rename one"
            )
        folded[key] = entry.name
    source_system, _ = url_to_fs(source)
    if type(source_system) is not type(system):
        return
    results = [url_to_fs(entry.target)[1] for entry in entries]
    if any(listing.finds(path) for path in results):
        raise OptionsError(
            f"--output {output}: lies inside --input {source}, where the next run would upscale "
            "the results again; choose a folder beside it"
        )
    if not isinstance(system, LocalFileSystem):
        return
    real_target = os.path.realpath(target)
    sources = {os.path.realpath(entry.source) for entry in entries}
    for entry, result in zip(entries, results, strict=True):
        real = os.path.realpath(result)
        if os.path.commonpath([real_target, real]) != real_target:
            raise OptionsError(f"--output {output}: {entry.name!r} there leads out of the folder")
        if real in sources:
            raise OptionsError(f"--output {output}: {entry.name!r} there is one of the inputs")


def _real(path: str, is_local: bool) -> str:
    return os.path.realpath(path) if is_local else path
