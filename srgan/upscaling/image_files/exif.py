"""EXIF data as it lies in files: read, and changed in place, so all else stays byte for byte."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

ORIENTATION = 0x0112
SIZES = ((0x0100, 0xA002), (0x0101, 0xA003))
"""Tags of width and of height."""
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
EXIF_FOLDER = 0x8769
FOLDERS = (EXIF_FOLDER, 0x8825)
"""EXIF's own tags, and those of the place."""
PREFIX = b"Exif\0\0"
SHORT, LONG, RATIONAL = 3, 4, 5
MM_PER_UNIT = {2: 25.4, 3: 10.0}


class Resolution(NamedTuple):
    """Pixels per millimetre."""

    x: float
    y: float


class _Entry(NamedTuple):
    place: int
    """Where its twelve bytes begin."""
    kind: int
    number: int
    """How many values."""


def without_prefix(data: bytes | None) -> bytes | None:
    """The TIFF structure in EXIF data that may begin with "Exif"; None if there is none."""
    data = (data or b"").removeprefix(PREFIX)
    return data if data[:4] in (b"II*\0", b"MM\0*") else None


def is_whole(exif: bytes) -> bool:
    """Whether all directories can be read."""
    known = Image.Exif()
    try:
        with warnings.catch_warnings():
            # Pillow warns of some damage, and goes on without.
            warnings.simplefilter("error")
            known.load(PREFIX + exif)
            for folder in FOLDERS:
                known.get_ifd(folder)
    except Exception:
        # On damaged data it raises whatever comes up.
        return False
    return True


def number(exif: bytes, tag: int) -> int | None:
    """A whole number of the first directory, such as the orientation."""
    entry = _entries(exif).get(tag)
    if entry is None or entry.kind not in (SHORT, LONG):
        return None
    return _unpack(exif, "H" if entry.kind == SHORT else "I", entry.place + 8)[0]


def resolution(exif: bytes) -> Resolution | None:
    """The resolution of the picture, if there is one."""
    unit = MM_PER_UNIT.get(number(exif, RESOLUTION_UNIT) or 2)
    x, y = (_rational(exif, tag) for tag in (X_RESOLUTION, Y_RESOLUTION))
    return Resolution(x / unit, y / unit) if unit and x and y else None


def changed(exif: bytes, width: int, height: int, upright: bool = False) -> bytes:
    """EXIF data of a picture of another size.

    Args:
        exif: a TIFF structure.
        width: in pixels, for the tags that hold it if there are such.
        height: likewise.
        upright: the picture lies as it is to be shown.
    """
    data = bytearray(exif)
    order = _order(exif)
    for tag, entry in _entries(exif).items():
        for tags, value in zip(SIZES, (width, height), strict=True):
            if tag in tags and entry.number == 1 and entry.kind in (SHORT, LONG):
                struct.pack_into(f"{order}HII", data, entry.place + 2, LONG, 1, value)
        if tag == ORIENTATION and upright:
            struct.pack_into(f"{order}HIHH", data, entry.place + 2, SHORT, 1, 1, 0)
    return bytes(data)


def _order(exif: bytes) -> str:
    return "<" if exif.startswith(b"II") else ">"


def _unpack(exif: bytes, form: str, place: int) -> tuple[int, ...]:
    return struct.unpack_from(_order(exif) + form, exif, place)


def _entries(exif: bytes) -> dict[int, _Entry]:
    """By tag, those of the first directory and of EXIF's own; nothing more where it is damaged."""
    found: dict[int, _Entry] = {}
    try:
        found |= _folder(exif, _unpack(exif, "I", 4)[0])
        if EXIF_FOLDER in found:
            inner = _folder(exif, _unpack(exif, "I", found[EXIF_FOLDER].place + 8)[0])
            found |= {tag: entry for tag, entry in inner if tag not in found}
    except struct.error:
        pass
    return found


def _folder(exif: bytes, place: int) -> Iterator[tuple[int, _Entry]]:
    for index in range(_unpack(exif, "H", place)[0]):
        at = place + 2 + 12 * index
        # With its value, so that this is there as well.
        tag, kind, number, _ = _unpack(exif, "HHII", at)
        yield tag, _Entry(at, kind, number)


def _rational(exif: bytes, tag: int) -> float | None:
    entry = _entries(exif).get(tag)
    if entry is None or entry.kind != RATIONAL:
        return None
    try:
        above, below = _unpack(exif, "II", _unpack(exif, "I", entry.place + 8)[0])
    except struct.error:
        return None
    return above / below if below else None
