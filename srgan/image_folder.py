"""A folder of image files as uint8 arrays."""

import io
import warnings
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from srgan.errors import BadDataError, MissingDataError
from srgan.listing import list_folder, printable
from srgan.storage import read_bytes

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
DECODERS = ["BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"]
LARGEST_PIXELS = 64_000_000
SKIP_BAD = "remove them or give --skip-bad"
"""Advice about unusable images, of jobs that have this option."""


class NamedImage(NamedTuple):
    """An image and the name of its file."""

    name: str
    """As text, even where the bytes of the name are none."""
    pixels: np.ndarray
    """uint8, height x width x 3, RGB."""


class Images(NamedTuple):
    """The usable images of a folder and what was left out."""

    usable: list[NamedImage]
    skipped: list[str]
    """One line for each unusable file: its name and the reason."""


def read_images(
    folder: str,
    smallest_side: int = 1,
    largest_pixels: int = LARGEST_PIXELS,
    skip_bad: bool = False,
    advice: str = "remove them",
) -> Images:
    """Read all images directly inside a folder, in natural order (im_2 before im_10).

    Grey, palette and transparent images come out as RGB; transparency is dropped.

    Args:
        folder: local path or fsspec URL.
        smallest_side: least width and height, in pixels.
        largest_pixels: most pixels of an image; a larger one is not even decoded.
        skip_bad: leave unusable images out, and list them, instead of raising.
        advice: what the error says is to be done about unusable images.

    Raises:
        MissingDataError: the folder cannot be read, or there is no usable image.
        BadDataError: some images are unusable; all of them are named.
    """
    listing = list_folder(folder)
    files = [file for file in listing.files if _is_image(file.name)]
    unusable = [one for one in listing.unusable if _is_image(one.name)]
    usable: list[NamedImage] = []
    skipped = [f"{printable(one.name)}: {one.reason}" for one in unusable]
    for file in files:
        name = printable(file.name)
        try:
            if file.size > 8 * largest_pixels:
                raise BadDataError(f"{file.size} bytes is too large")
            data = read_bytes(file.path)
            usable.append(NamedImage(name, decode_image(data, smallest_side, largest_pixels)))
        except (BadDataError, MissingDataError) as error:
            skipped.append(f"{name}: {error}")
    if skipped and not skip_bad:
        raise BadDataError(
            f"{printable(folder)}: {len(skipped)} unusable of {len(files) + len(unusable)} images "
            f"({'; '.join(skipped)}); {advice}"
        )
    if not usable:
        reason = f" ({'; '.join(skipped)})" if skipped else ""
        raise MissingDataError(f"{printable(folder)}: no usable image in this folder{reason}")
    return Images(usable, skipped)


def decode_image(
    data: bytes, smallest_side: int = 1, largest_pixels: int = LARGEST_PIXELS
) -> np.ndarray:
    """Decode an image file to uint8, height x width x 3, RGB, turned as its EXIF data says.

    Raises:
        BadDataError: unreadable, too small or too large.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images; the limit below is stricter.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=DECODERS)
        width, height = image.size
        if width * height > largest_pixels:
            raise BadDataError(f"{width}x{height} is more than {largest_pixels} pixels")
        if min(width, height) < smallest_side:
            raise BadDataError(f"{width}x{height} is smaller than {smallest_side} pixels")
        return _to_rgb(ImageOps.exif_transpose(image))
    except BadDataError:
        raise
    except UnidentifiedImageError as error:
        raise BadDataError(f"no {', '.join(DECODERS)} image") from error
    except Exception as error:
        # On broken data the decoders raise far more than OSError (struct.error, SyntaxError, ...).
        raise BadDataError(f"unreadable ({type(error).__name__}: {error})") from error


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode in ("I", "F"):
        raise BadDataError("32 bits per channel are not supported")
    if image.mode.startswith("I;16"):
        # Pillow would clip 16-bit grey at 255 instead of scaling it.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES
