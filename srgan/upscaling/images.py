"""Image files through libvips, which reads and writes them without holding them in memory.

Kept from input to result: bits a channel, alpha, ICC profile, EXIF data with the orientation
(the pixels stay as they are stored), XMP, resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyvips
from PIL import Image

from srgan import SCALE
from srgan.errors import BadDataError
from srgan.upscaling.tiles import Box, Upscaler
from srgan.upscaling.transparency import REACH, upscale_transparent

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
# A file's first bytes decide who reads it: libvips knows more formats than should be trusted.
SIGNATURES = {
    b"\x89PNG": pyvips.Image.pngload,
    b"\xff\xd8\xff": pyvips.Image.jpegload,
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), pyvips.Image.tiffload),
    b"RIFF": pyvips.Image.webpload,
}
LARGEST_SIDES = {".bmp": 30_000, ".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383}
KEPT_FIELDS = ("icc-profile-data", "exif-", "xmp-data", "iptc-data", "orientation", "resolution-")
TYPES = frozenset({"uchar", "ushort"})
QUALITY = 95


class ImageSize(NamedTuple):
    """In input pixels, and what a result will not keep."""

    width: int
    height: int
    notes: tuple[str, ...] = ()


def probe_image(path: str, largest_megapixels: float) -> ImageSize:
    """The size of an image file, from its header.

    Raises:
        BadDataError: it is no image of a known kind, too large, or its result would be too
            large for its format.
    """
    image = _open(path)
    width, height = image.width, image.height
    if width * height > largest_megapixels * 1e6:
        raise BadDataError(
            f"{width}x{height} is more than {largest_megapixels:g} megapixels (--max-megapixels)"
        )
    suffix = Path(path).suffix.lower()
    largest = LARGEST_SIDES.get(suffix)
    if largest is not None and SCALE * max(width, height) > largest:
        raise BadDataError(
            f"{SCALE * width}x{SCALE * height} is too large for {suffix} files (at most "
            f"{largest} a side); convert it to PNG or TIFF first"
        )
    return ImageSize(width, height)


def upscale_block(path: str, box: Box, upscaler: Upscaler) -> np.ndarray:
    """Upscale a box of an image file; alpha by bicubic interpolation, grey as grey.

    Returns:
        4 box.height x 4 box.width x bands, uint8 or uint16.

    Raises:
        BadDataError: its pixels cannot be decoded.
    """
    image = _open(path)
    has_alpha = image.bands in (2, 4)
    margin = upscaler.margin + (REACH if has_alpha else 0)
    outer = box.grown(margin, image.width, image.height)
    try:
        pixels = image.crop(*outer).numpy()
    except pyvips.Error as error:
        raise BadDataError(_reason(error)) from error
    pixels = pixels.reshape(outer.height, outer.width, -1)
    is_grey = image.bands < 3
    colours = np.repeat(pixels[:, :, :1], 3, axis=2) if is_grey else pixels[:, :, :3]
    inner = box.within(outer)
    if has_alpha:
        both = np.concatenate([colours, pixels[:, :, -1:]], axis=2)
        high = upscale_transparent(both[None], inner, upscaler)[0]
    else:
        high = upscaler.upscale(colours[None], inner)[0]
    # Green has the largest part in luminance.
    return np.delete(high, (0, 2), axis=2) if is_grey else high


def write_image(path: Path, pixels: np.ndarray, source: str) -> None:
    """Write pixels in the format of the path's suffix, with the metadata of the source file.

    Args:
        path: the file.
        pixels: height x width x bands, uint8 or uint16.
        source: the image file that the pixels come from.
    """
    _write(path, pyvips.Image.new_from_array(pixels), _open(source))


def write_block(path: Path, pixels: np.ndarray) -> None:
    """Write a block's pixels for `join_blocks`."""
    pixels.tofile(path)


def join_blocks(path: Path, blocks: Sequence[Path], boxes: Sequence[Box], source: str) -> None:
    """Write an image that lies in blocks, row by row, without holding it in memory.

    Args:
        path: the file.
        blocks: files of `write_block`.
        boxes: the blocks' boxes, in input pixels, row by row.
        source: the image file that they come from.
    """
    original = _open(source)
    sizes = [(SCALE * box.width, SCALE * box.height) for box in boxes]
    images = [
        pyvips.Image.rawload(str(block), width, height, original.bands, format=original.format)
        for block, (width, height) in zip(blocks, sizes, strict=True)
    ]
    across = sum(box.top == boxes[0].top for box in boxes)
    joined = pyvips.Image.arrayjoin(
        images, across=across, hspacing=sizes[0][0], vspacing=sizes[0][1]
    )
    whole = joined.crop(0, 0, SCALE * original.width, SCALE * original.height)
    _write(path, whole, original)


def _open(path: str) -> pyvips.Image:
    with open(path, "rb") as file:
        first = file.read(4)
    if first.startswith(b"BM"):
        return _open_bmp(path)
    load = next((load for start, load in SIGNATURES.items() if first.startswith(start)), None)
    if load is None:
        raise BadDataError("its content is no PNG, JPEG, TIFF, WebP or BMP image")
    try:
        image = load(path, access="sequential", fail_on="error")
    except pyvips.Error as error:
        raise BadDataError(_reason(error)) from error
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1:
        raise BadDataError(f"holds {pages} pages or frames, of which only one is supported")
    if image.format not in TYPES:
        raise BadDataError(f"{image.format} pixels are not supported, only 8 and 16 bits")
    if image.interpretation == "cmyk":
        image = image.colourspace("srgb").copy()
        image.remove("icc-profile-data")
    if image.bands > 4:
        raise BadDataError(f"has {image.bands} channels")
    return image


def _open_bmp(path: str) -> pyvips.Image:
    """BMP is the one format that libvips leaves to others; it is never compressed by much."""
    try:
        with Image.open(path, formats=["BMP"]) as image:
            side = max(image.size)
            if side > LARGEST_SIDES[".bmp"]:
                raise BadDataError(f"{image.width}x{image.height} is too large a BMP image")
            mode = "L" if image.mode in ("1", "L") else "RGB"
            return pyvips.Image.new_from_array(np.asarray(image.convert(mode)))
    except BadDataError:
        raise
    except Exception as error:
        # On broken data the decoders raise far more than OSError.
        raise BadDataError(f"unreadable ({type(error).__name__}: {error})") from error


def _write(path: Path, image: pyvips.Image, original: pyvips.Image) -> None:
    image = image.copy(
        interpretation=original.interpretation, xres=original.xres, yres=original.yres
    )
    for name in original.get_fields():
        if name.startswith(KEPT_FIELDS):
            image.set_type(original.get_typeof(name), name, original.get(name))
    suffix = path.suffix.lower()
    if suffix == ".bmp":
        Image.fromarray(image.numpy().squeeze()).save(path)
    elif suffix == ".png":
        # As fast as without filters at libvips's level of 6, and a third smaller.
        image.pngsave(str(path), filter="all", compression=3)
    elif suffix == ".webp":
        image.webpsave(str(path), Q=QUALITY)
    elif suffix in (".tif", ".tiff"):
        size = image.width * image.height * image.bands * (2 if image.format == "ushort" else 1)
        image.tiffsave(
            str(path), compression="deflate", predictor="horizontal", bigtiff=size > 3_000_000_000
        )
    else:
        image.jpegsave(str(path), Q=QUALITY, subsample_mode="off")


def _reason(error: pyvips.Error) -> str:
    lines = [line.strip() for line in str(error.detail or error).splitlines() if line.strip()]
    return f"unreadable ({'; '.join(dict.fromkeys(lines))[:300]})"
