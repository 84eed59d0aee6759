"""What an image file says of its picture, beside the pixels, and what of it a result keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from srgan.errors import BadDataError
from srgan.upscaling.image_files import exif as exif_data
from srgan.upscaling.image_files import formats, jpeg, png, tiff
from srgan.upscaling.image_files.exif import Resolution, without_prefix
from srgan.upscaling.image_files.formats import Format
from srgan.upscaling.image_files.jpeg import Segment
from srgan.upscaling.image_files.png import Chunk
from srgan.upscaling.image_files.read import Picture

TURNED = range(5, 9)
"""Orientations that exchange width and height."""
DISPLAY_P3 = (12, 13)
PHOTOSHOP_FIELDS = ("iptc-data", "photoshop-data")
"""Of libvips."""


@dataclass(frozen=True)
class Metadata:
    """What a file says of its picture; ICC profile, XMP and IPTC data lie in the image's fields."""

    exif: bytes | None = None
    """A TIFF structure, as it is in the file."""
    orientation: int = 1
    """As EXIF has it, 1 to 8."""
    resolution: Resolution | None = None
    chunks: tuple[Chunk, ...] = ()
    """A PNG file's."""
    segments: tuple[Segment, ...] = ()
    """A JPEG file's: XMP and IPTC data, comments."""
    is_exif_damaged: bool = False
    """Whether there are EXIF data that cannot be read, and so are not here."""
    has_further_pictures: bool = False
    """Whether a JPEG file holds more than one picture."""


def read_metadata(path: str, picture: Picture) -> Metadata:
    """What the file of a picture says of it."""
    with open(path, "rb") as file:
        if picture.kind == formats.PNG:
            chunks = png.read_chunks(file)
            exif = next((one.data for one in chunks if one.kind == b"eXIf"), None)
            return _metadata(exif, png.resolution(chunks), chunks=tuple(chunks))
        if picture.kind == formats.JPEG:
            segments = jpeg.read_segments(file)
            exif = without_prefix(jpeg.exif_of(segments))
            found = jpeg.resolution(segments) or (exif and exif_data.resolution(exif))
            return _metadata(
                exif,
                found or None,
                segments=tuple(jpeg.described(segments)),
                has_further_pictures=jpeg.has_further_pictures(segments),
            )
        if picture.kind == formats.TIFF:
            tags = tiff.read_tags(file)
            try:
                exif = tiff.read_exif(file, tags)
            except Exception:
                # EXIF's own tags are damaged, which is no reason to do without the picture.
                return Metadata(resolution=tiff.resolution(tags), is_exif_damaged=True)
            return _metadata(exif, tiff.resolution(tags))
    if picture.kind == formats.BMP:
        return Metadata(resolution=picture.resolution)
    exif = picture.exif
    if exif is None and picture.kind == formats.WEBP and picture.image.get_typeof("exif-data"):
        exif = without_prefix(bytes(picture.image.get("exif-data")))
    if exif is not None and picture.kind != formats.WEBP:
        # Their readers turn the pixels themselves.
        exif = exif_data.changed(exif, picture.image.width, picture.image.height, upright=True)
    return _metadata(exif, exif_data.resolution(exif) if exif else None)


def _metadata(exif: bytes | None, resolution: Resolution | None, **more: Any) -> Metadata:
    if exif is not None and not exif_data.is_whole(exif):
        return Metadata(resolution=resolution, is_exif_damaged=True, **more)
    orientation = (exif_data.number(exif, exif_data.ORIENTATION) if exif else None) or 1
    if orientation not in range(1, 9):
        orientation = 1
    return Metadata(exif, orientation, resolution, **more)


def losses(picture: Picture, metadata: Metadata, target: Format) -> tuple[str, ...]:
    """What a result in a format does not keep, a line each.

    Raises:
        BadDataError: that would be the colours, or BMP of pixels that it cannot hold.
    """
    image, name = picture.image, target.name
    if target == formats.BMP and (picture.bits > 8 or image.bands == 2):
        what = "16 bits per channel" if picture.bits > 8 else "grey with transparency"
        raise BadDataError(f"has {what}, which BMP cannot hold; take --format png")
    notes = [*picture.notes, *_lost_colours(picture, target)]
    if picture.has_alpha and not target.has_alpha:
        notes.append(f"what is transparent is put on white: {name} has no transparency")
    elif picture.has_alpha and target == formats.GIF:
        notes.append("transparency is on or off: GIF has no shades of it")
    if target == formats.GIF:
        notes.append("256 colours at most, as GIF has no more")
    if picture.bits > target.bits:
        notes.append(f"{picture.bits} bits per channel become {target.bits}, as {name} has no more")
    if not target.has_exif:
        kept = {
            "EXIF data": metadata.exif,
            "XMP data": image.get_typeof("xmp-data"),
            "the resolution": metadata.resolution and target == formats.GIF,
        }
        notes += [f"{what}: {name} has no place for it" for what, there in kept.items() if there]
    if metadata.is_exif_damaged:
        notes.append("EXIF data are damaged, and not kept")
    notes += _lost_texts(picture, metadata, target)
    if metadata.has_further_pictures:
        notes.append("further pictures in the file (such as an HDR gain map) are not kept")
    return tuple(notes)


def _lost_colours(picture: Picture, target: Format) -> list[str]:
    notes = []
    has_profile = bool(picture.image.get_typeof("icc-profile-data"))
    if has_profile and not target.has_profile:
        what = "is not kept" if picture.image.bands < 3 else "is used up: colours become sRGB"
        notes.append(f"the ICC profile {what}, as {target.name} has no place for one")
    takes_cicp = target in (formats.PNG, formats.AVIF, formats.HEIC)
    if picture.cicp and not takes_cicp:
        if picture.cicp != DISPLAY_P3 or not target.has_profile:
            numbers = "/".join(map(str, picture.cicp))
            raise BadDataError(
                f"its colours (HDR or wide, CICP {numbers}) cannot be kept in {target.name}; "
                "take --format avif or png"
            )
        notes.append("its colours (CICP) are said by an ICC profile, Display P3")
    return notes


def _lost_texts(picture: Picture, metadata: Metadata, target: Format) -> list[str]:
    notes = []
    if target != formats.PNG:
        words = [
            png.keyword(one)
            for one in metadata.chunks
            if one.kind in png.TEXT and not png.is_xmp(one)
        ]
        if words:
            listed = ", ".join(dict.fromkeys(words))[:200]
            notes.append(f"texts ({listed}) are not kept: {target.name} has no place for them")
        if png.has_unusual_colours(metadata.chunks):
            notes.append(f"gamma and primaries are not kept: {target.name} has no place for them")
    if target == formats.JPEG and picture.kind != formats.JPEG:
        sizes = {"EXIF": len(metadata.exif or b""), "XMP": _length(picture.image, "xmp-data")}
        notes += [
            f"{what} data of {size} bytes are not kept: JPEG has place for 64 KB"
            for what, size in sizes.items()
            if size > jpeg.LARGEST - 32
        ]
    if target != formats.JPEG:
        if any(one.marker == jpeg.COMMENT for one in metadata.segments):
            notes.append(f"comments of JPEG are not kept: {target.name} has no place for them")
        has_iptc = any(picture.image.get_typeof(name) for name in PHOTOSHOP_FIELDS)
        if has_iptc and target != formats.TIFF:
            notes.append(f"IPTC data are not kept: {target.name} has no place for them")
    return notes


def _length(image: Any, name: str) -> int:
    return len(image.get(name)) if image.get_typeof(name) else 0
