"""Which files there are to upscale, and where their results go."""

from __future__ import annotations

import fnmatch
import glob
import os
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from fsspec.implementations.local import LocalFileSystem

from srgan.errors import BadDataError, MissingDataError, OptionsError
from srgan.listing import File, Item, Unusable, everything, list_folder, look_at
from srgan.storage import file_system, join
from srgan.upscaling.films.tracks import SUFFIXES as FILM_SUFFIXES
from srgan.upscaling.image_files.formats import SUFFIXES as IMAGE_SUFFIXES
from srgan.upscaling.output_options import DEFAULTS, OutputOptions
from srgan.upscaling.pieces import Entry

WORK_FOLDER = ".upscaling"
"""Inside the output folder: results of pieces, until they are put together."""


class Found(NamedTuple):
    """The files below an input."""

    entries: Sequence[Entry]
    others: Sequence[str]
    """Names of files that are neither images nor videos, by their suffix."""
    unusable: Sequence[Unusable]
    """What seems to be an image or video but is no regular file, and folders that may not be
    read."""
    left_out: Sequence[Unusable]
    """Linked folders that are there by another name anyway, or lead back."""


def find_entries(source: str, output: str, options: OutputOptions = DEFAULTS) -> Found:
    """Find all images and videos.

    Args:
        source: a file, a folder, of which everything below counts, or a glob pattern with `*`,
            `?` or `[`; local or a URL. What exists by this very name is no pattern. Names that
            begin with a dot are left out; links to folders are followed, each folder once.
        output: folder for the results, local or a URL.
        options: say how results are called.

    Raises:
        MissingDataError: nothing is there, or no image or video.
        BadDataError: a single file that is neither, or cannot be read.
        OptionsError: results would overwrite each other or inputs, or become inputs.
    """
    listing = _list(source)
    known = IMAGE_SUFFIXES | FILM_SUFFIXES
    entries, others = [], []
    for file in listing.files:
        if _suffix(file.name) not in known:
            others.append(file.name)
            continue
        is_image = _suffix(file.name) in IMAGE_SUFFIXES
        entries.append(
            Entry(
                name=file.name,
                kind="image" if is_image else "video",
                source=file.path,
                target=join(output, options.name_of(file.name, is_image)),
                version=file.version,
            )
        )
    unusable = [one for one in listing.unusable if one.is_folder or _suffix(one.name) in known]
    others += [one.name for one in listing.unusable if one not in unusable]
    if not entries and not unusable:
        name, suffixes = f"--input {source}", f"(known: {', '.join(sorted(known))})"
        if listing.is_file:
            raise BadDataError(f"{name}: neither image nor video {suffixes}")
        raise MissingDataError(f"{name}: no image or video there {suffixes}")
    _check_places(source, listing, output, entries)
    return Found(entries, others, unusable, listing.left_out)


class _Listing(NamedTuple):
    files: Sequence[File]
    finds: Callable[[str], bool]
    """Whether the same input would also list a file of that real path if there were one."""
    unusable: Sequence[Unusable] = ()
    left_out: Sequence[Unusable] = ()
    is_file: bool = False


def _list(source: str) -> _Listing:
    system, root = file_system(source)
    try:
        item = look_at(system, root)
    except PermissionError as error:
        raise MissingDataError(f"--input {source}: no right to read it") from error
    if item is None:
        return _list_pattern(source, system, root)
    if not item.is_folder:
        return _Listing([_only_file(source, item)], lambda path: False, is_file=True)
    found = list_folder(source, everything)
    roots = tuple(f"{place.rstrip('/')}/" for place in found.roots)
    return _Listing(
        found.files, lambda path: path.startswith(roots), found.unusable, found.left_out
    )


def _only_file(source: str, item: Item) -> File:
    if item.name.startswith("."):
        raise BadDataError(f"--input {source}: names that begin with a dot are left out; rename it")
    if item.version is None:
        raise BadDataError(f"--input {source}: {item.reason}")
    system, _ = file_system(source)
    return File(item.name, _url(system, item.path), item.version)


