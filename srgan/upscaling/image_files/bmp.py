"""BMP files, written strip by strip; with transparency as Pillow would not."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from srgan.upscaling.image_files.exif import Resolution

FILE_HEAD, SMALL_HEAD, LARGE_HEAD = 14, 40, 108
BIT_FIELDS = 3
MASKS = (0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000)
SRGB = 0x73524742
STRIP = 256
"""Rows at a time."""


def write_bmp(path: Path, image: Any, resolution: Resolution | None) -> None:
    """Write a BMP file.

    Args:
        path: the file.
        image: of libvips; 8 bits per channel; grey, RGB or RGB with transparency.
        resolution: of the picture; None for none.
    """
    width, height, bands = image.width, image.height, image.bands
    stride = -(-width * bands // 4) * 4
    head = _head(width, height, bands, resolution, size=stride * height)
    palette = b"".join(bytes((level, level, level, 0)) for level in range(256 if bands == 1 else 0))
    first = FILE_HEAD + len(head) + len(palette)
    with open(path, "wb") as file:
        file.write(struct.pack("<2sIHHI", b"BM", first + stride * height, 0, 0, first))
        file.write(head + palette)
        for top in range(0, height, STRIP):
            count = min(STRIP, height - top)
            rows = np.zeros((count, stride), np.uint8)
            pixels = image.crop(0, top, width, count).numpy().reshape(count, width, bands)
            order = [2, 1, 0, 3][:bands] if bands > 1 else [0]
            rows[:, : width * bands] = pixels[:, :, order].reshape(count, -1)
            # The lowest row comes first.
            file.seek(first + stride * (height - top - count))
            file.write(rows[::-1].tobytes())


def _head(width: int, height: int, bands: int, resolution: Resolution | None, size: int) -> bytes:
    dots = (round(1000 * side) for side in resolution or (0, 0))
    kind, length = (BIT_FIELDS, LARGE_HEAD) if bands == 4 else (0, SMALL_HEAD)
    common = (length, width, height, 1, 8 * bands, kind, size, *dots, 0, 0)
    head = struct.pack("<IiiHHIIiiII", *common)
    return head + struct.pack("<5I48x", *MASKS, SRGB) if bands == 4 else head
