"""Segments of JPEG files before the pixels: those that say something of the picture pass on."""

from __future__ import annotations

import struct
from typing import IO, NamedTuple

from srgan.upscaling.image_files.exif import PREFIX, Resolution

APP0, APP1, APP2, APP13, COMMENT = 0xE0, 0xE1, 0xE2, 0xED, 0xFE
START_OF_PIXELS = 0xDA
LARGEST = 65_533
"""Bytes of a segment's data."""
XMP = (b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0")
PHOTOSHOP = b"Photoshop 3.0\0"
FURTHER_PICTURES = b"MPF\0"
MM_PER_UNIT = {1: 25.4, 2: 10.0}


class Segment(NamedTuple):
    """A segment without marker and length."""

    marker: int
    data: bytes

    def encoded(self) -> bytes:
        """As it lies in a file."""
        return struct.pack(">BBH", 0xFF, self.marker, len(self.data) + 2) + self.data


def read_segments(file: IO[bytes]) -> list[Segment]:
    """The segments of a JPEG file from the beginning to the pixels, as far as it is whole."""
    file.seek(2)
    found = []
    while file.read(1) == b"\xff":
        marker = 0xFF
        while marker == 0xFF:
            marker = (file.read(1) or b"\0")[0]
        head = file.read(2)
        if marker in (0, START_OF_PIXELS) or len(head) < 2:
            break
        length = struct.unpack(">H", head)[0] - 2
        data = file.read(max(0, length))
        if len(data) < length:
            break
        found.append(Segment(marker, data))
    return found


def exif_of(segments: list[Segment]) -> bytes | None:
    """The first EXIF data."""
    return next(
        (one.data for one in segments if one.marker == APP1 and one.data.startswith(PREFIX)), None
    )


def described(segments: list[Segment]) -> list[Segment]:
    """XMP, IPTC and comments; EXIF and ICC data have ways of their own."""
    return [
        one
        for one in segments
        if (one.marker == APP1 and one.data.startswith(XMP))
        or (one.marker == APP13 and one.data.startswith(PHOTOSHOP))
        or one.marker == COMMENT
    ]


def has_further_pictures(segments: list[Segment]) -> bool:
    """Whether the file holds more than one picture, such as a gain map for HDR displays."""
    return any(one.marker == APP2 and one.data.startswith(FURTHER_PICTURES) for one in segments)


def resolution(segments: list[Segment]) -> Resolution | None:
    """The resolution of the picture in its JFIF header, if there is one."""
    for one in segments:
        if one.marker == APP0 and one.data.startswith(b"JFIF\0") and len(one.data) >= 12:
            unit, x, y = struct.unpack(">BHH", one.data[7:12])
            mm = MM_PER_UNIT.get(unit)
            return Resolution(x / mm, y / mm) if mm and x and y else None
    return None


def jfif_header(found: Resolution | None) -> Segment:
    """The JFIF header for a resolution; without one it says so."""
    unit, x, y = 0, 1, 1
    if found is not None:
        # The unit in which these are whole numbers.
        across = {unit: found.x * mm for unit, mm in MM_PER_UNIT.items()}
        unit = min(across, key=lambda one: abs(across[one] - round(across[one])))
        x, y = (min(65_535, max(1, round(side * MM_PER_UNIT[unit]))) for side in found)
    return Segment(APP0, b"JFIF\0" + struct.pack(">HBHHBB", 0x0102, unit, x, y, 0, 0))


class SegmentWriter:
    """Puts segments at the beginning of a JPEG file that is being written."""

    def __init__(self, file: IO[bytes], segments: list[Segment]) -> None:
        self._file = file
        self._head = b"".join(one.encoded() for one in segments)
        self._left = 2

    def write(self, data: bytes) -> None:
        """Write the next bytes."""
        if self._left:
            first = data[: self._left]
            self._left -= len(first)
            self._file.write(first)
            if not self._left:
                self._file.write(self._head)
                self._file.write(data[len(first) :])
        else:
            self._file.write(data)
