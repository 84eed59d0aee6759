"""Writing files in one step, and where this checkout lies."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
PUBLIC, PRIVATE = 0o644, 0o600


@contextmanager
def open_atomically(path: Path, mode: int = PUBLIC) -> Iterator[IO[bytes]]:
    """A file to write that replaces `path` in one step after all went well, and is on the disk.

    Args:
        path: the file, in a folder that exists. A reader sees the old file or the new one.
        mode: its permissions. It is made with those of `PRIVATE`.

    Raises:
        OSError: it cannot be written; names `path`.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_atomically(path: Path, text: str, mode: int = PUBLIC) -> None:
    """Replace `path` by `text` in one step; see `open_atomically`."""
    with open_atomically(path, mode) as file:
        file.write(text.encode())
