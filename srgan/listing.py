"""Which files a folder holds: one answer for all jobs.

Regular files count, and links to them. What begins with a dot does not: macOS lays ._x.png beside
x.png. What bears a name but cannot be read (a named pipe, a link to nowhere, a folder without
rights) is named with the reason, and never opened: a pipe would be waited for without end.
"""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from fsspec.implementations.local import LocalFileSystem

from srgan.errors import MissingDataError
from srgan.storage import KINDS, file_system

Version = tuple[int | str, ...]
"""Bytes, time of change (ns) and what else tells, without reading it, that a file has changed."""

TIMES = ("mtime", "modification_time", "last_modified", "LastModified", "modified", "updated")
TAGS = ("ETag", "etag", "md5Hash", "content_md5")


class File(NamedTuple):
    """A regular file, or a link to one."""

    name: str
    """Relative to the folder."""
    path: str
    """Path or URL."""
    version: Version

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.version[0])

    @property
    def modified(self) -> int:
        """When it was changed last, in ns since 1970; 0 where the file system does not say."""
        return int(self.version[1])


class Unusable(NamedTuple):
    """What is there but is not read."""

    name: str
    """Relative to the folder."""
    path: str
    """Path or URL."""
    reason: str
    """Begins with a verb."""
    is_folder: bool = False


class Listing(NamedTuple):
    """What a folder holds."""

    files: Sequence[File] = ()
    """In natural order: im_2 before im_10."""
    unusable: Sequence[Unusable] = ()
    """What is no regular file, and folders that may not be read."""
    folders: Sequence[str] = ()
    """Names of the folders below it, as far as they were looked into."""
    left_out: Sequence[Unusable] = ()
    """Linked folders that are in the list by another name anyway, or lead back."""
    roots: Sequence[str] = ()
    """Where the files really lie: the folder, and what linked folders lead to."""


class Item(NamedTuple):
    """What a folder holds under one name; one of the last three is set."""

    name: str
    path: str
    """Within the file system."""
    version: Version | None = None
    """Of a file."""
    is_folder: bool = False
    reason: str | None = None
    """Why it cannot be read."""


def list_folder(folder: str, enters: Callable[[str], bool] | None = None) -> Listing:
    """List the files of a folder.

    Linked folders are followed, each real folder once, so a circle of links ends.

    Args:
        folder: local path or URL.
        enters: whether a folder below it, by its name relative to it, is to be looked into;
            without it none is.

    Raises:
        MissingDataError: the folder is not there, is no folder, or may not be read.
    """
    system, root = file_system(folder)
    is_local = isinstance(system, LocalFileSystem)
    if not system.isdir(root):
        raise MissingDataError(f"{folder}: no such folder")
    found = _Found(system, root, is_local)
    try:
        found.look_into("", root)
    except PermissionError as error:
        raise MissingDataError(f"{folder}: no right to read this folder") from error
    except OSError as error:
        raise MissingDataError(f"{folder}: cannot be read ({error.strerror or error})") from error
    if enters is not None:
        found.look_deeper(enters)
    return found.listing()


def everything(_: str) -> bool:
    """For `list_folder`: all folders below are looked into."""
    return True


def scan(system: Any, folder: str) -> Iterator[Item]:
    """What lies directly inside a folder but is not hidden, by name.

    Args:
        system: the file system, of srgan.storage.file_system.
        folder: its path there.

    Raises:
        OSError: it cannot be listed.
    """
    if isinstance(system, LocalFileSystem):
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        yield from (_look(name, f"{folder.rstrip('/')}/{name}") for name in names)
        return
    for info in sorted(system.ls(folder, detail=True), key=lambda info: info["name"]):
        path = info["name"].rstrip("/")
        name = path.rsplit("/", 1)[-1]
        # Object stores list a folder among its own content.
        if path == folder.rstrip("/") or not name or name.startswith("."):
            continue
        if info["type"] == "directory":
            yield Item(name, path, is_folder=True)
        else:
            yield Item(name, path, version_of(info))


def look_at(system: Any, path: str) -> Item | None:
    """What lies at a path; None if nothing does.

    Raises:
        OSError: it cannot be asked for.
    """
    name = path.rsplit("/", 1)[-1]
    if isinstance(system, LocalFileSystem):
        return _look(name, path) if os.path.lexists(path) else None
    try:
        info = system.info(path)
    except FileNotFoundError:
        return None
    if info["type"] == "directory":
        return Item(name, path, is_folder=True)
    return Item(name, path, version_of(info))