def _url(system: Any, path: str) -> str:
    return path if isinstance(system, LocalFileSystem) else system.unstrip_protocol(path)


def _list_pattern(source: str, system: Any, root: str) -> _Listing:
    """The files that match a pattern whose folders may have names that look like patterns."""
    parts = root.strip("/").split("/")
    base, count = "", 0
    for part in parts:
        if glob.has_magic(part) and look_at(system, f"{base}/{part}") is None:
            break
        base, count = f"{base}/{part}", count + 1
    pattern = parts[count:]
    if not pattern or not system.isdir(base or "/"):
        raise MissingDataError(f"--input {source}: no such file or folder")
    found = list_folder(
        _url(system, base or "/"), lambda name: _matches(name.split("/"), pattern, begin=True)
    )

    def matches(name: str) -> bool:
        return _matches(name.split("/"), pattern)

    return _Listing(
        [file for file in found.files if matches(file.name)],
        lambda path: path.startswith(f"{base}/") and matches(path[len(base) + 1 :]),
        [one for one in found.unusable if one.is_folder or matches(one.name)],
        found.left_out,
    )


def _matches(names: Sequence[str], pattern: Sequence[str], begin: bool = False) -> bool:
    """Whether a path matches; with `begin` whether any that begins like this could.

    `**` stands for any number of folders.
    """
    if not pattern:
        return not names and not begin
    if not names:
        return begin or all(part == "**" for part in pattern)
    if pattern[0] == "**":
        return _matches(names, pattern[1:], begin) or _matches(names[1:], pattern, begin)
    fits = names[0] == pattern[0] or fnmatch.fnmatchcase(names[0], pattern[0])
    return fits and _matches(names[1:], pattern[1:], begin)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _check_places(source: str, listing: _Listing, output: str, entries: Sequence[Entry]) -> None:
    system, target = file_system(output)
    is_local = isinstance(system, LocalFileSystem)
    if system.exists(target) and not system.isdir(target):
        raise OptionsError(f"--output {output}: is a file, not a folder")
    folded: dict[str, str] = {}
    for entry in entries:
        key = _folded(entry.target)
        if key in folded:
            both = f"--input {source}: {folded[key]!r} and {entry.name!r} would"
            if _folded(folded[key]) != _folded(entry.name):
                name = PurePosixPath(entry.target).name
                raise OptionsError(
                    f"{both} both become {name!r}; rename one, or leave --format out"
                )
            raise OptionsError(f"{both} collide where case or accents do not count; rename one")
        folded[key] = entry.name
    if file_system(source)[0] != system:
        return
    real: Callable[[str], str] = _RealPaths() if is_local else str
    results = [real(file_system(entry.target)[1]) for entry in entries]
    if any(listing.finds(path) for path in results):
        raise OptionsError(
            f"--output {output}: lies inside --input {source}, where the next run would "
            "upscale the results again; choose a folder beside it"
        )
    if not is_local:
        return
    inside = f"{os.path.realpath(target).rstrip('/')}/"
    sources = {real(entry.source) for entry in entries}
    for entry, result in zip(entries, results, strict=True):
        if not result.startswith(inside):
            raise OptionsError(f"--output {output}: {entry.name!r} there leads out of the folder")
        if result in sources:
            raise OptionsError(f"--output {output}: {entry.name!r} there is one of the inputs")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


class _RealPaths:
    """Paths without links; asks once for each folder, not for each of its files."""

    def __init__(self) -> None:
        self._folders: dict[str, tuple[str, set[str]]] = {}

    def __call__(self, path: str) -> str:
        folder, _, name = path.rpartition("/")
        if folder not in self._folders:
            try:
                with os.scandir(folder or "/") as entries:
                    links = {entry.name for entry in entries if entry.is_symlink()}
            except OSError:
                links = set()
            self._folders[folder] = (os.path.realpath(folder or "/").rstrip("/"), links)
        real, links = self._folders[folder]
        return os.path.realpath(path) if name in links else f"{real}/{name}"
