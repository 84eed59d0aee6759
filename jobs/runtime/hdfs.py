"""hdfs:// for fsspec, by the package hdfs-native."""

from __future__ import annotations

from hdfs_native.fsspec import HdfsFileSystem


class Hdfs(HdfsFileSystem):
    """As it comes, but a name may hold ?, # and ;, which mean something in other URLs alone."""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        _, separator, rest = path.partition("://")
        return f"/{rest.partition('/')[2]}" if separator else path or cls.root_marker