def version_of(info: Mapping[str, Any]) -> Version:
    """The version of a file, from what fsspec says of it."""
    tag = next((str(info[key]) for key in TAGS if info.get(key)), None)
    return (int(info["size"] or 0), _nanoseconds(info), *([] if tag is None else [tag]))


def natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key by which numbers inside names compare as numbers."""
    return [
        (int(part), "") if part.isdecimal() else (0, part.lower())
        for part in re.split(r"(\d+)", name)
    ]


def printable(name: str) -> str:
    """A file name, whose bytes need not be text, as text: other bytes become \\x and two digits."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class _Found:
    """What was found so far below a folder."""

    def __init__(self, system: Any, root: str, is_local: bool) -> None:
        self._system = system
        self._is_local = is_local
        self._root = os.path.realpath(root) if is_local else root
        self._files: list[File] = []
        self._unusable: list[Unusable] = []
        self._left_out: list[Unusable] = []
        self._folders: list[str] = []
        self._roots = [self._root]
        # By where they really lie, the names under which folders are in the list.
        self._looked_into = {self._root: ""}
        self._waiting: deque[tuple[str, str]] = deque()
        self._linked: deque[tuple[str, str]] = deque()

    def look_into(self, name: str, folder: str) -> None:
        """List what lies directly inside a folder.

        Raises:
            OSError: it cannot be listed.
        """
        for item in scan(self._system, folder):
            full = f"{name}/{item.name}" if name else item.name
            if item.is_folder:
                is_link = self._is_local and os.path.islink(item.path)
                (self._linked if is_link else self._waiting).append((full, item.path))
            elif item.version is not None:
                self._files.append(File(full, self._url(item.path), item.version))
            else:
                self._unusable.append(Unusable(full, self._url(item.path), item.reason or ""))

    def look_deeper(self, enters: Callable[[str], bool]) -> None:
        """List the folders that are not yet listed, those that are no links first."""
        while self._waiting or self._linked:
            is_link = not self._waiting
            name, folder = (self._linked if is_link else self._waiting).popleft()
            if not enters(name) or (self._is_local and not self._is_new(name, folder, is_link)):
                continue
            self._folders.append(name)
            try:
                self.look_into(name, folder)
            except PermissionError:
                self._give_up(name, folder, "is a folder that may not be read")
            except OSError as error:
                self._give_up(name, folder, f"cannot be read ({error.strerror or error})")

    def listing(self) -> Listing:
        """Everything."""
        files = sorted(self._files, key=lambda file: natural_order(file.name))
        return Listing(
            files=files,
            unusable=self._unusable,
            folders=self._folders,
            left_out=self._left_out,
            roots=self._roots,
        )

    def _is_new(self, name: str, folder: str, is_link: bool) -> bool:
        real = os.path.realpath(folder)
        before = self._looked_into.get(real)
        reason = None
        if before is not None:
            reason = f"leads to {before or 'the folder itself'}, which is in the list already"
        elif is_link and f"{self._root}/".startswith(f"{real.rstrip('/')}/"):
            reason = "leads to a folder around the one that was given"
        if reason is not None:
            self._left_out.append(Unusable(name, folder, reason, is_folder=True))
            return False
        self._looked_into[real] = name
        if is_link:
            self._roots.append(real)
        return True

    def _give_up(self, name: str, folder: str, reason: str) -> None:
        self._unusable.append(Unusable(name, self._url(folder), reason, is_folder=True))

    def _url(self, path: str) -> str:
        return path if self._is_local else self._system.unstrip_protocol(path)


def _look(name: str, path: str) -> Item:
    """What a local path is, links followed."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return Item(name, path, reason="is a link that leads nowhere")
    except OSError as error:
        return Item(name, path, reason=f"cannot be read ({error.strerror})")
    if stat.S_ISDIR(found.st_mode):
        return Item(name, path, is_folder=True)
    if stat.S_ISREG(found.st_mode):
        # The time of the last change of anything, ctime, is what nobody can set back.
        return Item(name, path, (found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    kind = KINDS.get(stat.S_IFMT(found.st_mode), "something else")
    return Item(name, path, reason=f"is {kind}, no regular file")


def _nanoseconds(info: Mapping[str, Any]) -> int:
    for key in (*TIMES, "created"):
        value = info.get(key)
        if isinstance(value, str):
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime):
            return round(value.timestamp() * 1e6) * 1000
        if value is not None:
            # HDFS counts milliseconds, others seconds.
            return round(value * 1_000_000 if key == "modification_time" else value * 1e9)
    return 0
