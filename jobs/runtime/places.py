"""The ways in which people write a path: /srv/x, ~/x, file:///srv/x, hdfs://HOST:PORT/x."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from jobs.runtime.errors import UsageError

URL = re.compile("([A-Za-z][A-Za-z0-9+.-]*)://")
MISTYPED_URL = re.compile("[A-Za-z][A-Za-z0-9+.-]+:(?=/(?!/))")
"""Windows would call one letter a drive."""
LOCAL_URL = re.compile("(?:file|local):(?://(?:localhost(?=/))?|(?=/))", re.IGNORECASE)


def is_remote(path: str) -> bool:
    """Whether `path` is a URL of a file system other than this machine's."""
    return URL.match(path) is not None and LOCAL_URL.match(path) is None


def plain_path(path: str) -> str:
    """A path on this machine without file:// and ~; one elsewhere as it is.

    Raises:
        UsageError: nobody has that home, or a slash is missing behind hdfs:.
    """
    local = LOCAL_URL.match(path)
    if local is not None:
        return path[local.end() :] or "/"
    home = os.path.expanduser(path)
    if path.startswith("~") and home == path and not os.path.lexists(path.partition("/")[0]):
        raise UsageError(f"{path}: no such home; write a folder of that name as ./{path}")
    mistyped = MISTYPED_URL.match(path)
    if mistyped is not None and not os.path.lexists(mistyped[0]):
        raise UsageError(f"{path}: a URL begins with {mistyped[0]}//")
    return home


def plain_paths(text: str) -> str:
    """A path, or a list with commas in between, with `plain_path` of each that needs it.

    A name alone stays as it is, since not every text is a path; so does a lone ~.

    Raises:
        UsageError: see `plain_path`.
    """
    return ",".join(
        part[: -len(part.lstrip())] + plain_path(part.lstrip()) if "/" in part else part
        for part in text.split(",")
    )


def local_path(text: str) -> Path:
    """The type of a command line option that names a file or folder of this machine."""
    try:
        path = plain_path(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if is_remote(path):
        raise argparse.ArgumentTypeError(f"{text}: must be on this machine")
    return Path(path)
