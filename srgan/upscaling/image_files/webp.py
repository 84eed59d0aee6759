"""Chunks of WebP files: EXIF data are put there as they are."""

from __future__ import annotations

import struct
from typing import IO

HAS_ALPHA, HAS_EXIF = 0x10, 0x08
HEAD = 12
"""Bytes before the first chunk."""
EXTENDED = 18
"""Bytes of the chunk that says what else there is."""


def is_lossless(file: IO[bytes]) -> bool:
    """Whether the pixels of a WebP file are stored without loss."""
    file.seek(HEAD)
    while len(head := file.read(8)) == 8:
        kind, length = struct.unpack("<4sI", head)
        if kind in (b"VP8L", b"VP8 "):
            return bool(kind == b"VP8L")
        file.seek(length + length % 2, 1)
    return False


class ExifWriter:
    """Adds EXIF data to a WebP file that is being written."""

    def __init__(
        self, file: IO[bytes], exif: bytes, width: int, height: int, has_alpha: bool
    ) -> None:
        self._file = file
        self._exif = exif
        self._head: bytearray | None = bytearray()
        flags = HAS_EXIF | (HAS_ALPHA if has_alpha else 0)
        sides = ((side - 1).to_bytes(3, "little") for side in (width, height))
        self._extended = struct.pack("<4sII", b"VP8X", 10, flags) + b"".join(sides)

    def write(self, data: bytes) -> None:
        """Write the next bytes."""
        if self._head is None:
            self._file.write(data)
            return
        self._head += data
        if len(self._head) >= HEAD + EXTENDED:
            if self._head[HEAD : HEAD + 4] == b"VP8X":
                self._head[HEAD + 8] |= HAS_EXIF
            else:
                self._head[HEAD:HEAD] = self._extended
            self._file.write(self._head)
            self._head = None

    def finish(self) -> None:
        """Write the rest; the file has to be one that can be sought in."""
        padding = bytes(len(self._exif) % 2)
        self._file.write(struct.pack("<4sI", b"EXIF", len(self._exif)) + self._exif + padding)
        size = self._file.tell()
        self._file.seek(4)
        self._file.write(struct.pack("<I", size - 8))
        self._file.seek(size)
