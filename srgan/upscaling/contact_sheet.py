"""A contact sheet: pictures before and after upscaling, whole and in detail.

Files are reduced while they are decoded, or read by region, so that memory is bounded whatever
their size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyvips
from PIL import Image, ImageDraw

from srgan.comparison import LARGEST_PANEL, LEAST_WIDTH, PAPER, labelled_row, most_detailed
from srgan.errors import BadDataError
from srgan.upscaling.image_files.metadata import TURNED, read_metadata
from srgan.upscaling.image_files.read import open_picture, reason
from srgan.upscaling.pieces import Entry
from srgan.upscaling.tiles import Box
from srgan.upscaling.worker import local_file

MIRRORED_ACROSS, MIRRORED_DOWN = (2, 3, 6, 7), (3, 4, 7, 8)
"""Orientations of EXIF, as seen in the upright picture."""
TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
CUBIC_REACH = 2
"""Pixels on each side that bicubic interpolation looks at."""
FRAME, FRAME_WIDTH = (214, 69, 65), 2
GROUND = [232]
"""Grey level behind what is transparent."""


def draw_sheet(headed: Sequence[tuple[str, Entry]]) -> Image.Image:
    """Rows of images and their results: before and after, and both where there is most detail.

    Args:
        headed: what is written above each row, and an image whose result is in its place.

    Raises:
        BadDataError, MissingDataError: one of them cannot be read.
    """
    rows = [_row(heading, entry) for heading, entry in headed]
    width = max(row.width for row in rows)
    sheet = Image.new("RGB", (width, sum(row.height for row in rows)), PAPER)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


class _Upright:
    """An image file as it is seen: upright, sRGB, 8 bits, nothing transparent."""

    def __init__(self, path: str) -> None:
        self._path = path
        picture = open_picture(path)
        self._orientation = read_metadata(path, picture).orientation
        self.width, self.height = picture.image.width, picture.image.height
        if self._orientation in TURNED:
            self.width, self.height = self.height, self.width

    def whole(self, width: int, height: int) -> Image.Image:
        """All of it, resized."""
        if self._orientation in TURNED:
            width, height = height, width
        return self._turned(
            self._image().thumbnail_image(width, height=height, size="force", no_rotate=True)
        )

    def part(self, box: Box) -> Image.Image:
        """A part of it, at its own size."""
        left, top, width, height = box
        if self._orientation in MIRRORED_ACROSS:
            left = self.width - left - width
        if self._orientation in MIRRORED_DOWN:
            top = self.height - top - height
        if self._orientation in TURNED:
            left, top, width, height = top, left, height, width
        return self._turned(self._image().crop(left, top, width, height))

    def _image(self) -> Any:
        # Opened each time: libvips goes through a file once.
        picture = open_picture(self._path)
        image = picture.image
        if image.bands in (2, 4) and not picture.has_alpha:
            image = image[: image.bands - 1]
        if image.format == "ushort":
            image = (image >> 8).cast("uchar")
        image = image.copy(interpretation="b-w" if image.bands < 3 else "srgb")
        if image.get_typeof("icc-profile-data"):
            image = image.icc_transform("srgb", embedded=True)
        image = image.colourspace("srgb")
        return image.flatten(background=GROUND) if image.hasalpha() else image

    def _turned(self, image: Any) -> Image.Image:
        pixels = Image.fromarray(image.numpy())
        turn = TRANSPOSED.get(self._orientation)
        return pixels if turn is None else pixels.transpose(turn)


def _row(heading: str, entry: Entry) -> Image.Image:
    with local_file(entry.source) as source, local_file(entry.target) as target:
        try:
            return labelled_row(_panels(_Upright(source), _Upright(target)), heading)
        except pyvips.Error as error:
            raise BadDataError(reason(error)) from error


def _panels(before: _Upright, after: _Upright) -> list[tuple[str, Image.Image]]:
    largest = max(after.width, after.height)
    if largest <= LARGEST_PANEL:
        repeats = max(1, min(-(-LEAST_WIDTH // after.width), LARGEST_PANEL // largest))
        size = repeats * after.width, repeats * after.height
    else:
        reduced = LARGEST_PANEL / largest
        size = max(1, round(reduced * after.width)), max(1, round(reduced * after.height))
    wholes = before.whole(*size), after.whole(*size)
    panels = [
        (f"before {before.width}x{before.height}", wholes[0]),
        (f"after {after.width}x{after.height}", wholes[1]),
    ]
    if largest > LARGEST_PANEL:
        detail = _most_detailed(after, wholes[1])
        panels += [
            ("before, by bicubic", _enlarged(before, detail, after)),
            ("after, at its true size", after.part(detail)),
        ]
        for whole in wholes:
            _frame(whole, detail, after)
    return panels


def _most_detailed(picture: _Upright, overview: Image.Image) -> Box:
    """A box of the picture that a panel has room for, by what can be seen in the small."""
    across, down = picture.width / overview.width, picture.height / overview.height
    side = max(1, round(LARGEST_PANEL / max(across, down)))
    rows, columns = most_detailed(np.asarray(overview), side)
    width, height = min(LARGEST_PANEL, picture.width), min(LARGEST_PANEL, picture.height)
    left = min(round(columns.start * across), picture.width - width)
    top = min(round(rows.start * down), picture.height - height)
    return Box(left, top, width, height)


def _enlarged(before: _Upright, detail: Box, after: _Upright) -> Image.Image:
    """What the source has where the result has the detail, by Pillow's bicubic."""
    across, down = before.width / after.width, before.height / after.height
    left, top = detail.left * across, detail.top * down
    right, bottom = left + detail.width * across, top + detail.height * down
    outer = Box(math.floor(left), math.floor(top), 0, 0)
    outer = outer._replace(
        width=math.ceil(right) - outer.left, height=math.ceil(bottom) - outer.top
    ).grown(CUBIC_REACH, before.width, before.height)
    pixels = before.part(outer)
    inner = (
        left - outer.left,
        top - outer.top,
        min(right - outer.left, outer.width),
        min(bottom - outer.top, outer.height),
    )
    return pixels.resize((detail.width, detail.height), Image.Resampling.BICUBIC, inner)


def _frame(overview: Image.Image, detail: Box, picture: _Upright) -> None:
    across, down = overview.width / picture.width, overview.height / picture.height
    corners = (
        (round(detail.left * across), round(detail.top * down)),
        (
            round((detail.left + detail.width) * across) - 1,
            round((detail.top + detail.height) * down) - 1,
        ),
    )
    ImageDraw.Draw(overview).rectangle(corners, outline=FRAME, width=FRAME_WIDTH)
