"""The beginning of JPEG XL files: size and boxes, known before anything is decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO

CODESTREAM = b"\xff\x0a"
RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
SIDE_BITS = (9, 13, 18, 30)


def size_of(file: IO[bytes]) -> tuple[int, int] | None:
    """Width and height; None where the file is damaged."""
    for kind, place, _ in _boxes(file):
        if kind in (b"jxlc", b"jxlp"):
            file.seek(place + (4 if kind == b"jxlp" else 0))
            data = file.read(16)
            return _size(data) if data.startswith(CODESTREAM) else None
    return None


def has_box(file: IO[bytes], kind: bytes) -> bool:
    """Whether there is a box of that kind, such as b"xml "."""
    return any(found == kind for found, _, _ in _boxes(file))


def _boxes(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and length of what each box holds; a bare stream is one."""
    file.seek(0)
    if file.read(2) == CODESTREAM:
        yield b"jxlc", 0, 0
        return
    place = 0
    while True:
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            return
        length, kind = struct.unpack_from(">I4s", head)
        size = 8
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
            size = 16
        yield kind, place + size, length - size
        if length < size:
            # The last box reaches to the end.
            return
        place += length


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._left = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self._left & ((1 << count) - 1)
        self._left >>= count
        return value


def _size(data: bytes) -> tuple[int, int]:
    bits = _Bits(data[len(CODESTREAM) :])
    is_small = bool(bits.take(1))

    def side() -> int:
        return 8 * (bits.take(5) + 1) if is_small else bits.take(SIDE_BITS[bits.take(2)]) + 1

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    across, down = RATIOS[ratio]
    return height * across // down, height
