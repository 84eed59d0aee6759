"""What there is to do, as plain values that travel between processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from srgan.listing import Version
from srgan.upscaling.tiles import Box

if TYPE_CHECKING:
    from srgan.upscaling.films.codecs import Encoding
    from srgan.upscaling.films.planning import FilmPlan

BLOCK_SIDE = 1024
"""A larger image is cut into blocks of this side, in input pixels."""

SEGMENT_PIXELS = 4_000_000
"""A video is cut into segments of about so many input pixels, over all their frames."""


@dataclass(frozen=True)
class Entry:
    """A file to upscale."""

    name: str
    """Relative to the input folder; the result has the same name."""
    kind: Literal["image", "video"]
    """What it seems to be, by its suffix."""
    source: str
    """Path or URL, as is the target's."""
    target: str
    version: Version
    """Tells, without reading it, whether the file has changed."""
    digest: str | None = None
    """SHA-256 of its content, as far as that is known."""

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.version[0])


@dataclass(frozen=True)
class Segment:
    """The frames of a video from one time to another."""

    start: int
    """Presentation time of the first frame, in units of the stream's time base."""
    end: int | None
    """Presentation time of the first frame that is no longer part; None at the end."""
    seek: int
    """Decoding time of the key frame from which they can be decoded."""
    frames: int
    """How many there are, as far as known beforehand."""
    encoding: Encoding
    """The same for all segments of a video."""


@dataclass(frozen=True)
class Piece:
    """A part of an entry that is done at one go; the whole of it where there is but one."""

    entry: Entry
    number: int
    """Its place among the pieces of the entry, from 0."""
    part: Box | Segment
    """Box of an image or segment of a video."""
    pixels: int
    """Input pixels."""
    path: str | None
    """Where its result is kept until all are there; None if it is the entry's result."""


@dataclass(frozen=True)
class Work:
    """An entry and its pieces."""

    entry: Entry
    width: int
    """Of the image or of a frame, in input pixels, as is the height."""
    height: int
    pieces: Sequence[Piece] = field(default=())
    parts: str | None = None
    """Folder of the pieces' results, if there is more than one piece."""
    notes: Sequence[str] = ()
    """What the result will not keep, or how it is changed; a line each."""
    encoding: Encoding | None = None
    """A video's."""

    @property
    def pixels(self) -> int:
        """Input pixels, over all frames."""
        return sum(piece.pixels for piece in self.pieces)


class Done(NamedTuple):
    """What came of a piece, or of putting an entry's pieces together."""

    size: int | None = None
    """Bytes of the entry's result, if that is in its place now."""
    notes: Sequence[str] = ()
    """As those of Work, as far as they are found out only now."""
    damage: str | None = None
    """What is missing because part of the source cannot be decoded, in a line."""


def image_work(
    entry: Entry, width: int, height: int, parts: str, notes: Sequence[str] = ()
) -> Work:
    """An image in blocks, row by row.

    Args:
        entry: the file.
        width: in pixels.
        height: in pixels.
        parts: folder for the results of blocks, if there are several.
        notes: what the result will not keep.
    """
    boxes = list(Box(0, 0, width, height).cells(BLOCK_SIDE))
    several = len(boxes) > 1
    pieces = [
        Piece(
            entry=entry,
            number=number,
            part=box,
            pixels=box.width * box.height,
            path=f"{parts}/{number}" if several else None,
        )
        for number, box in enumerate(boxes)
    ]
    return Work(
        entry=entry,
        width=width,
        height=height,
        pieces=pieces,
        parts=parts if several else None,
        notes=notes,
    )


def video_work(entry: Entry, plan: FilmPlan, parts: str) -> Work:
    """A video in segments.

    Args:
        entry: the file.
        plan: what is known of it.
        parts: folder for the results of the segments.
    """
    times, keys = plan.times.shown, plan.times.keys
    frame = plan.width * plan.height
    count = max(1, math.ceil(len(times) * frame / SEGMENT_PIXELS))
    frames = math.ceil(len(times) / count)
    pieces = []
    for number, first in enumerate(range(0, len(times), frames)):
        last = min(first + frames, len(times))
        before = [decoding for shown, decoding in keys if shown <= times[first]]
        segment = Segment(
            start=times[first],
            end=times[last] if last < len(times) else None,
            seek=before[-1] if before else keys[0][1],
            frames=last - first,
            encoding=plan.encoding,
        )
        pieces.append(
            Piece(
                entry=entry,
                number=number,
                part=segment,
                pixels=segment.frames * frame,
                path=f"{parts}/{number}",
            )
        )
    return Work(
        entry=entry,
        width=plan.width,
        height=plan.height,
        pieces=pieces,
        parts=parts,
        notes=plan.notes,
        encoding=plan.encoding,
    )
