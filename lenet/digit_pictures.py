"""Pictures of digits as people draw and scan them, made like MNIST's.

MNIST's digits are light on dark, scaled with their proportions kept to fit 20 x 20 pixels, and lie
in 28 x 28 with their centre of mass in the middle (LeCun et al., 1998, section III-A). A network
that was trained on them can only read what looks like that.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from lenet.errors import BadDataError, MissingDataError
from lenet.idx import IMAGE_SIZE

DECODERS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
"""What a file may hold in spite of its name; Pillow has others that start programs."""
MAX_PIXELS = 64_000_000
BOX_SIZE = 20
"""Side of the box, in pixels, that a digit fits."""
WORKING_SIZE = 400
"""The longer side, in pixels, that larger pictures are reduced to before anything else."""
LEAST_CONTRAST = 12.0
"""In grey levels, between ink and ground; less is no digit but noise or dirt."""
INK = 0.35
"""Part of the darkest ink's contrast from which a pixel belongs to the digit."""
LEAST_STROKE = 0.05
"""Part of the largest stroke's area below which another one is a speck."""
MOST_INK = 0.6
"""Part of the picture; where more of it differs from its border, there is no telling the ground."""


@dataclass(frozen=True)
class DigitPictures:
    """Pictures of a folder."""

    names: list[str]
    """File names."""
    images: NDArray[np.uint8]
    """uint8, shape (count, 28, 28), as MNIST's; zeros for what cannot be read."""
    readable: NDArray[np.bool_]
    """bool, shape (count,), whether there is anything on it that stands out."""


def read_digit_pictures(folder: str) -> DigitPictures:
    """Read the PNG files of a local folder.

    Raises:
        MissingDataError: no folder, or no PNG in it.
        BadDataError: files that are no pictures, all of them named.
    """
    try:
        # What begins with a dot is hidden: macOS lays ._x.png beside x.png.
        paths = sorted(
            path
            for path in Path(folder).iterdir()
            if path.suffix.lower() == ".png" and not path.name.startswith(".")
        )
    except OSError as error:
        raise MissingDataError(f"{folder}: {error.strerror}") from error
    if not paths:
        raise MissingDataError(f"{folder}: no PNG files in it")
    found: list[NDArray[np.uint8] | None] = []
    bad: list[BadDataError | MissingDataError] = []
    for path in paths:
        try:
            found.append(like_mnist(_read_grey(path)))
        except (BadDataError, MissingDataError) as error:
            bad.append(error)
    if bad:
        raise type(bad[0])("; ".join(map(str, bad)))
    blank = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    return DigitPictures(
        [path.name for path in paths],
        np.stack([blank if image is None else image for image in found]),
        np.array([image is not None for image in found]),
    )


def like_mnist(grey: NDArray[np.float64]) -> NDArray[np.uint8] | None:
    """The digit in a picture, light on dark, in MNIST's size and place.

    Args:
        grey: height x width, 0 to 255, the digit darker or lighter than its ground.

    Returns:
        uint8, 28 x 28; None where nothing stands out.
    """
    ink = _ink(_reduced(grey))
    if ink is None:
        return None
    labels, count = ndimage.label(ink > INK, structure=np.ones((3, 3)))
    areas = ndimage.sum_labels(ink > INK, labels, range(1, count + 1))
    strokes = 1 + np.flatnonzero(areas >= LEAST_STROKE * areas.max())
    rows, columns = np.nonzero(np.isin(labels, strokes))
    # Soft edges belong to it: one pixel around what is certainly ink.
    top, left = max(0, rows.min() - 1), max(0, columns.min() - 1)
    specks = (labels > 0) & ~np.isin(labels, strokes)
    cut = np.where(specks, 0, ink)[top : rows.max() + 2, left : columns.max() + 2]
    return _centred(_fitted(cut))


