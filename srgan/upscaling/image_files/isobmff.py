"""The boxes of AVIF and HEIC files, as far as libvips and Pillow do not tell what is in them."""

from __future__ import annotations

from typing import IO

from srgan.upscaling.image_files.formats import AVIF, HEIC, Format

SEQUENCES = frozenset({b"avis", b"msf1", b"hevc", b"hevx"})
IMAGES = {
    **dict.fromkeys((b"avif", b"avis"), AVIF),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), HEIC),
}
COLOURS = b"colrnclx"
LARGEST_HEAD = 1 << 20
"""Bytes in which the description of an image lies."""


def kind_of(file: IO[bytes]) -> Format | None:
    """AVIF or HEIC, by the brands that a file begins with."""
    brands = _brands(file)
    # A main brand such as mif1 leaves open how the image is coded.
    return next((IMAGES[brand] for brand in brands if brand in IMAGES), None)


def is_sequence(file: IO[bytes]) -> bool:
    """Whether it is a file of several frames, by its main brand."""
    return _brands(file)[0] in SEQUENCES


def nclx_of(file: IO[bytes]) -> tuple[int, int, int] | None:
    """Numbers of primaries, transfer and matrix (ITU-T H.273), if they are said."""
    place = _place_of_colours(file)
    if place is None:
        return None
    file.seek(place)
    data = file.read(6)
    if len(data) < 6:
        return None
    primaries, transfer, matrix = (int.from_bytes(data[i : i + 2], "big") for i in (0, 2, 4))
    return primaries, transfer, matrix


def set_colours(file: IO[bytes], primaries: int, transfer: int) -> bool:
    """Say other primaries and transfer in a file that says some; whether it does."""
    place = _place_of_colours(file)
    if place is None:
        return False
    file.seek(place)
    file.write(primaries.to_bytes(2, "big") + transfer.to_bytes(2, "big"))
    return True


def _place_of_colours(file: IO[bytes]) -> int | None:
    file.seek(0)
    place = file.read(LARGEST_HEAD).find(COLOURS)
    return None if place < 0 else place + len(COLOURS)


def _brands(file: IO[bytes]) -> list[bytes]:
    """The main brand, then the compatible ones; nothing where there are none."""
    file.seek(0)
    head = file.read(8)
    length = int.from_bytes(head[:4], "big")
    if head[4:] != b"ftyp" or not 16 <= length <= 4096:
        return [b""]
    data = file.read(length - 8)
    return [data[:4], *(data[i : i + 4] for i in range(8, len(data), 4))]
