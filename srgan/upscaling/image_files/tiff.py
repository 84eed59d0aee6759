"""Tags of TIFF files: what they say of a picture is read as EXIF data, and written from such."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from srgan.upscaling.image_files.exif import (
    FOLDERS,
    MM_PER_UNIT,
    ORIENTATION,
    PREFIX,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    Resolution,
)

COMPRESSION, COLOURS, EXTRA_SAMPLES = 259, 262, 338
LUMA_WEIGHTS, BLACK_AND_WHITE = 529, 532
YCBCR, CIELAB = 6, 8
JPEG_COMPRESSIONS = (6, 7)
TEXTS = frozenset({269, 270, 271, 272, 285, 305, 306, 315, 316, 33432})
"""Names of document and page, description, camera, program, time, artist, computer, copyright."""
ASCII, LONG = 2, 4
EMPTY = b"II*\0\x08\0\0\0"
"""What EXIF data begin with."""


def read_tags(file: IO[bytes]) -> Any:
    """The first directory of a TIFF file: values by tag.

    Raises:
        Exception: of any kind, where it is damaged.
    """
    tags = _directory(file)
    file.seek(tags.next)
    with warnings.catch_warnings():
        # Where it warns, the file is damaged, which libvips will say.
        warnings.simplefilter("ignore")
        tags.load(file)
        # It reads values when they are asked for.
        dict(tags)
    return tags


def read_exif(file: IO[bytes], tags: Any) -> bytes | None:
    """What a TIFF file's tags say of its picture, as EXIF data; None if they say nothing."""
    exif = ImageFileDirectory_v2(EMPTY)
    _describe(exif, tags)
    if tags.get(ORIENTATION, 1) != 1:
        exif[ORIENTATION] = tags[ORIENTATION]
    for folder in FOLDERS:
        if isinstance(tags.get(folder), int):
            inner = _directory(file, folder)
            file.seek(tags[folder])
            inner.load(file)
            _nest(exif, folder, dict(inner))
    return EMPTY + exif.tobytes(len(EMPTY)) if len(exif) else None


def resolution(tags: Any) -> Resolution | None:
    """The resolution of the picture, if there is one."""
    unit = MM_PER_UNIT.get(tags.get(RESOLUTION_UNIT, 2))
    x, y = (float(tags.get(tag) or 0) for tag in (X_RESOLUTION, Y_RESOLUTION))
    # It is not a number where the file says 0/0.
    return Resolution(x / unit, y / unit) if unit and x > 0 and y > 0 else None


def rewrite_tags(
    file: IO[bytes], exif: bytes | None, found: Resolution | None, extra_is_alpha: bool
) -> None:
    """Give a TIFF file that libvips has written the tags that its source had.

    Args:
        file: open for reading and writing.
        exif: as of `read_exif`.
        found: None for no resolution: libvips writes one whether there is one or not.
        extra_is_alpha: False says that the fourth channel is of another kind.
    """
    head, layout = _layout(file)
    new = ImageFileDirectory_v2(head)
    if found is not None:
        new[RESOLUTION_UNIT] = 2
        new[X_RESOLUTION], new[Y_RESOLUTION] = (round(side * 25.4, 4) for side in found)
    if not extra_is_alpha:
        new[EXTRA_SAMPLES] = 0
    if exif is not None:
        known = Image.Exif()
        known.load(PREFIX + exif)
        _describe(new, known)
        for folder in FOLDERS:
            if known.get_ifd(folder):
                _nest(new, folder, known.get_ifd(folder))
    entries = _entries(file, layout, layout.first(head))
    for tag in (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT):
        entries.pop(tag, None)
    if len(new):
        place = _end(file)
        file.write(new.tobytes(place))
        entries |= _entries(file, layout, place)
    place = _end(file)
    # The old directory stays in the file, where nothing refers to it any more.
    file.write(layout.encoded(entries))
    file.seek(layout.first_at)
    file.write(struct.pack(layout.offset, place))


class _Layout(NamedTuple):
    """How directories lie in a file: as in TIFF or in BigTIFF, small or large end first."""

    first_at: int
    """Where the place of the first directory is said."""
    counter: str
    offset: str
    size: int
    """Bytes of an entry."""
    order: str

    def first(self, head: bytes) -> int:
        return int(struct.unpack_from(self.offset, head, self.first_at)[0])

    def encoded(self, entries: Mapping[int, bytes]) -> bytes:
        """A directory, the only one."""
        count = struct.pack(self.counter, len(entries))
        return b"".join(
            [count, *(entries[tag] for tag in sorted(entries)), struct.pack(self.offset, 0)]
        )


def _layout(file: IO[bytes]) -> tuple[bytes, _Layout]:
    head = _head(file)
    order = "<" if head.startswith(b"II") else ">"
    if len(head) == 16:
        return head, _Layout(
            first_at=8, counter=f"{order}Q", offset=f"{order}Q", size=20, order=order
        )
    return head, _Layout(first_at=4, counter=f"{order}H", offset=f"{order}I", size=12, order=order)


def _entries(file: IO[bytes], layout: _Layout, place: int) -> dict[int, bytes]:
    """The entries of a directory as they are, by tag."""
    file.seek(place)
    (count,) = struct.unpack(layout.counter, file.read(struct.calcsize(layout.counter)))
    entries = [file.read(layout.size) for _ in range(count)]
    return {struct.unpack_from(f"{layout.order}H", one)[0]: one for one in entries}


def _describe(tags: Any, known: Any) -> None:
    for tag in TEXTS:
        if isinstance(known.get(tag), str):
            # As bytes: of text all that is no ASCII would be lost.
            tags.tagtype[tag] = ASCII
            tags[tag] = known[tag].encode("latin-1", "replace")


def _nest(tags: Any, folder: int, inner: Mapping[int, Any]) -> None:
    tags.tagtype[folder] = LONG
    tags[folder] = dict(inner)


def _head(file: IO[bytes]) -> bytes:
    file.seek(0)
    head = file.read(8)
    return head + file.read(8) if 43 in head[2:4] else head


def _directory(file: IO[bytes], group: int | None = None) -> Any:
    return ImageFileDirectory_v2(_head(file), group=group)


def _end(file: IO[bytes]) -> int:
    """Go to the end of the file, to an even place."""
    place = file.seek(0, 2)
    return place + file.write(b"\0") if place % 2 else place