def _ink(grey: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """How much of each pixel is ink, 0 to 1; None where nothing stands out."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    middle = float(np.median(border))
    dark_on_light = middle - grey.min() >= grey.max() - middle
    depth = 255 - grey if dark_on_light else grey
    depth = depth - _ground(depth)
    strongest = float(np.percentile(depth, 99.5) if depth.size > 2000 else depth.max())
    # What is left on the ground, such as the grain of paper, is no ink.
    grain = 3 * float(np.median(np.abs(depth)))
    if strongest < LEAST_CONTRAST or strongest < 2 * grain:
        return None
    ink = np.clip((depth - grain) / (strongest - grain), 0, 1)
    return None if (ink > INK).mean() > MOST_INK else ink


def _ground(depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the picture would be without the digit: the paper, which may be lit unevenly."""
    even = np.full(depth.shape, np.median(np.r_[depth[0], depth[-1], depth[:, 0], depth[:, -1]]))
    if min(depth.shape) < 2 * IMAGE_SIZE:
        # Too few pixels to tell shade from stroke.
        return even
    # Wider than any stroke: a minimum and a maximum of neighbours take away what is narrower.
    side = max(3, min(depth.shape) // 3)
    opened = ndimage.grey_opening(ndimage.gaussian_filter(depth, 1), size=side)
    return ndimage.gaussian_filter(opened, side / 4)


def _reduced(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    longest = max(grey.shape)
    if longest <= WORKING_SIZE:
        return grey
    factor = WORKING_SIZE / longest
    size = (max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor)))
    return np.asarray(Image.fromarray(grey.astype(np.float32)).resize(size, Image.Resampling.BOX))


def _fitted(ink: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scaled to the box, proportions kept, the strongest ink 1."""
    factor = BOX_SIZE / max(ink.shape)
    height, width = (max(1, round(side * factor)) for side in ink.shape)
    picture = Image.fromarray(ink.astype(np.float32))
    # A box and a triangle, unlike Lanczos, draw no rings around strokes.
    kernel = Image.Resampling.BOX if factor < 0.5 else Image.Resampling.BILINEAR
    fitted = np.asarray(picture.resize((width, height), kernel), dtype=np.float64)
    return np.clip(fitted / fitted.max(), 0, 1)


def _centred(ink: NDArray[np.float64]) -> NDArray[np.uint8]:
    rows, columns = ndimage.center_of_mass(ink)
    spare = [IMAGE_SIZE - side for side in ink.shape]
    # As it turns out with its own images: of pixel 14, not of the edge between 13 and 14.
    middle = IMAGE_SIZE / 2
    top = int(np.clip(round(middle - rows), 0, spare[0]))
    left = int(np.clip(round(middle - columns), 0, spare[1]))
    image = np.zeros((IMAGE_SIZE, IMAGE_SIZE))
    image[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return (255 * image).round().astype(np.uint8)


def _read_grey(path: Path) -> NDArray[np.float64]:
    """A picture's brightness, 0 to 255, transparent pixels laid on what gives contrast."""
    if path.exists() and not path.is_file():
        # A named pipe would be waited for without end.
        raise BadDataError(f"{path}: is no regular file")
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata, and of what is still smaller than the limit below.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=DECODERS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise BadDataError(
                        f"{path}: {picture.width}x{picture.height} pixels are too many for a digit"
                    )
                return _grey_of(ImageOps.exif_transpose(picture))
    except BadDataError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise BadDataError(f"{path}: not a picture: {error}") from error
    except Exception as error:
        # On broken data the decoders raise far more than OSError (ValueError, SyntaxError, ...).
        if isinstance(error, OSError) and error.strerror:
            raise MissingDataError(f"{path}: {error.strerror}") from error
        raise BadDataError(f"{path}: damaged picture: {error}") from error


def _grey_of(picture: Image.Image) -> NDArray[np.float64]:
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture, dtype=np.float64)
        # 16 bits, as far as they are used: some scanners fill only 10 or 12 of them.
        return 255 * values / max(1.0, values.max())
    with_alpha = picture.convert("RGBA") if picture.has_transparency_data else None
    if with_alpha is None:
        return np.asarray(picture.convert("L"), dtype=np.float64)
    grey = np.asarray(with_alpha.convert("RGB").convert("L"), dtype=np.float64)
    alpha = np.asarray(with_alpha.getchannel("A"), dtype=np.float64) / 255
    drawn = (grey * alpha).sum() / max(alpha.sum(), 1e-9)
    ground = 255.0 if drawn < 127.5 else 0.0
    return grey * alpha + ground * (1 - alpha)
