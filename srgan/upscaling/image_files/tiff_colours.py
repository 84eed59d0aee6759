"""The colours of TIFF files, as far as libvips does not read them as they are meant."""

from __future__ import annotations

from typing import IO, Any

import pyvips

from srgan.errors import BadDataError
from srgan.upscaling.image_files import tiff

TIFF_COLOURS = frozenset({0, 1, 2, 3, 5, 6, 8})
"""White or black is zero, RGB, palette, CMYK, YCbCr, CIELAB."""


def checked_tags(file: IO[bytes]) -> Any:
    """The tags of a TIFF file whose kind of colours is known here.

    Raises:
        BadDataError: it is not, or the tags are damaged.
    """
    try:
        tags = tiff.read_tags(file)
    except Exception as error:
        # On broken data it raises whatever comes up.
        raise BadDataError(f"unreadable (its tags are damaged: {error})") from error
    colours = tags.get(tiff.COLOURS, 1)
    if colours not in TIFF_COLOURS:
        raise BadDataError(
            f"its kind of colours (PhotometricInterpretation {colours}) is not supported; "
            "convert it to RGB first"
        )
    return tags


def rgb_of_ycbcr(image: Any, tags: Any) -> Any:
    """RGB of an image of libvips whose channels are Y, Cb and Cr.

    Raises:
        BadDataError: it is of another depth.
    """
    if image.bands != 3 or image.format != "uchar":
        raise BadDataError("is YCbCr of another kind than 3 x 8 bits; convert it to RGB first")
    try:
        scales, offsets, matrix = _conversion(
            *tags.get(tiff.LUMA_WEIGHTS, (0.299, 0.587, 0.114)),
            *tags.get(tiff.BLACK_AND_WHITE, (0, 255, 128, 255, 128, 255)),
        )
    except (ArithmeticError, TypeError, ValueError) as error:
        raise BadDataError("unreadable (its tags of YCbCr are damaged)") from error
    rgb = image.linear(scales, offsets).recomb(pyvips.Image.new_from_array(matrix))
    return rgb.rint().cast("uchar").copy(interpretation="srgb")


def _conversion(
    red: float, green: float, blue: float, *levels: float
) -> tuple[list[float], list[float], list[list[float]]]:
    """What Y, Cb and Cr are multiplied by, what is added then, and rows for red, green, blue."""
    black_y, white_y, zero_b, full_b, zero_r, full_r = map(float, levels)
    red, green, blue = float(red), float(green), float(blue)
    scales = [255 / (white_y - black_y), 127 / (full_b - zero_b), 127 / (full_r - zero_r)]
    zeros = (black_y, zero_b, zero_r)
    offsets = [-zero * scale for zero, scale in zip(zeros, scales, strict=True)]
    for_red, for_blue = 2 * (1 - red), 2 * (1 - blue)
    matrix = [
        [1, 0, for_red],
        [1, -blue * for_blue / green, -red * for_red / green],
        [1, for_blue, 0],
    ]
    return scales, offsets, matrix
