"""Image files, written: pixels and metadata, in the format that a name stands for."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyvips
from PIL import Image

from srgan.upscaling.image_files import exif as exif_data
from srgan.upscaling.image_files import formats, isobmff, jpeg, png, tiff, webp
from srgan.upscaling.image_files.bmp import write_bmp
from srgan.upscaling.image_files.exif import PREFIX, Resolution
from srgan.upscaling.image_files.formats import Format, format_of
from srgan.upscaling.image_files.metadata import DISPLAY_P3, PHOTOSHOP_FIELDS, Metadata
from srgan.upscaling.image_files.plugins import write_heic, write_jxl
from srgan.upscaling.image_files.read import Picture

WHITE = {"uchar": 255, "ushort": 65535}
UNKNOWN = Resolution(72 / 25.4, 72 / 25.4)
"""What EXIF data say where the resolution is not known; libvips insists on one."""
BIG = 3_000_000_000
"""Bytes of pixels from which on a TIFF file has to be a BigTIFF one."""
AVIF_EFFORT = 1
"""Of 0 to 9: more takes many times as long for files that are a tenth smaller."""


@dataclass(frozen=True)
class Result:
    """What a writer is given."""

    image: Any
    """As libvips has it, in the form that the format needs."""
    source: Picture
    """What it was made from."""
    metadata: Metadata
    """The source's."""
    exif: bytes | None
    """For the result."""
    quality: int | None
    """1 to 100; None for no loss."""


def write_picture(
    path: Path,
    image: Any,
    source: Picture,
    metadata: Metadata,
    size: tuple[int, int],
    quality: int | None,
) -> None:
    """Write a result.

    Args:
        path: the file; its suffix says the format.
        image: of libvips; the result's pixels, in the channels of its source.
        source: what it was made from.
        metadata: of the source.
        size: width and height in pixels, to which it is resized if it has others.
        quality: 1 to 100; None for no loss.
    """
    target = format_of(path.name)
    image = image.copy(interpretation=source.image.interpretation)
    image = _resized(image, size, source.has_alpha)
    image = _with_fields(image, source, metadata)
    image = _as_the_format_has_it(image, source, metadata, target)
    exif = metadata.exif
    if exif is not None:
        exif = exif_data.changed(exif, image.width, image.height, upright=not target.is_turned)
    result = Result(image=image, source=source, metadata=metadata, exif=exif, quality=quality)
    if target in (formats.HEIC, formats.JXL):
        _write_by_plugin(path, result)
    elif target == formats.BMP:
        write_bmp(path, image, metadata.resolution)
    else:
        with open(path, "w+b") as file:
            WRITERS[target](file, result)


def _resized(image: Any, size: tuple[int, int], has_alpha: bool) -> Any:
    """By Lanczos, premultiplied; row by row, so without seams and without holding it."""
    if (image.width, image.height) == size:
        return image
    kind, space = image.format, image.interpretation
    if has_alpha:
        image = image.premultiply()
    across, down = size[0] / image.width, size[1] / image.height
    # Without a gap nothing is averaged in whole pixels before.
    image = image.resize(across, vscale=down, kernel="lanczos3", gap=0)
    if has_alpha:
        image = image.unpremultiply().rint().cast(kind)
    return image.copy(interpretation=space)


def _with_fields(image: Any, source: Picture, metadata: Metadata) -> Any:
    image = image.copy()
    for name in ("icc-profile-data", "xmp-data", *PHOTOSHOP_FIELDS):
        if source.image.get_typeof(name):
            image.set_type(source.image.get_typeof(name), name, source.image.get(name))
    image.set_type(pyvips.GValue.gint_type, "orientation", metadata.orientation)
    return image


def _as_the_format_has_it(image: Any, source: Picture, metadata: Metadata, target: Format) -> Any:
    if source.has_alpha and not target.has_alpha:
        white = WHITE[image.format]
        image = image.flatten(background=[white] * (image.bands - 1), max_alpha=white)
    if source.cicp == DISPLAY_P3 and target not in (formats.PNG, formats.AVIF, formats.HEIC):
        profile = pyvips.Operation.call("profile_load", "p3")
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    if image.get_typeof("icc-profile-data") and not target.has_profile:
        if image.bands >= 3:
            image = image.icc_transform("srgb", embedded=True).copy()
        image.remove("icc-profile-data")
    if target.bits == 8 and image.format == "ushort":
        image = (image >> 8).cast("uchar").copy(interpretation="srgb" if image.bands > 2 else "b-w")
    if not target.is_turned and metadata.orientation != 1:
        image = image.autorot()
    return image


def _write_png(file: IO[bytes], result: Result) -> None:
    has_profile = bool(result.image.get_typeof("icc-profile-data"))
    kept = png.TEXT | png.COLOURS - ({b"sRGB"} if has_profile else set())
    chunks = [one for one in result.metadata.chunks if one.kind in kept]
    if result.source.kind != formats.PNG and result.image.get_typeof("xmp-data"):
        chunks.append(png.xmp_chunk(bytes(result.image.get("xmp-data"))))
    if result.source.cicp is not None and result.source.kind != formats.PNG:
        chunks.append(png.Chunk(b"cICP", bytes((*result.source.cicp, 0, 1))))
    if result.exif is not None:
        chunks.append(png.Chunk(b"eXIf", result.exif))
    if result.metadata.resolution is not None:
        chunks.append(png.resolution_chunk(result.metadata.resolution))
    write = png.ChunkWriter(file, chunks).write
    # As fast as without filters at libvips's level of 6, and a third smaller.
    _save(result.image.pngsave_target, file, write, filter="all", compression=3, keep="icc")


