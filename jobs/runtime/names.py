"""Short names for paths that a user listed."""

from __future__ import annotations

import os
from collections.abc import Sequence

from jobs.runtime import remote
from jobs.runtime.errors import UsageError


def split_paths(paths: str) -> list[str]:
    """The paths of a list with commas, without what is empty and without closing slashes.

    Raises:
        UsageError: see `plain_path`.
    """
    parts = [path.strip() for path in paths.split(",")]
    return [remote.plain_path(path).rstrip("/") or "/" for path in parts if path]


def short_names(paths: Sequence[str], option: str) -> list[str]:
    """A name for each path: the file's, with its folder in front where two are alike.

    Args:
        paths: local ones, absolute or not, or URLs.
        option: whose value they are, for messages.

    Raises:
        UsageError: two paths have the same name and folder.
    """
    whole = [remote.absolute(path) for path in paths]
    short = [os.path.basename(path).removesuffix(".safetensors") for path in whole]
    if len(set(short)) < len(short):
        short = [
            os.path.join(os.path.basename(os.path.dirname(path)), name)
            for path, name in zip(whole, short, strict=True)
        ]
    if len(set(short)) < len(short):
        raise UsageError(f"{option} {','.join(paths)}: two have the same name")
    return short
