"""Image files, opened: by libvips without holding them in memory, and some by Pillow, held.

Names need not be text: files are opened here, libvips gets the open file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
import pyvips
from PIL import Image

from srgan.errors import BadDataError
from srgan.upscaling.image_files import formats, png, tiff, webp
from srgan.upscaling.image_files.exif import Resolution, without_prefix
from srgan.upscaling.image_files.formats import Format
from srgan.upscaling.image_files.isobmff import is_sequence, kind_of, nclx_of
from srgan.upscaling.image_files.plugins import open_heic, open_jxl
from srgan.upscaling.image_files.tiff_colours import checked_tags, rgb_of_ycbcr

TYPES = frozenset({"uchar", "ushort"})
LIBVIPS_READS: dict[Format, Callable[..., Any]] = {
    formats.PNG: pyvips.Image.pngload_source,
    formats.JPEG: pyvips.Image.jpegload_source,
    formats.TIFF: pyvips.Image.tiffload_source,
    formats.WEBP: pyvips.Image.webpload_source,
    formats.GIF: pyvips.Image.gifload_source,
    formats.AVIF: pyvips.Image.heifload_source,
}


@dataclass(frozen=True)
class Picture:
    """An image file that is open; what it holds is read when it is asked for."""

    image: Any
    """8 or 16 bits per channel, grey or RGB, with or without a fourth channel; its fields hold ICC
    profile, XMP and IPTC data."""
    kind: Format
    """By its content, whatever its name."""
    bits: int
    """Significant bits per channel."""
    is_lossless: bool
    """Whether its pixels are stored without loss."""
    has_alpha: bool
    """Whether the last of two or four channels is transparency."""
    notes: tuple[str, ...] = ()
    """What is already lost, a line each."""
    exif: bytes | None = None
    """Where the reader gave it: a TIFF structure."""
    cicp: tuple[int, int] | None = None
    """Numbers of its primaries and transfer (ITU-T H.273), if it is no sRGB."""
    resolution: Resolution | None = None
    """A BMP file's."""


def open_picture(path: str, largest_megapixels: float = float("inf")) -> Picture:
    """Open an image file of any name.

    Raises:
        BadDataError: it is no image of a known kind, larger than that, animated, of several pages,
            or of a kind of pixels that is not supported.
    """
    with open(path, "rb") as file:
        kind = _kind(file)
        if kind is None:
            names = ", ".join(one.name for one in formats.FORMATS)
            raise BadDataError(f"its content is no image of a known kind ({names})")
        try:
            picture = _open(path, file, kind, largest_megapixels)
        except pyvips.Error as error:
            raise BadDataError(reason(error)) from error
    image = picture.image
    check_size(image.width, image.height, largest_megapixels)
    if image.format not in TYPES:
        raise BadDataError(
            f"{image.format} pixels are not supported, only whole numbers of 8 or 16 bits; "
            "convert it first"
        )
    if image.bands > 4:
        raise BadDataError(f"has {image.bands} channels, more than colours and transparency")
    return picture


def check_size(width: int, height: int, largest_megapixels: float) -> None:
    """Refuse an image that is too large, before its pixels are decoded."""
    if width * height > largest_megapixels * 1e6:
        raise BadDataError(
            f"{width}x{height} is more than {largest_megapixels:g} megapixels (--max-megapixels)"
        )


def reason(error: pyvips.Error) -> str:
    """Why libvips could not read it, in one line."""
    lines = [line.strip() for line in str(error.detail or error).splitlines() if line.strip()]
    return f"unreadable ({'; '.join(dict.fromkeys(lines))[:300]})"


