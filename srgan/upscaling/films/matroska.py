"""The shape of pixels in Matroska and WebM files, which PyAV cannot have written.

The header of the film's track (TrackEntry, RFC 9559) is written anew with DisplayWidth and
DisplayHeight, in place: `ROOM` behind the track's name, put there before, gives up its bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from srgan.errors import BadDataError

ROOM = "\x1f" * 32
"""Ends the track's name until the pixels' shape has taken its place."""

_SEGMENT, _TRACKS, _ENTRY, _CRC = 0x18538067, 0x1654AE6B, 0xAE, 0xBF
_NAME, _VIDEO, _VOID = 0x536E, 0xE0, 0xEC
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2


def set_display_size(path: Path, width: int, height: int, aspect: Fraction) -> None:
    """Say that pixels are not square.

    Args:
        path: the file, whose film track has a name that ends in ROOM.
        width: of its frames, in pixels.
        height: likewise.
        aspect: of a pixel, width to height.

    Raises:
        BadDataError: there is no such track.
    """
    shown = (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))
    with open(path, "r+b") as file:
        start, content = _tracks(file)
        new = b"".join(
            _element(identity, _entry_with_size(body, *shown) if identity == _ENTRY else body)
            for identity, body in _children(content)
            if identity != _CRC
        )
        crc = content[:6] if content[:1] == bytes([_CRC]) else b""
        room = len(content) - len(crc) - len(new)
        if room < 0 or room == 1:
            raise BadDataError("the shape of its pixels cannot be written")
        new += _void(room)
        if crc:
            crc = crc[:2] + zlib.crc32(new).to_bytes(4, "little")
        file.seek(start)
        file.write(crc + new)


def _entry_with_size(entry: bytes, width: int, height: int) -> bytes:
    children = list(_children(entry))
    names = [body for identity, body in children if identity == _NAME]
    if not any(name.endswith(ROOM.encode()) for name in names):
        return entry
    result = b""
    for identity, body in children:
        if identity == _NAME:
            body = body.removesuffix(ROOM.encode())
            if not body:
                continue
        if identity == _VIDEO:
            parts = [
                _element(inner, part)
                for inner, part in _children(body)
                if inner not in (_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT)
            ]
            parts.append(_element(_DISPLAY_WIDTH, width.to_bytes(4, "big")))
            parts.append(_element(_DISPLAY_HEIGHT, height.to_bytes(4, "big")))
            body = b"".join(parts)
        result += _element(identity, body)
    return result


def _tracks(file: BinaryIO) -> tuple[int, bytes]:
    """Where the content of Tracks begins, and that content."""
    end = file.seek(0, 2)
    place = 0
    while place < end:
        file.seek(place)
        head = file.read(12)
        identity, size, length = _head(head)
        if identity == _TRACKS:
            file.seek(place + length)
            return place + length, file.read(size)
        place += length if identity == _SEGMENT else length + size
    raise BadDataError("holds no tracks")


def _children(content: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(content):
        identity, size, length = _head(content[place : place + 12])
        yield identity, content[place + length : place + length + size]
        place += length + size


def _head(data: bytes) -> tuple[int, int, int]:
    """Identity and size of an element, and the length of both."""
    first = 9 - data[0].bit_length()
    second = 9 - data[first].bit_length()
    size = int.from_bytes(data[first : first + second], "big") & ((1 << 7 * second) - 1)
    return int.from_bytes(data[:first], "big"), size, first + second


def _element(identity: int, body: bytes) -> bytes:
    name = identity.to_bytes((identity.bit_length() + 7) // 8, "big")
    length = 1 if len(body) < 127 else 4
    return name + (len(body) | 1 << 7 * length).to_bytes(length, "big") + body


def _void(size: int) -> bytes:
    """An element of that many bytes that says nothing."""
    if size == 0:
        return b""
    head = 2 if size < 127 else 5
    return _element(_VOID, bytes(size - head))
