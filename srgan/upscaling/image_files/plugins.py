"""HEIC by pillow-heif and JPEG XL by pillow-jxl-plugin: what libvips's wheel is built without."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from srgan.errors import BadDataError
from srgan.upscaling.image_files.exif import PREFIX, without_prefix
from srgan.upscaling.image_files.jxl import has_box, size_of

PLUGINS = {
    "pillow_heif": ("HEIC", "pillow-heif==1.8.1"),
    "pillow_jxl": ("JPEG XL", "pillow-jxl-plugin==1.3.8"),
}
GRID = 512
"""Side of the tiles into which large HEIC images are cut, as telephones do."""
LARGEST_WHOLE = 4096
CODED_FAST = {"preset": "ultrafast"}
"""Of x265, which takes a hundred times as long by itself for files that are a third smaller."""


@dataclass(frozen=True)
class Found:
    """What a file holds."""

    pixels: np.ndarray
    """Height x width x bands, uint8 or uint16, as the picture is to be shown."""
    bits: int
    """Significant bits per channel."""
    is_lossless: bool
    """Whether pixels are stored without loss, as far as is known."""
    notes: tuple[str, ...] = ()
    """What is not read, a line each."""
    exif: bytes | None = None
    """A TIFF structure."""
    icc: bytes | None = None
    xmp: bytes | None = None
    cicp: tuple[int, int] | None = None
    """Numbers of primaries and transfer (ITU-T H.273)."""


def open_heic(file: IO[bytes], check: Callable[[int, int], None]) -> Found:
    """Read a HEIC file.

    Args:
        file: open for reading.
        check: called with width and height before anything is decoded.

    Raises:
        BadDataError: pillow-heif is not installed, or the file is damaged.
    """
    heif = plugin("pillow_heif")
    file.seek(0)
    try:
        images = heif.open_heif(file, convert_hdr_to_8bit=False)
        image = images[images.primary_index]
        check(*image.size)
        pixels = np.asarray(image)
    except BadDataError:
        raise
    except Exception as error:
        raise BadDataError(f"unreadable ({error})") from error
    info = image.info
    notes = []
    if len(images) > 1:
        notes.append(f"of its {len(images)} images the main one alone is upscaled")
    if info.get("aux") or info.get("depth_images"):
        notes.append("further layers (HDR gain map, depth) are not kept")
    nclx = info.get("nclx_profile") or {}
    cicp = (nclx["color_primaries"], nclx["transfer_characteristics"]) if nclx else None
    return Found(
        pixels=pixels.reshape(*pixels.shape[:2], -1),
        bits=info.get("bit_depth", 8),
        is_lossless=nclx.get("matrix_coefficients") == 0,
        notes=tuple(notes),
        exif=without_prefix(info.get("exif")),
        icc=info.get("icc_profile"),
        xmp=info.get("xmp"),
        cicp=cicp,
    )


def write_heic(
    path: Path,
    pixels: np.ndarray,
    quality: int | None,
    exif: bytes | None,
    icc: bytes | None,
    xmp: bytes | None,
    cicp: tuple[int, int] | None,
) -> None:
    """Write a HEIC file.

    Args:
        path: the file.
        pixels: height x width x 1, 3 or 4, uint8 or uint16.
        quality: 1 to 100; None for no loss.
        exif: a TIFF structure.
        icc: the profile.
        xmp: the XMP data.
        cicp: numbers of primaries and transfer.
    """
    heif = plugin("pillow_heif")
    height, width, bands = pixels.shape
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[bands]
    if pixels.dtype == np.uint16:
        mode = "I;16" if bands == 1 else f"{mode};16"
    data = np.ascontiguousarray(pixels)
    image = heif.from_bytes(mode=mode, size=(width, height), data=data.tobytes())
    options: dict[str, Any] = {"quality": quality, "enc_params": CODED_FAST}
    if quality is None:
        options |= {"quality": -1, "chroma": 444, "matrix_coefficients": 0}
    if cicp is not None:
        options |= {"color_primaries": cicp[0], "transfer_characteristics": cicp[1]}
    if max(width, height) > LARGEST_WHOLE and bands in (1, 3):
        options["tile_size"] = GRID
    if icc:
        image.info.update(icc_profile=icc, icc_profile_type="prof")
    with open(path, "wb") as file:
        image.save(file, exif=PREFIX + exif if exif else None, xmp=xmp, **options)


def open_jxl(file: IO[bytes], check: Callable[[int, int], None]) -> Found:
    """Read a JPEG XL file, 8 bits per channel.

    Args:
        file: open for reading.
        check: called with width and height before anything is decoded.

    Raises:
        BadDataError: pillow-jxl-plugin is not installed, the file is damaged, or has deeper pixels.
    """
    plugin("pillow_jxl")
    size = size_of(file)
    if size is None:
        raise BadDataError("unreadable (damaged at its beginning)")
    check(*size)
    file.seek(0)
    try:
        with warnings.catch_warnings(), Image.open(file, formats=["JXL"]) as image:
            warnings.simplefilter("ignore")
            image.load()
    except Exception as error:
        raise BadDataError(f"unreadable ({error})") from error
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise BadDataError(f"{image.mode} pixels of JPEG XL are not supported, only 8 bits")
    pixels = np.asarray(image)
    icc = image.info.get("icc_profile")
    return Found(
        pixels.reshape(*pixels.shape[:2], -1),
        8,
        # Whether it has any loss cannot be told; then none is what costs nothing but size.
        is_lossless=True,
        notes=("XMP data are not kept",) if has_box(file, b"xml ") else (),
        exif=without_prefix(image.info.get("exif")),
        icc=None if icc is None or _is_made_for_srgb(icc) else icc,
    )


def _is_made_for_srgb(icc: bytes) -> bool:
    """Whether libjxl itself has made a profile, for ordinary colours."""
    is_srgb = icc[16:20] == b"GRAY" or "sRGB".encode("utf-16-be") in icc
    return icc[4:8] == b"jxl " and is_srgb


def write_jxl(
    path: Path, pixels: np.ndarray, quality: int | None, exif: bytes | None, xmp: bytes | None
) -> None:
    """Write a JPEG XL file of sRGB colours.

    Args:
        path: the file.
        pixels: height x width x bands, uint8.
        quality: 1 to 100; None for no loss.
        exif: a TIFF structure.
        xmp: the XMP data.
    """
    plugin("pillow_jxl")
    options: dict[str, Any] = {"lossless": True} if quality is None else {"quality": quality}
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    with open(path, "wb") as file:
        image.save(file, "JXL", effort=3, exif=exif, xmp=xmp, **options)


def plugin(name: str) -> Any:
    """The plug-in of that name.

    Raises:
        BadDataError: it is not installed.
    """
    try:
        return __import__(name)
    except ImportError as error:
        kind, package = PLUGINS[name]
        raise BadDataError(
            f"{kind} needs a package that is not installed; pip install {package}, or convert it "
            "to PNG first"
        ) from error
