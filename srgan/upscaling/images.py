"""Images, upscaled block by block: probed, cut, and put together in files without being held.

What is kept from input to result, and what is said where something is not: image_files/metadata.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyvips

from srgan import SCALE
from srgan.errors import BadDataError
from srgan.upscaling.image_files.formats import LARGEST_HELD, format_of
from srgan.upscaling.image_files.metadata import TURNED, losses, read_metadata
from srgan.upscaling.image_files.read import Picture, open_picture, reason
from srgan.upscaling.image_files.write import write_picture
from srgan.upscaling.output_options import DEFAULTS, OutputOptions
from srgan.upscaling.tiles import Box, Upscaler
from srgan.upscaling.transparency import REACH, upscale_transparent


class ImageSize(NamedTuple):
    """In input pixels, and what a result will not keep."""

    width: int
    height: int
    notes: tuple[str, ...] = ()


def probe_image(
    path: str,
    largest_megapixels: float,
    target: str | None = None,
    options: OutputOptions = DEFAULTS,
) -> ImageSize:
    """The size of an image file, from its header, and what its result will not keep.

    Args:
        path: the file.
        largest_megapixels: of the source.
        target: name of the result, which says its format; the source's if there is none.
        options: how it will be written.

    Raises:
        BadDataError: it is no image of a known kind, too large, or its result cannot be written
            in that format.
    """
    picture = open_picture(path, largest_megapixels)
    image, format_ = picture.image, format_of(target or path)
    metadata = read_metadata(path, picture)
    notes = losses(picture, metadata, format_)
    width, height = options.size_of(image.width, image.height, metadata.orientation in TURNED)
    growth = max(SCALE, options.network_scale) ** 2
    if width * height > growth * largest_megapixels * 1e6:
        raise BadDataError(
            f"{width}x{height} is more than {growth} times {largest_megapixels:g} megapixels "
            "(--outscale, --max-megapixels)"
        )
    name = f"{width}x{height} is too large for {format_.name} files"
    if max(width, height) > format_.largest_side:
        raise BadDataError(
            f"{name} (at most {format_.largest_side} a side); take --format png or tiff"
        )
    has_loss = options.quality_in(format_, picture.is_lossless) is not None
    is_held = format_.is_held is True or (format_.is_held == "lossless" and not has_loss)
    if is_held and width * height > LARGEST_HELD * 1e6:
        raise BadDataError(
            f"{name} here (at most {LARGEST_HELD} megapixels, as they are held in memory); "
            "take --format png or jpeg"
        )
    return ImageSize(image.width, image.height, notes)


def upscale_block(path: str, box: Box, upscaler: Upscaler) -> np.ndarray:
    """Upscale a box of an image file; grey as grey.

    Returns:
        scale box.height x scale box.width x bands, by the scale of the network, uint8 or uint16.

    Raises:
        BadDataError: its pixels cannot be decoded.
    """
    picture = open_picture(path)
    image, has_alpha = picture.image, picture.has_alpha
    margin = upscaler.margin + (REACH if has_alpha else 0)
    outer = box.grown(margin, image.width, image.height)
    try:
        pixels = image.crop(*outer).numpy()
    except pyvips.Error as error:
        raise BadDataError(reason(error)) from error
    pixels = pixels.reshape(outer.height, outer.width, -1)
    is_grey = image.bands < 3
    colours = np.repeat(pixels[:, :, :1], 3, axis=2) if is_grey else pixels[:, :, :3]
    inner = box.within(outer)
    if has_alpha:
        both = np.concatenate([colours, pixels[:, :, -1:]], axis=2)
        high = upscale_transparent(both[None], inner, upscaler)[0]
    else:
        high = upscaler.upscale(colours[None], inner)[0]
    if image.bands in (2, 4) and not has_alpha:
        # A channel of another kind, such as a selection: a grey picture by itself.
        other = upscaler.upscale(np.repeat(pixels[None, :, :, -1:], 3, axis=3), inner)[0]
        high = np.concatenate([high, other[:, :, 1:2]], axis=2)
    # Green has the largest part in luminance.
    return np.delete(high, (0, 2), axis=2) if is_grey else high


def write_image(
    path: Path, pixels: np.ndarray, source: str, options: OutputOptions = DEFAULTS
) -> None:
    """Write pixels in the format of the path's suffix, with the metadata of the source file.

    Args:
        path: the file.
        pixels: height x width x bands, uint8 or uint16.
        source: the image file that the pixels come from.
        options: how to write it.
    """
    image = pyvips.Image.new_from_array(pixels)
    _write(path, image, open_picture(source), source, options=options)


def write_block(path: Path, pixels: np.ndarray) -> None:
    """Write a block's pixels for `join_blocks`."""
    pixels.tofile(path)


def join_blocks(
    path: Path,
    blocks: Sequence[Path],
    boxes: Sequence[Box],
    source: str,
    options: OutputOptions = DEFAULTS,
) -> None:
    """Write an image that lies in blocks, row by row, without holding it in memory.

    Args:
        path: the file.
        blocks: files of `write_block`.
        boxes: the blocks' boxes, in input pixels, row by row.
        source: the image file that they come from.
        options: how to write it.
    """
    picture = open_picture(source)
    original = picture.image
    kind = np.uint16 if original.format == "ushort" else np.uint8
    scale = options.network_scale
    sizes = [(scale * box.width, scale * box.height) for box in boxes]
    images = [
        # Mapped, not read; by libvips's own means names would have to be text.
        pyvips.Image.new_from_memory(
            np.memmap(block, kind, "r"), width, height, original.bands, original.format
        )
        for block, (width, height) in zip(blocks, sizes, strict=True)
    ]
    across = sum(box.top == boxes[0].top for box in boxes)
    joined = pyvips.Image.arrayjoin(
        images, across=across, hspacing=sizes[0][0], vspacing=sizes[0][1]
    )
    whole = joined.crop(0, 0, scale * original.width, scale * original.height)
    _write(path, whole, picture, source, options=options)


def _write(
    path: Path, image: pyvips.Image, picture: Picture, source: str, options: OutputOptions
) -> None:
    metadata = read_metadata(source, picture)
    size = options.size_of(
        picture.image.width, picture.image.height, metadata.orientation in TURNED
    )
    quality = options.quality_in(format_of(path.name), picture.is_lossless)
    write_picture(path, image, picture, metadata, size=size, quality=quality)