def _write_jpeg(file: IO[bytes], result: Result) -> None:
    segments = [jpeg.jfif_header(result.metadata.resolution)]
    if result.exif is not None:
        segments.append(jpeg.Segment(jpeg.APP1, PREFIX + result.exif))
    # A JPEG file's XMP and IPTC data go over as they are.
    keep = "icc" if result.source.kind == formats.JPEG else "icc|xmp|iptc"
    segments += result.metadata.segments
    fitting = [one for one in segments if len(one.data) <= jpeg.LARGEST]
    write = jpeg.SegmentWriter(file, fitting).write
    how = {"Q": result.quality, "subsample_mode": "off", "keep": keep}
    _save(result.image.jpegsave_target, file, write, **how)


def _write_tiff(file: IO[bytes], result: Result) -> None:
    image = result.image
    size = image.width * image.height * image.bands * (2 if image.format == "ushort" else 1)
    _save(
        image.tiffsave_target,
        file,
        file.write,
        compression="deflate",
        predictor="horizontal",
        bigtiff=size > BIG,
        keep="icc|xmp|iptc|other",
    )
    extra_is_alpha = result.source.has_alpha or image.bands in (1, 3)
    tiff.rewrite_tags(file, result.exif, result.metadata.resolution, extra_is_alpha)


def _write_webp(file: IO[bytes], result: Result) -> None:
    image = result.image
    how = {"lossless": True} if result.quality is None else {"Q": result.quality}
    if result.exif is None:
        _save(image.webpsave_target, file, file.write, keep="icc|xmp", **how)
        return
    writer = webp.ExifWriter(
        file=file,
        exif=result.exif,
        width=image.width,
        height=image.height,
        has_alpha=image.bands in (2, 4),
    )
    _save(image.webpsave_target, file, writer.write, keep="icc|xmp", **how)
    writer.finish()


def _write_gif(file: IO[bytes], result: Result) -> None:
    _save(result.image.gifsave_target, file, file.write, keep="none")


def _write_avif(file: IO[bytes], result: Result) -> None:
    image, quality, keep = result.image, result.quality, "icc|xmp"
    if result.exif is not None:
        for name, (type_, value) in _exif_fields(result.exif).items():
            image.set_type(type_, name, value)
        across, down = result.metadata.resolution or UNKNOWN
        image = image.copy(xres=across, yres=down)
        keep += "|exif"
    bits = 8 if image.format == "uchar" else 10 if result.source.bits <= 10 else 12
    how = {"lossless": True} if quality is None else {"Q": quality, "subsample_mode": "off"}
    _save(
        image.heifsave_target,
        file,
        file.write,
        compression="av1",
        effort=AVIF_EFFORT,
        bitdepth=bits,
        keep=keep,
        **how,
    )
    if result.source.cicp is not None:
        isobmff.set_colours(file, *result.source.cicp)


def _exif_fields(exif: bytes) -> dict[str, tuple[int, Any]]:
    """EXIF data as fields of an image: of what is not there libvips keeps nothing."""
    smallest = io.BytesIO()
    Image.new("L", (1, 1)).save(smallest, "JPEG", exif=PREFIX + exif)
    image = pyvips.Image.jpegload_buffer(smallest.getvalue())
    names = [name for name in image.get_fields() if name.startswith("exif-")]
    return {name: (image.get_typeof(name), image.get(name)) for name in names}


WRITERS: dict[Format, Callable[[IO[bytes], Result], None]] = {
    formats.PNG: _write_png,
    formats.JPEG: _write_jpeg,
    formats.TIFF: _write_tiff,
    formats.WEBP: _write_webp,
    formats.GIF: _write_gif,
    formats.AVIF: _write_avif,
}


def _write_by_plugin(path: Path, result: Result) -> None:
    image, quality, exif = result.image, result.quality, result.exif
    pixels = image.numpy().reshape(image.height, image.width, image.bands)
    xmp = bytes(image.get("xmp-data")) if image.get_typeof("xmp-data") else None
    if format_of(path.name) == formats.JXL:
        write_jxl(path, pixels, quality, exif=exif, xmp=xmp)
        return
    has_profile = bool(image.get_typeof("icc-profile-data"))
    icc = bytes(image.get("icc-profile-data")) if has_profile else None
    write_heic(path, pixels, quality, exif=exif, icc=icc, xmp=xmp, cicp=result.source.cicp)


def _save(
    save: Callable[..., None], file: IO[bytes], write: Callable[[bytes], Any], **how: Any
) -> None:
    """Let libvips write; names need not be text, as files are opened here.

    Raises:
        OSError: the file cannot be written.
    """
    problems: list[OSError] = []

    def on_write(data: Any) -> int:
        try:
            write(bytes(data))
        except OSError as error:
            # An exception would be lost in libvips.
            problems.append(error)
            return -1
        return len(data)

    target = pyvips.TargetCustom()
    target.on_write(on_write)
    target.on_read(file.read)
    target.on_seek(file.seek)
    target.on_end(lambda: 0)
    try:
        save(target, **how)
    except pyvips.Error:
        if problems:
            raise problems[0] from None
        raise
