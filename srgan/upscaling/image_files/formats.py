"""Image formats: by which suffixes they go, and what their files can hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

LARGEST_HELD = 50
"""Megapixels of a result whose writer holds it all, with up to 30 bytes per pixel."""


@dataclass(frozen=True)
class Format:
    """An image format."""

    name: str
    """Such as "PNG"."""
    suffixes: tuple[str, ...]
    """Of file names, in small letters; the first is given to new names."""
    largest_side: int
    """Of an image, in pixels."""
    bits: int = 8
    """Bits per channel, at most."""
    has_alpha: bool = True
    """Whether pixels can be transparent."""
    has_exif: bool = True
    """Whether files have a place for EXIF and XMP data."""
    is_turned: bool = False
    """Whether readers turn pictures as EXIF says; elsewhere pixels lie as shown."""
    has_profile: bool = True
    """Whether files have a place for an ICC profile."""
    is_held: bool | str = False
    """Whether its writer holds a whole image; "lossless" if only one without loss."""
    loss: str = "never"
    """Whether pixels lose something: "never", "always", or "chosen" by who writes."""


PNG = Format("PNG", (".png",), 1_000_000, bits=16, is_turned=True)
JPEG = Format("JPEG", (".jpg", ".jpeg"), 65_500, has_alpha=False, is_turned=True, loss="always")
TIFF = Format("TIFF", (".tif", ".tiff"), 1_000_000, bits=16, is_turned=True)
WEBP = Format("WebP", (".webp",), 16_383, is_held="lossless", is_turned=True, loss="chosen")
BMP = Format("BMP", (".bmp",), 30_000, has_exif=False, has_profile=False)
GIF = Format("GIF", (".gif",), 65_535, has_exif=False, has_profile=False, is_held=True)
AVIF = Format("AVIF", (".avif",), 16_384, bits=12, is_held=True, loss="chosen")
HEIC = Format("HEIC", (".heic", ".heif"), 16_384, bits=10, is_held=True, loss="chosen")
JXL = Format("JPEG XL", (".jxl",), 65_535, has_profile=False, is_held=True, loss="chosen")

FORMATS = (PNG, JPEG, TIFF, WEBP, BMP, GIF, AVIF, HEIC, JXL)
BY_SUFFIX = {suffix: one for one in FORMATS for suffix in one.suffixes}
SUFFIXES = frozenset(BY_SUFFIX)


def suffix_of(name: str) -> str:
    """A name's suffix in small letters, with its dot."""
    return PurePosixPath(name).suffix.lower()


def format_of(name: str) -> Format:
    """The format that a name stands for; its suffix is one of SUFFIXES."""
    return BY_SUFFIX[suffix_of(name)]
