"""hdfs:// for fsspec, by the package hdfs-native."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

from hdfs_native.fsspec import HdfsFileSystem


class Hdfs(HdfsFileSystem):
    """As it comes, but for names and errors.

    A name may hold ?, # and ;, which mean something in URLs of other kinds alone. Who has no right
    gets a PermissionError, as everywhere else.
    """

    _kept: ClassVar[list[Hdfs]] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Connect, as the base class does."""
        super().__init__(*arguments, **options)
        # A forked child forgets fsspec's instances; to end this one there would wait without end
        # for its threads, which the child does not have.
        self._kept.append(self)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        _, separator, rest = path.partition("://")
        return f"/{rest.partition('/')[2]}" if separator else path or cls.root_marker

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """What is known of a path."""
        with _usual_errors(path):
            return super().info(path, **options)

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """What a folder holds."""
        with _usual_errors(path):
            return list(super().ls(path, detail, **options))

    def _open(self, path: str, *arguments: Any, **options: Any) -> Any:
        with _usual_errors(path):
            return super()._open(path, *arguments, **options)


@contextlib.contextmanager
def _usual_errors(path: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "AccessControlException" in str(error):
            raise PermissionError(13, "Permission denied", path) from error
        raise