def _kind(file: IO[bytes]) -> Format | None:
    """By the first bytes: libvips knows more formats than should be trusted."""
    head = file.read(16)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return formats.WEBP
    starts = {
        png.SIGNATURE: formats.PNG,
        b"\xff\xd8\xff": formats.JPEG,
        **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), formats.TIFF),
        b"BM": formats.BMP,
        **dict.fromkeys((b"GIF87a", b"GIF89a"), formats.GIF),
        **dict.fromkeys((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"), formats.JXL),
    }
    found = next((kind for start, kind in starts.items() if head.startswith(start)), None)
    return found or kind_of(file)


def _open(path: str, file: IO[bytes], kind: Format, largest_megapixels: float) -> Picture:
    if kind in (formats.AVIF, formats.HEIC) and is_sequence(file):
        raise BadDataError("is animated; convert it to a film (MP4, WebM) first")
    if kind == formats.BMP:
        return _open_bmp(file, largest_megapixels)
    if kind in (formats.HEIC, formats.JXL):
        return _open_by_plugin(file, kind, largest_megapixels)
    # A file of its own: libvips goes on reading where it was.
    with open(path, "rb") as own:
        source = pyvips.Source.new_from_descriptor(own.fileno())
    tags = checked_tags(file) if kind == formats.TIFF else {}
    try:
        image = LIBVIPS_READS[kind](source, access="sequential", fail_on="error")
    except pyvips.Error:
        if tags.get(tiff.COLOURS) == tiff.CIELAB:
            return _open_lab(file, largest_megapixels)
        raise
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    bits = image.get("bits-per-sample") if image.get_typeof("bits-per-sample") else 8
    picture = Picture(
        image, kind, bits, is_lossless=kind.loss == "never", has_alpha=image.bands in (2, 4)
    )
    if kind == formats.PNG:
        picture = _png(picture, file)
    elif kind == formats.TIFF:
        picture = _tiff(picture, tags)
    elif kind == formats.WEBP:
        picture = replace(picture, is_lossless=webp.is_lossless(file))
    elif kind == formats.AVIF:
        picture = _avif(picture, file)
    if pages > 1 and kind == formats.TIFF:
        raise BadDataError(f"holds {pages} pages; save each as a file of its own first")
    if pages > 1 and kind != formats.AVIF:
        raise BadDataError(f"is animated ({pages} frames); convert it to a film (MP4, WebM) first")
    return _in_rgb(picture)


def _png(picture: Picture, file: IO[bytes]) -> Picture:
    for chunk in png.read_chunks(file, {b"acTL", b"cICP"}):
        if chunk.kind == b"acTL" and chunk.data[:4] not in (b"\0\0\0\0", b"\0\0\0\1"):
            frames = int.from_bytes(chunk.data[:4], "big")
            raise BadDataError(
                f"is animated ({frames} frames); convert it to a film (MP4, WebM) first"
            )
        if chunk.kind == b"cICP" and len(chunk.data) == 4:
            picture = replace(picture, cicp=_unusual(chunk.data[0], chunk.data[1]))
    return picture


def _tiff(picture: Picture, tags: Any) -> Picture:
    compression = tags.get(tiff.COMPRESSION, 1)
    is_jpeg = compression in tiff.JPEG_COMPRESSIONS
    extra = tags.get(tiff.EXTRA_SAMPLES)
    image = picture.image
    if tags.get(tiff.COLOURS) == tiff.YCBCR and not is_jpeg:
        # What libvips reads by libtiff is RGB, with a fourth channel that is not in the file.
        image = image[:3] if image.bands > 3 else rgb_of_ycbcr(image, tags)
    return replace(
        picture,
        image=image,
        is_lossless=not is_jpeg,
        has_alpha=image.bands in (2, 4) and extra not in (0, (0,)),
    )


def _avif(picture: Picture, file: IO[bytes]) -> Picture:
    nclx = nclx_of(file)
    has_profile = bool(picture.image.get_typeof("icc-profile-data"))
    return replace(
        picture,
        # Only files without loss keep red, green and blue as they are.
        is_lossless=nclx is not None and nclx[2] == 0,
        cicp=None if nclx is None or has_profile else _unusual(nclx[0], nclx[1]),
        exif=without_prefix(_field(picture.image, "exif-data")),
        notes=_further(picture.image.get("n-pages")),
    )


def _further(images: int) -> tuple[str, ...]:
    return (f"of its {images} images the main one alone is upscaled",) if images > 1 else ()


def _unusual(primaries: int, transfer: int) -> tuple[int, int] | None:
    """None for those of sRGB and ordinary video, which show as sRGB, and for unknown ones."""
    usual = primaries in (1, 2) and transfer in (1, 2, 6, 13)
    return None if usual else (primaries, transfer)


def _field(image: Any, name: str) -> bytes | None:
    return bytes(image.get(name)) if image.get_typeof(name) else None


def _in_rgb(picture: Picture) -> Picture:
    """CMYK and LAB as sRGB."""
    image, notes = picture.image, picture.notes
    name = {"cmyk": "CMYK", "lab": "LAB", "labs": "LAB", "labq": "LAB"}.get(image.interpretation)
    if name is None:
        return picture
    deep = image.format != "uchar" and name == "LAB"
    image = image.colourspace("rgb16" if deep else "srgb").copy()
    image.remove("icc-profile-data")
    has_alpha = picture.has_alpha if name == "LAB" else image.bands == 4
    return replace(
        picture,
        image=image,
        bits=16 if image.format == "ushort" else 8,
        has_alpha=has_alpha,
        notes=(*notes, f"{name} colours become sRGB"),
    )


def _open_lab(file: IO[bytes], largest_megapixels: float) -> Picture:
    """LAB of 8 bits, which libvips does not read."""
    pixels = _by_pillow(file, "TIFF", largest_megapixels, lambda image: image.convert("RGB"))
    notes = ("LAB colours become sRGB",)
    return Picture(_image_of(pixels), formats.TIFF, 8, True, has_alpha=False, notes=notes)


def _open_bmp(file: IO[bytes], largest_megapixels: float) -> Picture:
    dots: list[float] = []

    def converted(image: Image.Image) -> Image.Image:
        dots.extend(image.info.get("dpi", ()))
        if image.mode in ("1", "L"):
            return image.convert("L")
        return image.convert("RGBA" if image.mode == "RGBA" else "RGB")

    pixels = _by_pillow(file, "BMP", largest_megapixels, converted)
    found = Resolution(dots[0] / 25.4, dots[1] / 25.4) if all(dots) and dots else None
    has_alpha = pixels.shape[2] == 4
    return Picture(
        _image_of(pixels), formats.BMP, 8, is_lossless=True, has_alpha=has_alpha, resolution=found
    )


def _by_pillow(
    file: IO[bytes],
    kind: str,
    largest_megapixels: float,
    converted: Callable[[Image.Image], Image.Image],
) -> np.ndarray:
    """Height x width x bands."""
    file.seek(0)
    try:
        with Image.open(file, formats=[kind]) as image:
            check_size(image.width, image.height, largest_megapixels)
            pixels = np.asarray(converted(image))
    except BadDataError:
        raise
    except Exception as error:
        # On broken data the decoders raise far more than OSError.
        raise BadDataError(f"unreadable ({type(error).__name__}: {error})") from error
    return pixels.reshape(*pixels.shape[:2], -1)


def _open_by_plugin(file: IO[bytes], kind: Format, largest_megapixels: float) -> Picture:
    def check(width: int, height: int) -> None:
        check_size(width, height, largest_megapixels)

    found = (open_heic if kind == formats.HEIC else open_jxl)(file, check)
    image = _image_of(found.pixels)
    for name, data in {"icc-profile-data": found.icc, "xmp-data": found.xmp}.items():
        if data:
            image.set_type(pyvips.GValue.blob_type, name, data)
    cicp = None if found.icc or found.cicp is None else _unusual(*found.cicp)
    has_alpha = image.bands in (2, 4)
    picture = Picture(image, kind, found.bits, found.is_lossless, has_alpha=has_alpha)
    return replace(picture, notes=found.notes, exif=found.exif, cicp=cicp)


def _image_of(pixels: np.ndarray) -> Any:
    grey, deep = pixels.shape[2] < 3, pixels.dtype == np.uint16
    names = ("grey16" if deep else "b-w") if grey else ("rgb16" if deep else "srgb")
    return pyvips.Image.new_from_array(np.ascontiguousarray(pixels), interpretation=names)
