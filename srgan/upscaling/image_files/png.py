"""Chunks of PNG files: those that say something of the picture pass from source to result."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Sequence
from typing import IO, NamedTuple

from srgan.upscaling.image_files.exif import Resolution

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
COLOURS = frozenset({b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI"})
READ = TEXT | COLOURS | {b"eXIf", b"pHYs", b"acTL"}
XMP = b"XML:com.adobe.xmp\0"
STANDARD_GAMMA = range(45_450, 45_460)
"""What files of ordinary colours name, times 100000."""
STANDARD_PRIMARIES = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
"""Of sRGB, times 100000: white, red, green, blue."""
SMALLEST_HEAD = 8 + 25
"""Bytes of the signature and of the first chunk."""


class Chunk(NamedTuple):
    """A chunk without its length and checksum."""

    kind: bytes
    data: bytes

    def encoded(self) -> bytes:
        """As it lies in a file."""
        checksum = zlib.crc32(self.kind + self.data)
        return (
            struct.pack(">I4s", len(self.data), self.kind) + self.data + struct.pack(">I", checksum)
        )


def read_chunks(file: IO[bytes], kinds: Collection[bytes] = READ) -> list[Chunk]:
    """The chunks of a PNG file of these kinds, as far as it is whole."""
    file.seek(len(SIGNATURE))
    found = []
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in kinds:
            data = file.read(length)
            if len(data) < length:
                break
            found.append(Chunk(kind, data))
            file.seek(4, 1)
        else:
            file.seek(length + 4, 1)
    return found


def is_xmp(chunk: Chunk) -> bool:
    """Whether a text is XMP data, which all formats have a place for."""
    return chunk.kind == b"iTXt" and chunk.data.startswith(XMP)


def xmp_chunk(data: bytes) -> Chunk:
    """The chunk that holds XMP data; not compressed, so that any program finds them."""
    return Chunk(b"iTXt", XMP + bytes(4) + data)


def has_unusual_colours(chunks: Sequence[Chunk]) -> bool:
    """Whether gamma or primaries are others than those of sRGB."""
    for chunk in chunks:
        if chunk.kind == b"gAMA" and int.from_bytes(chunk.data[:4], "big") not in STANDARD_GAMMA:
            return True
        if chunk.kind == b"cHRM" and len(chunk.data) == 32:
            numbers = struct.unpack(">8I", chunk.data)
            if any(abs(a - b) > 1000 for a, b in zip(numbers, STANDARD_PRIMARIES, strict=True)):
                return True
    return False


def keyword(chunk: Chunk) -> str:
    """Of a text, such as "Author"."""
    return chunk.data.partition(b"\0")[0].decode("latin-1")


def resolution(chunks: Sequence[Chunk]) -> Resolution | None:
    """The resolution of the picture, if there is one."""
    for chunk in chunks:
        if chunk.kind == b"pHYs" and len(chunk.data) == 9:
            x, y, unit = struct.unpack(">IIB", chunk.data)
            return Resolution(x / 1000, y / 1000) if unit == 1 and x and y else None
    return None


def resolution_chunk(found: Resolution) -> Chunk:
    """The chunk that says it."""
    return Chunk(b"pHYs", struct.pack(">IIB", round(1000 * found.x), round(1000 * found.y), 1))


class ChunkWriter:
    """Puts chunks behind the first one of a PNG file that is being written, and leaves out others.

    libvips writes a resolution whether there is one or not.
    """

    def __init__(self, file: IO[bytes], chunks: list[Chunk]) -> None:
        self._file = file
        self._chunks = chunks
        self._head: bytearray | None = bytearray()

    def write(self, data: bytes) -> None:
        """Write the next bytes."""
        if self._head is None:
            self._file.write(data)
        else:
            self._head += data
            self._try_head()

    def _try_head(self) -> None:
        """Write all up to the pixels once that has come."""
        assert self._head is not None
        place, kept = len(SIGNATURE), list[bytes]()
        while len(self._head) >= place + 8:
            length, kind = struct.unpack_from(">I4s", self._head, place)
            if kind == b"IDAT":
                self._file.write(self._head[:SMALLEST_HEAD])
                self._file.writelines(chunk.encoded() for chunk in self._chunks)
                self._file.writelines(kept)
                self._file.write(self._head[place:])
                self._head = None
                return
            end = place + 12 + length
            if kind not in (b"IHDR", b"pHYs"):
                kept.append(bytes(self._head[place:end]))
            place = end
